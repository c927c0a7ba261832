"""What minipachd is known to answer otherwise than a real Pachyderm, and why. The rows stand in ``docs/minipachd.md``, too."""

from collections.abc import Callable
from typing import Any

from tests.compare.sequences import Call

Answer = tuple[str, Any]


def _overlooked_collision(call: Call, left: Answer, right: Answer) -> bool:
    return ("path collision" in str(left[1])) != ("path collision" in str(right[1]))


_SEVERAL = ("ModifyFile", "AddFileSet", "CreateBranch", "StartCommit", "ListCommit", "DiffFile")


def _two_faults(call: Call, left: Answer, right: Answer) -> bool:
    """Only of calls that name several things; what others are refused with is compared."""
    return call.name in _SEVERAL and "OK" not in (left[0], right[0])


def _unfinished_base(call: Call, left: Answer, right: Answer) -> bool:
    return ("base commit" in str(left[1])) != ("base commit" in str(right[1]))


KNOWN: list[tuple[str, Callable[[Call, Answer, Answer], bool]]] = [
    ("collision that Pachyderm overlooks, because another path sorts between file and directory", _overlooked_collision),
    ("read of an open commit on top of another open one: minipachd shows what both hold so far", _unfinished_base),
    ("call with two faults: each server names the one that it looks for first", _two_faults),
]


def explanation(call: Call, left: Answer, right: Answer) -> str:
    """The reason, or nothing."""
    return next((reason for reason, applies in KNOWN if applies(call, left, right)), "")
