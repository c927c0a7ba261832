"""What the DAGs' own small tasks do: plan, summary, check, teardown's beginning and end."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from dags.provisioning import capacity, cost, params, report
from dags.provisioning.clients import Clients
from dags.provisioning.cluster import describe
from dags.provisioning.errors import ProvisionError, StackInvalidError, UnhealthyError
from dags.provisioning.stack import Connections, Release, Stack, Target, run_label

log = logging.getLogger(__name__)


def plan_stack(given: Mapping[str, Any], *, run_id: str, specs: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Check the Params and the chart's archive, print the cost and what the pods ask for, and remember the stack.

    :param specs: Of the pipelines that will follow.
    :raises AirflowFailException: Names every Param that cannot work, or the other stack that is remembered.
    """
    try:
        stack = Stack.from_params(given, run_id=run_id)
        _refuse_second(stack, params.recorded_stack())
        _check_chart(stack)
    except StackInvalidError as exc:
        raise AirflowFailException(str(exc)) from exc
    log.info("%s", cost.estimate(stack, node_price=given.get("node_price")))
    clients = Clients(stack)
    try:
        log.info("%s", capacity.describe(stack, specs, kube=lambda: clients.kube))
    except (ProvisionError, ValueError) as exc:  # what matters of it, the steps will say again
        log.warning("Whether all pods will find room is not known: %s", exc)
    params.record_stack(stack.to_dict())
    return stack.to_dict()


def print_summary(stack: Mapping[str, Any]) -> None:
    """Print addresses and how to open the dashboard."""
    log.info("%s", report.summary(Clients(Stack.from_dict(stack))))


def check_stack(*, pachyderm_conn_id: str) -> None:
    """Print the report on the recorded stack; on a machine without one, on Pachyderm alone.

    :raises UnhealthyError: Something is wrong.
    """
    recorded = params.recorded_stack()
    if recorded:
        stack = Stack.from_dict(recorded)
    else:
        log.info("No stack is recorded (provision_stack has not run here): only Pachyderm is looked at")
        connections = Connections(pachyderm=pachyderm_conn_id)
        stack = Stack(target=Target.EXISTING, release=Release(chart="", version=""), run="", connections=connections)
    found = report.check(Clients(stack), with_cluster=recorded is not None)
    log.info("%s", found)
    if found.problems:
        raise UnhealthyError(found.problems)


def begin_teardown(*, confirm: str | None, run_id: str) -> dict[str, Any]:
    """Find the recorded stack, and say how long it ran.

    :param confirm: Must repeat the stack's name.
    :raises AirflowFailException: It does not, or nothing is recorded.
    """
    recorded = params.recorded_stack()
    if recorded is None:
        raise AirflowFailException(
            f"No stack is recorded in the Variable {params.STACK_VARIABLE}: nothing was provisioned here, or it is removed"
        )
    stack = Stack.from_dict(recorded)
    if confirm != stack.name:
        raise AirflowFailException(f"Nothing was removed: to remove stack {stack.name}, repeat its name in the Param confirm")
    log.info("Removing stack %s (run %s)", stack.name, run_label(run_id))
    try:
        log.info("%s", _age(stack))
    except ProvisionError as exc:
        log.warning("How long it ran is not known: %s", exc)
    return stack.to_dict()


def end_teardown(stack: Mapping[str, Any], changes: Mapping[str, str]) -> None:
    """Say what was removed and what was kept, and forget the stack when nothing of it is left.

    :param changes: What each step said, by the step.
    """
    for step, change in changes.items():
        log.info("%s: %s", step, change)
    _tell_data_on_nodes(stack)
    kept = [step for step, change in changes.items() if change == "kept" and step != "cluster"]
    if "bucket" in kept:
        log.info(
            "Kept the bucket %s. It is billed for what it holds, and only readable with the database (docs/production.md, Teardown)",
            (stack.get("bucket") or {}).get("name"),
        )
        return  # still recorded: a later teardown, with confirm_bucket, finds it
    params.record_stack(None)
    log.info("Nothing of stack %s is left%s", stack["name"], f" but {', '.join(kept)}" if kept else "")


def end_undo(stack: Mapping[str, Any], changes: Mapping[str, str]) -> None:
    """Forget the stack of a failed run when nothing of it is left, so that the next run may have other names.

    :param changes: What each task that undoes said, by the task.
    """
    kept = [task for task, change in changes.items() if change == "kept" and not (task == "undo_cluster" and stack["cluster"] is None)]
    if kept:
        log.info("Kept what was there before this run (%s): teardown_stack removes it", ", ".join(kept))
        return
    params.record_stack(None)
    log.info("Nothing of stack %s is left", stack["name"])


def _check_chart(stack: Stack) -> None:
    """Look at the chart now: a cluster that is made for an archive that is not there is paid for."""
    if (archive := Clients(stack).chart_archive()) is not None:
        from dags.provisioning import helm, manifests

        helm.check_archive(archive, stack, manifests.values(stack))


def _tell_data_on_nodes(stack: Mapping[str, Any]) -> None:
    """Where there is no bucket, Pachyderm's data lies on a node's disk, which nothing in the namespace owns."""
    if stack.get("bucket") is None:
        from dags.provisioning.manifests import HOST_PATH

        log.warning(
            "Left on the node: the folder %s/%s (of a stack of an earlier version %s/pachd) with all files of the images, which are only "
            "readable with the database. Nothing in the cluster removes it: delete it on the node by hand",
            HOST_PATH, stack["namespace"], HOST_PATH,
        )  # fmt: skip


def _refuse_second(stack: Stack, recorded: Mapping[str, Any] | None) -> None:
    if recorded is None:
        return
    try:
        known = Stack.from_dict(recorded).identity
    except StackInvalidError as exc:
        log.warning("The Variable %s is written anew. %s", params.STACK_VARIABLE, exc)
        return
    if differences := [f"{part} is {known[part]}, asked for {asked}" for part, asked in stack.identity.items() if known[part] != asked]:
        raise StackInvalidError(
            f"This Airflow has a stack already, and these Params name another one: {'; '.join(differences)}. Remove it first with "
            f"teardown_stack; or, to leave for good what is left of it, delete the Variable {params.STACK_VARIABLE}"
        )


def _age(stack: Stack) -> str:
    if stack.cluster is None:
        return "The cluster was there before this stack, and stays"
    found = describe(Clients(stack).clusters, stack, stack.cluster)
    if found is None:
        return f"Cluster {stack.cluster.name} is not there"
    ran = cost.ran_for(found.create_time, now=datetime.now(UTC), estimated=cost.estimate(stack))
    return f"Cluster {stack.cluster.name} {ran}"
