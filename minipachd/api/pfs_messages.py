"""PFS's messages and the engine's values, in both directions."""

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from python_pachyderm.proto.v2.pfs import pfs_pb2

from minipachd.api import newer
from minipachd.api.dialect import Dialect
from minipachd.errors import InvalidArgumentError, InvalidError
from minipachd.pfs import (
    DEFAULT_PROJECT,
    USER_REPO,
    Branch,
    BranchKey,
    Commit,
    CommitKey,
    CommitReference,
    FileInfo,
    Project,
    Repo,
    RepoKey,
    Trigger,
)


def repo_key(repo: Any) -> RepoKey:
    """A repo as a client writes it: project and type may be missing.

    :raises InvalidArgumentError: It has no name.
    """
    if not repo.name:
        raise InvalidArgumentError("repo cannot be nil: the request must be specified with the name of a repo")
    return RepoKey(repo.project.name or DEFAULT_PROJECT, repo.name, repo.type or USER_REPO)


def branch_key(branch: Any) -> BranchKey:
    """A branch as a client writes it. :raises InvalidError: It has no name."""
    if not branch.name:
        raise InvalidError("branch must be specified")
    return BranchKey(repo_key(branch.repo), branch.name)


def commit_reference(commit: Any, dialect: Dialect) -> CommitReference:
    """A commit as a client writes it: the repo is in one place or the other, the id may be a branch's name."""
    repo = commit.repo if commit.HasField("repo") and commit.repo.name else commit.branch.repo
    if not repo.name:
        raise InvalidError("commit cannot be nil: the request must be specified with a commit of a repo")
    return dialect.reference(repo_key(repo), commit.branch.name, commit.id)


def project_name(project: Any) -> str:
    return project.name or DEFAULT_PROJECT


def trigger(message: Any) -> Trigger:
    return Trigger(
        message.branch,
        all=message.all,
        rate_limit_spec=message.rate_limit_spec,
        size=message.size,
        commits=message.commits,
        cron_spec=message.cron_spec,
    )


def trigger_message(follows: Trigger) -> Any:
    return pfs_pb2.Trigger(
        branch=follows.branch,
        all=follows.all,
        rate_limit_spec=follows.rate_limit_spec,
        size=follows.size,
        commits=follows.commits,
        cron_spec=follows.cron_spec,
    )


def timestamp(ns: int) -> Timestamp:
    """:param ns: Nanoseconds since the Unix epoch."""
    return Timestamp(seconds=ns // 1_000_000_000, nanos=ns % 1_000_000_000)


def repo_message(key: RepoKey) -> Any:
    return pfs_pb2.Repo(name=key.name, type=key.type, project=pfs_pb2.Project(name=key.project))


def branch_message(key: BranchKey) -> Any:
    return pfs_pb2.Branch(repo=repo_message(key.repo), name=key.name)


def commit_message(key: CommitKey) -> Any:
    """With the repo in both places: clients read either."""
    repo = repo_message(key.repo)
    return pfs_pb2.Commit(repo=repo, branch=pfs_pb2.Branch(repo=repo, name=key.branch), id=key.id)


def project_info(project: Project) -> Any:
    return pfs_pb2.ProjectInfo(
        project=pfs_pb2.Project(name=project.name), description=project.description, created_at=timestamp(project.created_ns)
    )


def repo_info(repo: Repo, *, size: int, details: bool) -> Any:
    """:param details: The exact size too, as InspectRepo gives it."""
    info = pfs_pb2.RepoInfo(
        repo=repo_message(repo.key),
        created=timestamp(repo.created_ns),
        description=repo.description,
        branches=[branch_message(BranchKey(repo.key, name)) for name in repo.branches],
        size_bytes_upper_bound=size,
    )
    if details:
        info.details.size_bytes = size
    return info


def branch_info(branch: Branch) -> Any:
    info = pfs_pb2.BranchInfo(
        branch=branch_message(branch.key),
        head=commit_message(branch.head),
        direct_provenance=map(branch_message, branch.direct_provenance),
        provenance=map(branch_message, branch.provenance),
        subvenance=map(branch_message, branch.subvenance),
    )
    if branch.trigger is not None:
        info.trigger.CopyFrom(trigger_message(branch.trigger))
    since_2_8 = newer.message("pfs_v2.BranchInfo")()
    since_2_8.created_at.FromNanoseconds(branch.created_ns)
    info.MergeFromString(since_2_8.SerializeToString())
    return info


def commit_info(commit: Commit, children: list[CommitKey]) -> Any:
    info = pfs_pb2.CommitInfo(
        commit=commit_message(commit.key),
        origin=pfs_pb2.CommitOrigin(kind=commit.origin.value),
        description=commit.description,
        child_commits=map(commit_message, children),
        started=timestamp(commit.started_ns),
        error=commit.error,
        size_bytes_upper_bound=commit.size,
        direct_provenance=map(commit_message, commit.direct_provenance),
    )
    if commit.parent is not None:
        info.parent_commit.CopyFrom(commit_message(commit.parent))
    if commit.finishing_ns is not None:
        info.finishing.CopyFrom(timestamp(commit.finishing_ns))
    if commit.finished_ns is not None:
        info.finished.CopyFrom(timestamp(commit.finished_ns))
        info.details.size_bytes = commit.size
        info.details.compacting_time.SetInParent()
        info.details.validating_time.SetInParent()
    return info


class FileMessages:
    """Makes FileInfo messages of one commit."""

    def __init__(self, commit: Commit, dialect: Dialect) -> None:
        self._commit = commit_message(commit.key)
        if not dialect.shows_branch:
            self._commit.ClearField("branch")
        self._committed = None if commit.finishing_ns is None else timestamp(commit.finishing_ns)

    def file(self, path: str, tag: str = "") -> Any:
        return pfs_pb2.File(commit=self._commit, path=path, datum=tag)

    def info(self, file: FileInfo) -> Any:
        return pfs_pb2.FileInfo(
            file=pfs_pb2.File(commit=self._commit, path=file.path, datum=file.tag),
            file_type=file.kind.value,
            committed=self._committed,
            size_bytes=file.size,
            hash=file.hash,
        )

    def encoded(self, files: Iterable[FileInfo]) -> Iterator[bytes]:
        """What :meth:`info` makes of many files, ready for the wire: one message is filled again and again, which costs a third."""
        info = pfs_pb2.FileInfo(file=pfs_pb2.File(commit=self._commit), committed=self._committed)
        message = info.file
        for file in files:
            message.path, message.datum = file.path, file.tag
            info.file_type, info.size_bytes, info.hash = file.kind, file.size, file.hash
            yield info.SerializeToString()
