"""Is the stack well: cluster, pods, disks, Pachyderm, pipelines and their last jobs, in one report. Fails when it is not.

Looks at the stack that provision_stack made last; where there is none, on a laptop, at Pachyderm alone. Unpaused, it runs every hour.
"""

from datetime import timedelta

from airflow.sdk import dag, task

from dags import settings


@dag(
    schedule="@hourly",
    catchup=False,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    max_active_runs=1,
    is_paused_upon_creation=True,
    # One more look, a minute later: a pod that is just being replaced is no reason to wake anyone.
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
)
def check_stack() -> None:
    """The DAG: see the module's text."""

    @task
    def check() -> None:
        """Look at everything and print the report."""
        from dags.provisioning import tasks

        tasks.check_stack(pachyderm_conn_id=settings.PACHYDERM_CONN_ID)

    check()


check_stack()
