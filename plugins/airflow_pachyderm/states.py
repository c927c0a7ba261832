"""Pachyderm's state machines as enums, with the sets that decide what a wait does.

Values are the protocol's names in lower case without their prefix: ``JOB_SUCCESS`` is ``success`` in logs and XComs.
"""

from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """State of one job of one pipeline."""

    UNKNOWN = "unknown"
    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    FAILURE = "failure"
    SUCCESS = "success"
    KILLED = "killed"
    EGRESSING = "egressing"
    FINISHING = "finishing"
    UNRUNNABLE = "unrunnable"

    @classmethod
    def from_number(cls, number: int) -> "JobState":
        """The state that the protocol numbers so; a number of a later protocol is ``UNKNOWN``."""
        return _JOB_NUMBERS[number] if 0 <= number < len(_JOB_NUMBERS) else cls.UNKNOWN


_JOB_NUMBERS: Final = tuple(JobState)  # declared in the order of the protocol's numbers

JOB_ACTIVE: Final = frozenset({JobState.CREATED, JobState.STARTING, JobState.RUNNING, JobState.EGRESSING, JobState.FINISHING})
# A state that we do not know is never success: it ends the wait as a failure.
JOB_FAILED: Final = frozenset({JobState.FAILURE, JobState.KILLED, JobState.UNRUNNABLE, JobState.UNKNOWN})
JOB_TERMINAL: Final = JOB_FAILED | {JobState.SUCCESS}


class PipelineState(StrEnum):
    """State of one pipeline."""

    UNKNOWN = "unknown"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILURE = "failure"
    PAUSED = "paused"
    STANDBY = "standby"
    CRASHING = "crashing"

    @classmethod
    def from_number(cls, number: int) -> "PipelineState":
        """The state that the protocol numbers so; a number of a later protocol is ``UNKNOWN``."""
        return _PIPELINE_NUMBERS[number] if 0 <= number < len(_PIPELINE_NUMBERS) else cls.UNKNOWN


_PIPELINE_NUMBERS: Final = tuple(PipelineState)

PIPELINE_READY: Final = frozenset({PipelineState.RUNNING, PipelineState.STANDBY})
PIPELINE_FAILED: Final = frozenset({PipelineState.FAILURE, PipelineState.UNKNOWN})
