"""The DAG behind ``rotate_model`` and ``update_rules``, which differ in what they put."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, chain, dag, get_current_context, task

from airflow_pachyderm.operators.push import PachydermPushOperator
from dags import settings
from dags.common.failed import task_defaults
from dags.common.links import with_links
from dags.common.rotation_form import ALL_IMAGES, NEW_IMAGES, PUT, ROLL_BACK


def rotation_dag(dag_id: str, *, doc: str | None, repo: str, path: str, file: str, what: str, check: Callable[[Path], None]) -> DAG:
    """A DAG that checks a file, sets the images so far aside if the form says so, and puts the file.

    :param repo: Where the file goes.
    :param path: Its path there.
    :param file: What to call it in the form.
    :param what: What the images meet: "model", "rules".
    :param check: Raises what is wrong with a file; from :mod:`dags.common.checks`.
    """

    @dag(
        dag_id=dag_id,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        tags=list(settings.TAGS),
        doc_md=doc,
        default_args=task_defaults(),
        params={
            "action": Param(
                PUT,
                type="string",
                enum=[PUT, ROLL_BACK],
                title="What to do",
                description=f"Put the file below, or the {what} of the commit before again.",
            ),
            "source": Param(
                None,
                type=["null", "string"],
                title="File",
                description=f"{file}, a path or URL that the workers can read. Not needed to roll back.",
            ),
            "reprocess": Param(
                ALL_IMAGES,
                type="string",
                enum=[ALL_IMAGES, NEW_IMAGES],
                title="Which images",
                description=f"Whether the images so far meet the new {what} too. See the DAG's description.",
            ),
        },
    )
    def rotation() -> None:
        @task(task_id="check")
        def fetch() -> dict[str, str]:
            """Fetch and check the file; nothing is committed before."""
            from dags.common.inputs import without_retries
            from dags.common.rotation import prepare

            with without_retries():
                return prepare(get_current_context(), settings.load(), repo=repo, path=path, check=check)

        @task
        def set_aside() -> str | None:
            """Set the images so far aside, if the form says so."""
            from dags.common.rotation import set_images_aside

            return set_images_aside(get_current_context())

        @task(trigger_rule="none_failed")
        def report() -> dict[str, Any]:
            """Say what of the rules and settings in use can have no effect."""
            from dags.common.tell import report_rotation

            return report_rotation(get_current_context(), settings.load())

        checked: Any = fetch()
        put = PachydermPushOperator(task_id="put", repo=repo, files=checked, pachyderm_conn_id=settings.PACHYDERM_CONN_ID)
        chain(checked, set_aside(), put, with_links(report()))

    return rotation()
