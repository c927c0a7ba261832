"""What Pachyderm 2.12 answers otherwise than Pachyderm 2.7, all of it: the one place that knows releases apart.

The engine below has one behaviour. Where the two releases differ, it says what it found, and the dialect says how that is answered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from minipachd import errors
from minipachd.pfs import CommitReference, RepoKey
from minipachd.pfs.ancestry import parse, parse_2_7, split
from minipachd.pfs.names import is_id


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one release answers.

    :ivar name: As ``--speak`` names it.
    :ivar version: What ``GetVersion`` says: major, minor, micro.
    :ivar reference: Reads how a client names a commit: its repo, and what it wrote for branch and id.
    :ivar codes: Errors that have another status code here than :data:`minipachd.api.errors.CODES` gives their class.
    :ivar shows_branch: The commits that an answer is about carry the branch on which they were made. 2.12 leaves it out there, and keeps
        it in those that it names beside them (``child_commits``, ``direct_provenance``) and in what PPS stores (``output_commit``,
        ``spec_commit``).
    :ivar misses_branches: Deleting a branch that does not exist is an error.
    :ivar checks_reads: Reading a commit that is not finished, or that has an error, is refused where a file and a directory collide.
    :ivar lists_repos_by_name: ListRepo goes by project and name; else the newest comes first.
    :ivar sizes_of_heads: The size of a repo is that of the head of ``master``, nothing while that is open; else that of the newest finished
        commit there.
    """

    name: str
    version: tuple[int, int, int]
    reference: Callable[[RepoKey, str, str], CommitReference]
    codes: Mapping[type[errors.MinipachdError], grpc.StatusCode]
    shows_branch: bool
    misses_branches: bool
    checks_reads: bool
    sizes_of_heads: bool
    lists_repos_by_name: bool

    def trim(self, answer: Any) -> None:
        """Take out of an answer what this release does not fill in."""
        if not self.shows_branch and (commits := _COMMITS.get(answer.DESCRIPTOR.full_name)) is not None:
            for commit in commits(answer):
                commit.ClearField("branch")


def _reference(repo: RepoKey, branch: str, set_id: str) -> CommitReference:
    """An id makes the branch beside it meaningless, unless it is nothing but ancestry; a branch's name may have ancestry, too.

    :raises InvalidError: The ancestry is malformed, or counts from the root of an id.
    """
    base, suffix = split(branch + set_id if branch and (not set_id or set_id[0] in "^~.") else set_id)
    ancestry = parse(suffix) if suffix else None
    if not is_id(base.lower()):
        return CommitReference(repo, base or None, "", ancestry, suffix)
    if ancestry is not None and ancestry.from_root:
        raise errors.InvalidError(f"commit {repo}@{base}{suffix}: only a branch has a first commit, an id has none; name the branch")
    return CommitReference(repo, branch or None, base.lower(), ancestry, suffix)


def _reference_2_7(repo: RepoKey, branch: str, set_id: str) -> CommitReference:
    """Either a branch, or an id in whose place a branch may stand. :raises InvalidError: Both are branches; or see :func:`parse_2_7`."""
    base, suffix = split(set_id)
    ancestry = parse_2_7(suffix) if suffix else None
    if is_id(base):
        return CommitReference(repo, branch or None, base, ancestry, suffix)
    if base and branch:
        raise errors.InvalidError(f"invalid commit ID given with a branch: {set_id!r} is no id; give either an id or the branch {branch}")
    return CommitReference(repo, base or branch or None, "", ancestry, suffix)


def _of_info(info: Any) -> list[Any]:
    return [info.commit] + ([info.parent_commit] if info.HasField("parent_commit") else [])


_COMMITS: dict[str, Callable[[Any], list[Any]]] = {
    "pfs_v2.Commit": lambda answer: [answer],
    "pfs_v2.CommitInfo": _of_info,
    "pfs_v2.CommitSetInfo": lambda answer: [commit for info in answer.commits for commit in _of_info(info)],
    "pfs_v2.BranchInfo": lambda answer: [answer.head],
    "pfs_v2.FindCommitsResponse": lambda answer: [getattr(answer, answer.WhichOneof("result"))],
}
"""The commits that an answer is about, by its type; those of files never have the branch (:class:`~.pfs_messages.FileMessages`)."""

DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "2.12",
            (2, 12, 0),
            reference=_reference,
            codes={errors.SecondCommitError: grpc.StatusCode.ALREADY_EXISTS, errors.CycleError: grpc.StatusCode.INTERNAL},
            shows_branch=False,
            misses_branches=True,
            checks_reads=True,
            sizes_of_heads=True,
            lists_repos_by_name=True,
        ),
        Dialect(
            "2.7",
            (2, 7, 6),
            reference=_reference_2_7,
            codes={errors.BeyondRootError: grpc.StatusCode.NOT_FOUND},
            shows_branch=True,
            misses_branches=False,
            checks_reads=False,
            sizes_of_heads=False,
            lists_repos_by_name=False,
        ),
    )
}
DEFAULT = DIALECTS["2.12"]
