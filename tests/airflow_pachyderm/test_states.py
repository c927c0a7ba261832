"""State machines, and the outcome that travels in events."""

import pytest

import protobuf_compat
from airflow_pachyderm.outcome import CommitSetOutcome, JobOutcome, WaitEnd, job_summary
from airflow_pachyderm.states import JOB_ACTIVE, JOB_FAILED, JOB_TERMINAL, PIPELINE_FAILED, PIPELINE_READY, JobState, PipelineState

protobuf_compat.install()

from python_pachyderm.proto.v2.pps import pps_pb2  # noqa: E402 - must come after install()


@pytest.mark.parametrize(("name", "number"), pps_pb2.JobState.items())
def test_job_states_are_those_of_the_protocol(name: str, number: int) -> None:
    assert JobState.from_number(number) == name.removeprefix("JOB_").removeprefix("STATE_").lower()


@pytest.mark.parametrize(("name", "number"), pps_pb2.PipelineState.items())
def test_pipeline_states_are_those_of_the_protocol(name: str, number: int) -> None:
    assert PipelineState.from_number(number) == name.removeprefix("PIPELINE_").removeprefix("STATE_").lower()


def test_every_job_state_either_goes_on_or_ends() -> None:
    assert set(JobState) == JOB_ACTIVE | JOB_TERMINAL
    assert not JOB_ACTIVE & JOB_TERMINAL
    assert {JobState.SUCCESS} == JOB_TERMINAL - JOB_FAILED
    assert not PIPELINE_READY & PIPELINE_FAILED


def test_a_state_of_a_later_protocol_is_a_failure() -> None:
    assert JobState.from_number(99) in JOB_FAILED
    assert PipelineState.from_number(-1) in PIPELINE_FAILED


OUTCOME = CommitSetOutcome(
    "f" * 32,
    WaitEnd.FINISHED,
    (
        JobOutcome("plot", "f" * 32, JobState.UNRUNNABLE, "upstream failed"),
        JobOutcome("validate", "f" * 32, JobState.FAILURE, "datum failed", total=4, processed=2, skipped=1, failed=1, seconds=1.5),
    ),
)


def test_an_outcome_survives_its_event() -> None:
    assert CommitSetOutcome.from_event(OUTCOME.to_event()) == OUTCOME


def test_the_cause_comes_before_its_consequences() -> None:
    assert [job.pipeline for job in OUTCOME.failed_jobs] == ["validate", "plot"]


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"end": "splendid", "jobs": []},
        {"end": "finished", "jobs": [{"pipeline": "p", "job": "j", "state": "perfect", "colour": "blue"}]},
    ],
)
def test_an_event_that_is_not_understood_is_never_success(event: dict) -> None:
    outcome = CommitSetOutcome.from_event(event)

    assert outcome.end is not WaitEnd.FINISHED or outcome.failed_jobs


def test_a_summary_is_small_and_plain() -> None:
    assert job_summary(OUTCOME.jobs)["validate"] == {
        "state": "failure",
        "total": 4,
        "processed": 2,
        "skipped": 1,
        "failed": 1,
        "recovered": 0,
        "seconds": 1.5,
    }
