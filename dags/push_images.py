"""Push a folder of images through the pipelines: started by hand, whenever there are images.

The folder is cut into batches; each is one commit of the images repo, pushed and waited for by one mapped task. The last task reads back
what was found, and writes a report.
"""

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, dag, get_current_context, task

from dags import settings
from dags.common.batch_push import batch_params, push_batches
from dags.common.failed import task_defaults
from dags.common.links import with_links


@dag(
    schedule=None,
    catchup=False,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    default_args=task_defaults(),
    params={
        "source": Param(  # no default and not null: the form marks it as required
            type="string",
            minLength=1,
            title="Folder",
            description="Folder with images, a path or URL that the workers can read: /data/images, gs://bucket/2026/11/23, "
            "gs://connection@bucket/folder.",
        ),
        "glob": Param(
            "*",
            type="string",
            minLength=1,
            title="Which files",
            description="* is all files of the folder, *.jpg some of them, **/*.jpg those of its subfolders too.",
        ),
        **batch_params(),
        "dry_run": Param(False, type="boolean", title="Dry run", description="Only say what would be pushed."),
    },
)
def push_images() -> None:
    """The DAG: see the module's text."""

    @task
    def list_images() -> list[str]:
        """List the folder and write a manifest for each batch; their URLs."""
        from dags.common.inputs import without_retries
        from dags.common.push_run import plan_push

        with without_retries():
            return plan_push(get_current_context(), settings.load())

    @task(trigger_rule="all_done")
    def report(manifests: list[str] | None, pushes: list[dict[str, Any]] | None) -> dict[str, Any]:
        """Read back what was found, write the report, and fail if a batch did."""
        from dags.common.inputs import without_retries
        from dags.common.push_run import report_push

        with without_retries():
            return report_push(get_current_context(), settings.load(), manifests=manifests, pushes=pushes)

    manifests = list_images()
    push = push_batches(manifests, max_active_tis_per_dagrun=settings.PARALLEL_PUSHES)
    with_links(report(manifests, push.output))  # type: ignore[arg-type]  # what the tasks return, not the references to it
    # When nothing could be listed, that task alone has failed: the report is skipped, and this one, which does nothing, fails the run.
    manifests >> EmptyOperator(task_id="listed")


push_images()
