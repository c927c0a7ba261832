"""What two servers are known to answer differently, and why. The rows stand in ``docs/minipachd.md``, too."""

from collections.abc import Callable
from typing import Any

from tests.compare.sequences import Call

Answer = tuple[str, Any]

KNOWN: list[tuple[str, Callable[[Call, Answer, Answer], bool]]] = []


def explanation(call: Call, left: Answer, right: Answer) -> str:
    """The reason, or nothing."""
    return next((reason for reason, applies in KNOWN if applies(call, left, right)), "")
