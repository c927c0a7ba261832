"""What a step says when it returns."""

from enum import StrEnum

import msgspec


class Change(StrEnum):
    """What a finished step did."""

    FOUND = "found"  # it was there as wanted: nothing was done
    CREATED = "created"
    UPDATED = "updated"
    REMOVED = "removed"
    ABSENT = "absent"  # it was to be removed and was not there
    KEPT = "kept"  # left in place on purpose


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
