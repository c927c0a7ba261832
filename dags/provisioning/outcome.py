"""What a step says when it returns."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import msgspec

from dags.provisioning.stack import RUN_LABEL


class Change(StrEnum):
    """What a finished step did."""

    FOUND = "found"  # it was there as wanted: nothing was done
    CREATED = "created"  # by this run, be it in an earlier try
    UPDATED = "updated"
    REMOVED = "removed"
    ABSENT = "absent"  # it was to be removed and was not there
    KEPT = "kept"  # left in place on purpose

    @classmethod
    def of(cls, labels: Mapping[str, str], *, run: str) -> Self:
        """Of a thing that is there as wanted, by its labels: a run whose task was killed finds what it created itself."""
        return cls(cls.CREATED if labels.get(RUN_LABEL) == run else cls.FOUND)


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The step's thing is as wanted.

    :ivar change: What was done.
    :ivar message: One sentence for the log: the thing by name, and what became of it.
    """

    change: Change
    message: str


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """Started, not finished.

    :ivar message: What is waited for.
    :ivar progress: To be handed to the step's next call: ids of what it started.
    """

    message: str
    progress: dict[str, str] = {}


Outcome = Done | Pending
