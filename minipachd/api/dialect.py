"""What Pachyderm 2.12 answers otherwise than Pachyderm 2.7, all of it: the one place that knows releases apart.

The engine below has one behaviour. Where the two releases differ, it says what it found, and the dialect says how that is answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one release answers.

    :ivar name: As ``--speak`` names it.
    :ivar version: What ``GetVersion`` says: major, minor, micro.
    :ivar shows_branch: The commits that an answer is about carry the branch on which they were made. 2.12 leaves it out there, and keeps
        it in those that it names beside them (``child_commits``, ``direct_provenance``) and in what PPS stores (``output_commit``,
        ``spec_commit``).
    :ivar unknown_job_set_is_empty: InspectJobSet of an id that nothing has ends well, without an answer; else it is an error.
    """

    name: str
    version: tuple[int, int, int]
    shows_branch: bool
    unknown_job_set_is_empty: bool

    def trim(self, answer: Any) -> None:
        """Take out of an answer what this release does not fill in."""
        if not self.shows_branch and (commits := _COMMITS.get(answer.DESCRIPTOR.full_name)) is not None:
            for commit in commits(answer):
                commit.ClearField("branch")


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
        Dialect("2.12", (2, 12, 0), shows_branch=False, unknown_job_set_is_empty=True),
        Dialect("2.7", (2, 7, 6), shows_branch=True, unknown_job_set_is_empty=False),
    )
}
DEFAULT = DIALECTS["2.7"]
