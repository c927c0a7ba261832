"""Remove what provision_stack made: pipelines, Helm release, volumes and load balancers, namespace, cluster, and the bucket.

Params: `confirm` must repeat the stack's name. The bucket holds all data and is deleted only when `confirm_bucket` repeats its name. A
cluster that was there before the stack is kept. Safe to trigger again: what is gone is said to be gone. The last task says what was kept.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, chain, dag, get_current_context, task

from dags import settings
from dags.provisioning.operators import StepOperator
from dags.provisioning.params import poll_interval


@dag(
    schedule=None,
    catchup=False,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    max_active_runs=1,
    default_args={"retries": settings.RETRIES, "retry_delay": timedelta(seconds=settings.RETRY_SECONDS)},
    params={
        "confirm": Param(None, type=["null", "string"], title="Confirm", description="The name of the stack to remove."),
        "confirm_bucket": Param(
            None,
            type=["null", "string"],
            title="Confirm: delete the bucket and all data",
            description="The name of the bucket. Empty: the bucket is kept.",
        ),
    },
)
def teardown_stack() -> None:
    """The DAG: see the module's text."""

    @task
    def plan() -> dict[str, Any]:
        """Find the stack, and print how long it ran."""
        from dags.provisioning.tasks import begin_teardown

        context = get_current_context()
        return begin_teardown(confirm=context["params"]["confirm"], run_id=str(context["run_id"]))

    @task
    def report(stack: dict[str, Any], changes: dict[str, str]) -> None:
        """Say what was removed and what was kept."""
        from dags.provisioning.tasks import end_teardown

        end_teardown(stack, changes)

    stack: Any = plan()
    steps = [
        StepOperator(
            task_id=name,
            step=f"no-{name}",
            stack=stack,
            options={"confirm_bucket": "{{ params.confirm_bucket or '' }}"},
            poll_interval=poll_interval(),
            wait_timeout=timedelta(hours=2 if name == "bucket" else 1),
        )
        for name in ("pipelines", "release", "volumes", "namespace", "cluster", "bucket")
    ]
    changes: Any = {step.task_id: step.output for step in steps}
    chain(stack, *steps, report(stack, changes))


teardown_stack()
