"""Put new rules, or those before: started by hand.

The file is read as threat-detect will read it before anything is committed: one that is not JSON, or names an unknown key, changes nothing.
Choose whether what is already there is looked at again:

- *all images*: every image meets the new rules, as Pachyderm does by itself;
- *only new images*: the images so far, with what was found in them, are set aside first. They leave the head of `images`, and so the
  plot; they stay in the commits before, and under the branch `images@before-<run>`.

*Roll back* puts the rules of the commit before again, as a new commit.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, chain, dag, get_current_context, task

from airflow_pachyderm.operators.push import PachydermPushOperator
from dags import settings


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    default_args={"retries": settings.RETRIES, "retry_delay": timedelta(seconds=settings.RETRY_SECONDS)},
    params={
        "action": Param("put", type="string", enum=["put", "roll back"], title="What to do"),
        "source": Param(
            None,
            type=["null", "string"],
            title="File",
            description="Rule file (rule.json), a path or URL that the workers can read. Not needed to roll back.",
        ),
        "reprocess": Param(
            "all images",
            type="string",
            enum=["all images", "only new images"],
            title="Which images",
            description="Whether the images so far meet the new rules too. See the DAG's description.",
        ),
    },
)
def update_rules() -> None:
    """The DAG: see the module's text."""

    @task
    def check() -> dict[str, str]:
        """Fetch and check the file; nothing is committed before."""
        from dags.common.rotation import check_rules, prepare

        return prepare(get_current_context(), settings.load(), repo=settings.RULES_REPO, path=settings.RULES_PATH, check=check_rules)

    @task
    def set_aside() -> str | None:
        """Set the images so far aside, if the form says so."""
        from dags.common.rotation import set_images_aside

        return set_images_aside(get_current_context())

    checked: Any = check()
    put = PachydermPushOperator(task_id="put", repo=settings.RULES_REPO, files=checked, pachyderm_conn_id=settings.PACHYDERM_CONN_ID)
    chain(checked, set_aside(), put)


update_rules()
