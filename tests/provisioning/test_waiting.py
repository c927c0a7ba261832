"""Waiting in the triggerer: one event at the end, trouble sat out, and what a killed task began is undone."""

import asyncio
import time
from typing import Any

import grpc
import pytest
from airflow.sdk.exceptions import TaskDeferred

from dags.provisioning.operators import StepOperator
from dags.provisioning.stack import run_label
from dags.provisioning.trigger import StepTrigger
from tests.airflow_pachyderm.tasks import Task
from tests.provisioning.conftest import RUN, Cloud, existing_stack, finish, once, stack


def trigger(step: str, wanted: Any, **changes: Any) -> StepTrigger:
    values = {"progress": {}, "options": {}, "deadline": time.time() + 60, "poll_interval": 0.01, **changes}
    made = StepTrigger(step=step, stack=wanted.to_dict(), run=run_label(RUN), **values)
    path, kwargs = made.serialize()  # the triggerer makes its own from these
    assert path == "dags.provisioning.trigger.StepTrigger"
    return StepTrigger(**kwargs)


def fire(made: StepTrigger) -> Any:
    async def first() -> Any:
        return [event.payload async for event in made.run()]

    (payload,) = asyncio.run(first())
    return payload


def test_done_is_told_with_what_became_of_it(cloud: Cloud) -> None:
    started = once("cluster", stack())
    assert fire(trigger("cluster", stack(), progress=started.progress)) == {
        "end": "done",
        "change": "created",
        "message": "Cluster tuskwatch is running as wanted: 2 x n1-standard-4 in us-east1-b",
    }


def test_a_failure_ends_the_wait_with_its_reason(cloud: Cloud) -> None:
    cloud.gke.create_ends = "quota"
    started = once("cluster", stack())
    event = fire(trigger("cluster", stack(), progress=started.progress))
    assert event["end"] == "failed"
    assert "Insufficient regional quota" in event["message"]


def test_an_outage_does_not_end_the_wait(cloud: Cloud) -> None:
    started = once("cluster", stack())
    cloud.gke.faults["GetCluster"] = [grpc.StatusCode.ABORTED, grpc.StatusCode.ABORTED]
    assert fire(trigger("cluster", stack(), progress=started.progress))["end"] == "done"


def test_an_outage_at_the_first_look_does_not_end_the_wait_before_it_began(cloud: Cloud) -> None:
    """A control plane that is just being resized is away for minutes: a retry or two would be over, and the stack undone."""
    cloud.gke.faults["GetCluster"] = [grpc.StatusCode.ABORTED] * 3
    task = Task(StepOperator(task_id="cluster", step="cluster", stack=stack().to_dict(), poll_interval=0.01))

    with pytest.raises(TaskDeferred) as deferred:
        task.call("execute", {"run_id": RUN})

    assert task.call(deferred.value.method_name, {"run_id": RUN}, fire(deferred.value.trigger)) == "created"


def test_the_deadline_ends_the_wait_and_says_what_was_waited_for(cloud: Cloud) -> None:
    wanted = existing_stack()
    cloud.existing.stuck_pods = "pachd"
    for step in ("base", "release"):
        finish(step, wanted)
    event = fire(trigger("pods", wanted, deadline=time.time()))
    assert event["end"] == "timeout"
    assert "pachd 0/1" in event["message"]


def test_a_killed_task_takes_its_half_made_cluster_with_it(cloud: Cloud) -> None:
    finish("cluster", stack())
    asyncio.run(trigger("cluster", stack(), undo="no-cluster").on_kill())
    cloud.gke.looks_until_ready = 1
    finish("no-cluster", stack())
    assert cloud.gke.clusters == {}
    assert cloud.gke.calls.count("DeleteCluster") == 1


def test_a_killed_task_waits_for_the_creation_that_google_does_not_interrupt(cloud: Cloud) -> None:
    cloud.gke.looks_until_ready = 4
    once("cluster", stack())
    asyncio.run(trigger("cluster", stack(), undo="no-cluster").on_kill())
    finish("no-cluster", stack())
    assert cloud.gke.clusters == {}
    assert cloud.gke.calls.count("CreateCluster") == 1


def test_a_killed_task_that_cannot_wait_for_it_says_what_is_left_to_do(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dags.provisioning.trigger.ON_KILL_SECONDS", 0.0)
    cloud.gke.looks_until_ready = 1000
    once("cluster", stack())
    asyncio.run(trigger("cluster", stack(), undo="no-cluster").on_kill())
    said = capsys.readouterr().out
    assert "busy with another operation" in said
    assert "Run teardown_stack" in said


def test_a_killed_task_leaves_the_cluster_of_an_earlier_run(cloud: Cloud) -> None:
    finish("cluster", stack(run="earlier"), run="earlier")
    asyncio.run(trigger("cluster", stack(), undo="no-cluster").on_kill())
    assert "DeleteCluster" not in cloud.gke.calls


@pytest.mark.parametrize("undo", ["no-cluster", None])
def test_a_kill_while_nothing_can_be_done_is_borne(cloud: Cloud, undo: str | None) -> None:
    cloud.gke.faults["GetCluster"] = [grpc.StatusCode.PERMISSION_DENIED]
    asyncio.run(trigger("cluster", stack(), undo=undo).on_kill())
    assert "DeleteCluster" not in cloud.gke.calls
