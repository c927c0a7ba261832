"""What minipachd is known to answer otherwise than a real Pachyderm, and why. The rows stand in ``docs/minipachd.md``, too."""

from collections.abc import Callable
from typing import Any

from tests.compare.sequences import Call

Answer = tuple[str, Any]


def _overlooked_collision(call: Call, left: Answer, right: Answer) -> bool:
    return ("path collision" in str(left[1])) != ("path collision" in str(right[1]))


def _two_faults(call: Call, left: Answer, right: Answer) -> bool:
    return (
        call.name == "ModifyFile"
        and {left[0], right[0]} == {"NOT_FOUND", "UNKNOWN"}
        and any("invalid" in str(answer[1]) for answer in (left, right))
    )


KNOWN: list[tuple[str, Callable[[Call, Answer, Answer], bool]]] = [
    ("collision that Pachyderm overlooks, because another path sorts between file and directory", _overlooked_collision),
    ("write with two faults: minipachd looks for the repo before it takes in the files", _two_faults),
]


def explanation(call: Call, left: Answer, right: Answer) -> str:
    """The reason, or nothing."""
    return next((reason for reason, applies in KNOWN if applies(call, left, right)), "")
