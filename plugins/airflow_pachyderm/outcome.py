"""What became of a commit set: the one value that the ways of waiting agree on, and that travels in trigger events."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, TypeVar

from airflow_pachyderm.states import JOB_FAILED, JOB_TERMINAL, JobState

_E = TypeVar("_E", bound=StrEnum)


class WaitEnd(StrEnum):
    """Why a wait ended."""

    FINISHED = "finished"  # every job is terminal; whether it succeeded is in the jobs
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    ERROR = "error"


@dataclass(frozen=True)
class JobOutcome:
    """One job as last seen.

    :ivar seconds: From its start to its end, or to when it was looked at; 0.0 when it did not start.
    """

    pipeline: str
    job: str
    state: JobState
    reason: str = ""
    total: int = 0
    processed: int = 0
    skipped: int = 0
    failed: int = 0
    recovered: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        done = self.processed + self.skipped + self.failed + self.recovered
        text = f"{self.pipeline}: {self.state.value}, {done} of {self.total} datums ({self.processed} processed, {self.skipped} skipped"
        if self.recovered:
            text += f", {self.recovered} recovered"
        return text + f", {self.failed} failed)"


@dataclass(frozen=True)
class CommitSetOutcome:
    """A commit set at the end of a wait.

    :ivar commit_set: Its id, 32 hex digits.
    :ivar end: Why the wait ended.
    :ivar jobs: One per pipeline downstream of the push, upstream ones first.
    :ivar message: Details where ``end`` is neither ``FINISHED`` nor ``TIMEOUT``.
    """

    commit_set: str
    end: WaitEnd
    jobs: tuple[JobOutcome, ...] = ()
    message: str = ""

    @property
    def failed_jobs(self) -> Sequence[JobOutcome]:
        """The jobs that did not succeed, the cause before its consequences: an unrunnable job only says that an upstream one failed."""
        failed = [job for job in self.jobs if job.state in JOB_FAILED]
        return sorted(failed, key=lambda job: job.state is JobState.UNRUNNABLE)

    @property
    def active_jobs(self) -> Sequence[JobOutcome]:
        """The jobs that had not ended."""
        return [job for job in self.jobs if job.state not in JOB_TERMINAL]

    def to_event(self) -> dict[str, Any]:
        """A JSON-able form for :class:`airflow.triggers.base.TriggerEvent`."""
        return {"commit_set": self.commit_set, "end": self.end.value, "message": self.message, "jobs": [_plain(job) for job in self.jobs]}

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> "CommitSetOutcome":
        """Read what :meth:`to_event` made, also of a later release: a state or an end that is not known here is never success."""
        jobs = event.get("jobs") or ()
        return cls(
            commit_set=str(event.get("commit_set", "")),
            end=_member(WaitEnd, event.get("end"), WaitEnd.ERROR),
            jobs=tuple(_job(job) for job in jobs),
            message=str(event.get("message", "")),
        )


def job_summary(jobs: Iterable[JobOutcome]) -> dict[str, dict[str, Any]]:
    """The jobs by pipeline, for an XCom or a report."""
    return {job.pipeline: {key: value for key, value in _plain(job).items() if key not in ("pipeline", "job", "reason")} for job in jobs}


def _plain(job: JobOutcome) -> dict[str, Any]:
    return {**asdict(job), "state": job.state.value, "seconds": round(job.seconds, 3)}


def _job(plain: dict[str, Any]) -> JobOutcome:
    known = {field.name for field in fields(JobOutcome)}
    return JobOutcome(
        **{key: value for key, value in plain.items() if key in known} | {"state": _member(JobState, plain.get("state"), JobState.UNKNOWN)}
    )


def _member(kind: type[_E], value: object, default: _E) -> _E:
    try:
        return kind(str(value))
    except ValueError:
        return default
