"""Waiting for a commit set, against a server whose jobs go through scripted states."""

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from airflow_pachyderm.client import channel
from airflow_pachyderm.client.watch import Progress, stop_commit_set, watch_commit_set
from airflow_pachyderm.outcome import CommitSetOutcome, JobOutcome, WaitEnd
from airflow_pachyderm.states import JobState
from tests.airflow_pachyderm.scripted_pachd import ScriptedPachd, pfs_pb2, pps_pb2

ID = "0123456789ab4def0123456789abcdef"
AWAY = (grpc.StatusCode.UNAVAILABLE, "connection refused")


def job(pipeline: str, state: str, **fields: Any) -> Any:
    info = pps_pb2.JobInfo(state=pps_pb2.JobState.Value(state), **fields)
    info.job.id, info.job.pipeline.name = ID, pipeline
    return info


@pytest.fixture
def pachd() -> Iterator[ScriptedPachd]:
    with ScriptedPachd() as pachd:
        yield pachd


def watch(pachd: ScriptedPachd, *, seconds: float = 30.0, **fields: Any) -> CommitSetOutcome:
    log = logging.getLogger("watch")
    return asyncio.run(watch_commit_set(pachd.connection, ID, deadline=time.time() + seconds, poll_interval=0.01, log=log, **fields))


def test_it_ends_when_every_job_has(pachd: ScriptedPachd) -> None:
    pachd.script(
        "InspectJobSet",
        [job("validate", "JOB_CREATED"), job("plot", "JOB_CREATED")],
        [job("validate", "JOB_SUCCESS"), job("plot", "JOB_RUNNING")],
        [job("validate", "JOB_SUCCESS", data_total=3, data_skipped=3), job("plot", "JOB_SUCCESS")],
    )

    outcome = watch(pachd)

    assert (outcome.end, [job.state for job in outcome.jobs]) == (WaitEnd.FINISHED, ["success", "success"])
    assert not outcome.failed_jobs
    assert not channel._shared  # the loop's channel is closed


@pytest.mark.parametrize("state", ["JOB_FAILURE", "JOB_KILLED", "JOB_UNRUNNABLE", "JOB_STATE_UNKNOWN"])
def test_every_bad_end_is_a_failed_job(pachd: ScriptedPachd, state: str) -> None:
    pachd.script("InspectJobSet", [job("validate", state, reason="why")])

    outcome = watch(pachd)

    assert [(failed.pipeline, failed.reason) for failed in outcome.failed_jobs] == [("validate", "why")]


def test_a_state_of_a_later_server_is_a_failed_job(pachd: ScriptedPachd) -> None:
    odd = job("validate", "JOB_RUNNING")
    odd.state = 77
    pachd.script("InspectJobSet", [odd])

    assert watch(pachd).failed_jobs[0].state is JobState.UNKNOWN


def test_the_deadline_says_what_still_runs(pachd: ScriptedPachd) -> None:
    pachd.script("InspectJobSet", [job("validate", "JOB_SUCCESS"), job("plot", "JOB_RUNNING")])

    outcome = watch(pachd, seconds=0.05)

    assert (outcome.end, [job.pipeline for job in outcome.active_jobs]) == (WaitEnd.TIMEOUT, ["plot"])


def test_a_server_that_is_away_for_a_while_is_waited_for(pachd: ScriptedPachd, caplog: pytest.LogCaptureFixture) -> None:
    pachd.script("InspectJobSet", AWAY, AWAY, AWAY, [job("validate", "JOB_SUCCESS")])
    caplog.set_level(logging.INFO, "watch")

    assert watch(pachd).end is WaitEnd.FINISHED

    told = [record.getMessage() for record in caplog.records if record.name == "watch"]
    assert len([text for text in told if "waiting for it to come back" in text]) == 1
    assert len([text for text in told if "answers again" in text]) == 1


def test_one_that_stays_away_ends_the_wait(pachd: ScriptedPachd) -> None:
    pachd.script("InspectJobSet", AWAY)
    clock = iter(range(0, 100_000, 100))

    outcome = asyncio.run(
        watch_commit_set(
            pachd.connection, ID, deadline=1e6, poll_interval=0.01, log=logging.getLogger("watch"), now=lambda: float(next(clock))
        )
    )

    assert outcome.end is WaitEnd.UNAVAILABLE
    assert "no server answers" in outcome.message


def test_one_that_is_away_at_the_deadline_is_the_cause(pachd: ScriptedPachd) -> None:
    """Not jobs that still run, of which nobody knows."""
    pachd.script("InspectJobSet", AWAY)

    outcome = watch(pachd, seconds=0.05)

    assert outcome.end is WaitEnd.UNAVAILABLE
    assert "no server answers" in outcome.message


def test_a_refusal_ends_the_wait_with_its_words(pachd: ScriptedPachd) -> None:
    pachd.script("InspectJobSet", (grpc.StatusCode.UNAUTHENTICATED, "token expired"))

    outcome = watch(pachd)

    assert outcome.end is WaitEnd.ERROR
    assert "token expired" in outcome.message


def test_one_pipeline_of_several(pachd: ScriptedPachd) -> None:
    pachd.script("InspectJobSet", [job("validate", "JOB_SUCCESS"), job("plot", "JOB_RUNNING")])

    assert watch(pachd, pipeline="validate").end is WaitEnd.FINISHED
    assert "has no job of pipeline edges" in watch(pachd, pipeline="edges").message


def test_no_jobs_is_an_end(pachd: ScriptedPachd) -> None:
    pachd.script("InspectJobSet", [])
    pachd.script("InspectCommitSet", [pfs_pb2.CommitInfo()])

    assert watch(pachd) == CommitSetOutcome(ID, WaitEnd.FINISHED)


@pytest.mark.parametrize("answer", [[], (grpc.StatusCode.NOT_FOUND, f"no commits found for commitset {ID}")])
def test_a_set_that_does_not_exist_is_no_success(pachd: ScriptedPachd, answer: Any) -> None:
    """A 2.12 server answers the question for its jobs with none, and OK."""
    pachd.script("InspectJobSet", [])
    pachd.script("InspectCommitSet", answer)

    outcome = watch(pachd)

    assert outcome.end is WaitEnd.ERROR
    assert ID in outcome.message


def test_stopping_stops_what_runs(pachd: ScriptedPachd) -> None:
    from google.protobuf.empty_pb2 import Empty

    pachd.script("InspectJobSet", [job("validate", "JOB_SUCCESS"), job("plot", "JOB_RUNNING")])
    pachd.script("StopJob", Empty())

    assert asyncio.run(stop_commit_set(pachd.connection, ID, reason="killed")) == ["plot"]

    assert [(call.job.pipeline.name, call.job.id, call.reason) for call in pachd.requests("StopJob")] == [("plot", ID, "killed")]


def test_a_line_per_change_never_one_per_poll(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(logging.getLogger("progress"))
    running = [JobOutcome("validate", ID, JobState.RUNNING, total=100, processed=done) for done in range(100)]

    for second, seen in enumerate(running):
        progress.show([seen], now=float(second))
    progress.show([JobOutcome("validate", ID, JobState.SUCCESS, total=100, processed=100)], now=100.0)

    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 11  # the first look, one per ten seconds, the end
    assert told[-1] == "Job validate: success, 100 of 100 datums (100 processed, 0 skipped, 0 failed)"


def test_many_waits_share_one_channel(pachd: ScriptedPachd) -> None:
    pachd.script("InspectJobSet", [job("validate", "JOB_RUNNING")])

    async def both() -> int:
        waits = [
            asyncio.create_task(
                watch_commit_set(pachd.connection, ID, deadline=time.time() + 0.3, poll_interval=0.05, log=logging.getLogger("watch"))
            )
            for _ in range(20)
        ]
        await asyncio.sleep(0.1)
        channels = len(channel._shared)
        await asyncio.gather(*waits)
        return channels

    assert asyncio.run(both()) == 1
    assert not channel._shared
