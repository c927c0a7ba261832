"""Set up a stack: bucket, cluster, Pachyderm by its Helm chart, its Console, and then the pipelines.

Safe to trigger again: what is there as wanted is left as it is, what is there but differs is refused with the difference by name. The
first task prints what the stack will cost, before anything is created. When a step fails for good, what this run created is removed again.
The last task prints the addresses. See docs/production.md.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import TriggerRule, chain, dag, get_current_context, task

from dags import settings
from dags.provisioning.operators import StepOperator
from dags.provisioning.params import poll_interval, provision_params

BOOTSTRAP_DAG = "bootstrap_pipelines"


@dag(
    schedule=None,
    catchup=False,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    max_active_runs=1,
    default_args={"retries": settings.RETRIES, "retry_delay": timedelta(seconds=settings.RETRY_SECONDS)},
    params=provision_params(),
)
def provision_stack() -> None:
    """The DAG: see the module's text."""

    @task
    def plan() -> dict[str, Any]:
        """Check the Params, print what the stack costs and asks for, and remember the stack: from here on teardown can find it."""
        from dags.provisioning.capacity import load_specs
        from dags.provisioning.tasks import plan_stack

        context = get_current_context()
        given = dict(context["params"])
        specs = load_specs(settings.load().stages, list(settings.PIPELINES.values())) if given["bootstrap"] else []
        return plan_stack(given, run_id=str(context["run_id"]), specs=specs)

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def wants_pipelines() -> bool:
        """Whether bootstrap_pipelines is to follow."""
        return bool(get_current_context()["params"]["bootstrap"])

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def report(stack: dict[str, Any]) -> None:
        """Print addresses and how to open the dashboard."""
        from dags.provisioning.tasks import print_summary

        print_summary(stack)

    stack: Any = plan()
    common: dict[str, Any] = {"stack": stack, "poll_interval": poll_interval()}
    bucket = StepOperator(task_id="bucket", step="bucket", **common)
    cluster = StepOperator(task_id="cluster", step="cluster", undo="no-cluster", wait_timeout=timedelta(minutes=45), **common)
    namespace = StepOperator(task_id="namespace", step="base", **common)
    pachyderm = StepOperator(task_id="pachyderm", step="release", **common)
    pods = StepOperator(task_id="pods", step="pods", **common)
    pachd = StepOperator(task_id="pachd", step="pachd", **common)
    steps = [bucket, cluster, namespace, pachyderm, pods, pachd]

    bootstrap = TriggerDagRunOperator(
        task_id="bootstrap",
        trigger_dag_id=BOOTSTRAP_DAG,
        trigger_run_id="provision__{{ run_id }}",
        reset_dag_run=True,  # when this task is cleared: bootstrap_pipelines may be repeated
        wait_for_completion=True,
        fail_when_dag_is_paused=True,  # instead of waiting for someone to notice
        deferrable=True,
        poke_interval=int(max(1, poll_interval())),
    )

    # Not among the steps that are undone when one fails: Pachyderm is up, and a spec that asks for too much can be mended.
    workers = StepOperator(task_id="workers", step="workers", wait_timeout=timedelta(minutes=15), **common)

    # After a failure only: leaves nothing that this run created and that costs. The run fails all the same, by its last task.
    undo: dict[str, Any] = {**common, "options": {"only_run": True}}
    undo_steps = [
        StepOperator(task_id=f"undo_{name}", step=f"no-{name}", trigger_rule=rule, **undo)
        for name, rule in (
            ("namespace", TriggerRule.ONE_FAILED),
            ("cluster", TriggerRule.NONE_SKIPPED),
            ("bucket", TriggerRule.NONE_SKIPPED),
        )
    ]

    @task
    def forget(stack: dict[str, Any], changes: dict[str, str]) -> None:
        """Forget the stack when nothing of it is left."""
        from dags.provisioning.tasks import end_undo

        end_undo(stack, changes)

    undone: Any = {step.task_id: step.output for step in undo_steps}
    chain(*steps, wants_pipelines(), bootstrap, workers, report(stack))
    chain(steps, undo_steps[0])
    chain(*undo_steps, forget(stack, undone))


provision_stack()
