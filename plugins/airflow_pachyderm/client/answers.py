"""Pachyderm's answers as the provider's values: the one place that knows what a server leaves out.

A commit message has a field ``branch``. Servers up to 2.11 fill it in their answers; those of the 2.12 line clear it in every commit and
file that they answer, and fill ``repo`` instead. So nobody but this module reads it: repo and branch of a value are those of the request
that was answered, and where a request named none, :func:`repo_of` and :func:`branch_of` say what the answer has.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermNotFoundError
from airflow_pachyderm.outcome import JobOutcome
from airflow_pachyderm.states import JobState, PipelineState

_ID: Final = re.compile(r"[0-9a-f]{32}")
# Pachyderm stores a spec with its defaults filled in, so it cannot be compared with a file's; this remembers what the file said.
SPEC_DIGEST: Final = "airflow-pachyderm/spec-sha256"


@dataclass(frozen=True)
class Commit:
    """One commit as last seen.

    :ivar commit_set: Its id, 32 hex digits, shared by the downstream commits that it causes.
    :ivar started: Seconds since the Unix epoch.
    :ivar finished: No more files can be put. False: it is open.
    :ivar error: Why it failed, or empty.
    """

    repo: str
    branch: str
    commit_set: str
    description: str
    started: float
    finished: bool
    error: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.branch}={self.commit_set}"


@dataclass(frozen=True)
class FileEntry:
    """A file or directory in a commit; a directory's path ends in ``/``."""

    path: str
    size_bytes: int
    digest: str
    is_dir: bool


@dataclass(frozen=True)
class Pipeline:
    """One pipeline as last seen.

    :ivar spec_digest: Of the spec that :meth:`~airflow_pachyderm.client.pps.PpsClient.create_pipeline` got, or empty when it was made by
        other means.
    :ivar env: What its transform sets in the environment.
    :ivar secrets: Names of the secrets that its transform mounts.
    """

    name: str
    version: int
    state: PipelineState
    reason: str
    stopped: bool
    spec_digest: str
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Datum:
    """One datum of a job: the files that it was about."""

    id: str
    inputs: tuple[str, ...]


def repo_of(commit: Any) -> str:
    """Name of the repo that a commit message is of; empty where the message names none."""
    return str(commit.repo.name or commit.branch.repo.name)


def repo_type_of(commit: Any) -> str:
    """``user`` for data, ``spec`` or ``meta`` for what Pachyderm keeps for itself."""
    return str(commit.repo.type or commit.branch.repo.type)


def branch_of(commit: Any) -> str:
    """The branch that a commit was made on; empty where the server does not say, as those of the 2.12 line."""
    return str(commit.branch.name)


def parse_commit(info: Any, *, repo: str, branch: str) -> Commit:
    """A commit.

    :param repo: The repo that was asked.
    :param branch: The branch that was asked, or empty where the request had none.
    """
    return Commit(
        repo=repo,
        branch=branch or branch_of(info.commit),
        commit_set=info.commit.id,
        description=info.description,
        started=info.started.seconds + info.started.nanos / 1e9,
        finished=info.HasField("finishing") or info.HasField("finished"),
        error=info.error,
    )


def parse_entry(info: Any) -> FileEntry:
    """A file or directory."""
    return FileEntry(path=info.file.path, size_bytes=info.size_bytes, digest=info.hash.hex(), is_dir=info.file_type == pfs_pb2.DIR)


def parse_pipeline(info: Any) -> Pipeline:
    """A pipeline, asked for with its details."""
    return Pipeline(
        name=info.pipeline.name,
        version=info.version,
        state=PipelineState.from_number(info.state),
        reason=info.reason,
        stopped=info.stopped,
        spec_digest=info.details.metadata.annotations.get(SPEC_DIGEST, ""),
        env=dict(info.details.transform.env),
        secrets=tuple(secret.name for secret in info.details.transform.secrets),
    )


def parse_datum(info: Any) -> Datum:
    """A datum."""
    return Datum(info.datum.id, tuple(f"{repo_of(item.file.commit)}:{item.file.path}" for item in info.data))


def parse_jobs(infos: Iterable[Any], *, now: float) -> list[JobOutcome]:
    """Jobs.

    :param now: Seconds since the Unix epoch, for the duration of those that run.
    """
    return [_job(info, now) for info in infos]


def _job(info: Any, now: float) -> JobOutcome:
    ended = _seconds(info.finished) if info.HasField("finished") else now
    return JobOutcome(
        pipeline=info.job.pipeline.name,
        job=info.job.id,
        state=JobState.from_number(info.state),
        reason=info.reason,
        total=info.data_total,
        processed=info.data_processed,
        skipped=info.data_skipped,
        failed=info.data_failed,
        recovered=info.data_recovered,
        seconds=max(0.0, ended - _seconds(info.started)) if info.HasField("started") else 0.0,
    )


def _seconds(timestamp: Any) -> float:
    return float(timestamp.seconds + timestamp.nanos / 1e9)


def check_commit_set(commit_set: str) -> str:
    """The id of a commit set, if it is one. An empty one is all commits to some servers, also to those calls that delete.

    :raises PachydermInvalidError: It is no id.
    """
    if not _ID.fullmatch(commit_set):
        raise PachydermInvalidError(f"{commit_set!r} is no id of a commit set: give 32 hex digits, as XCom commit of a push has them")
    return commit_set


def commit_set_request(commit_set: str) -> Any:
    """Asks for the commits of a commit set."""
    return pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=commit_set))


def require_commits(first: Any | None, commit_set: str, connection: PachydermConnection) -> None:
    """Tell a commit set without jobs from one that does not exist.

    :param first: The first answer to :func:`commit_set_request`, or None.
    :raises PachydermNotFoundError: There is no such commit set.
    """
    if first is None:
        raise PachydermNotFoundError(f"There is no commit set {commit_set} at {connection}: the id is wrong, or the commit was deleted")
