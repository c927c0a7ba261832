"""What may stand behind a branch or an id in a commit reference: ``^``, ``~2``, ``.1``. Each release has a grammar of its own."""

import re
from dataclasses import dataclass

from minipachd.errors import InvalidError

_2_12 = re.compile(r"(?:\.(?P<root>[0-9]{1,18}))?(?P<parents>\^+|~+|\^[0-9]{1,18}|~[0-9]{1,18})?")
_2_7 = re.compile(r"(?P<sign>[\^~.])(?:(?P<number>[+-]?[0-9]{1,18})|(?P=sign)*)")


@dataclass(frozen=True, slots=True)
class Ancestry:
    """The way from a commit to one of its ancestors.

    :ivar steps: So many parents back or, from the root, the place in the history: 1 is the root.
    :ivar from_root: Which of the two.
    :ivar slack: How far beyond the history's length a place may lie: it means the newest commit then.
    """

    steps: int
    from_root: bool = False
    slack: int = 0

    def index(self, length: int) -> int | None:
        """The place in a chain of commits, newest first.

        :param length: Of the chain.
        :return: None when the chain is not that long.
        """
        if not self.from_root:
            return self.steps if self.steps < length else None
        return max(0, length - self.steps) if 0 < self.steps <= length + self.slack else None


def split(text: str) -> tuple[str, str]:
    """What is before the ancestry, and the ancestry."""
    at = min((found for found in map(text.find, "^~.") if found >= 0), default=len(text))
    return text[:at], text[at:]


def parse(suffix: str) -> Ancestry:
    """As Pachyderm 2.12 reads it: ``.3^`` goes back from the third commit; one place beyond the newest commit is the newest, too.

    :raises InvalidError: It is malformed, or goes back from the root.
    """
    match = _2_12.fullmatch(suffix)
    if match is None or not suffix:
        raise InvalidError(f"invalid ancestry format {suffix!r}: write .3 for the third commit, ^ or ~ or ^2 for ancestors, or .3^2")
    found = match["parents"] or ""
    parents = int(found[1:]) if found[1:].isdigit() else len(found)
    if match["root"] is None:
        return Ancestry(parents)
    place = int(match["root"]) - parents
    if parents and place < 1:
        raise InvalidError(f"invalid ancestry format {suffix!r}: it goes back beyond the root, which is .1")
    return Ancestry(place, from_root=True, slack=1)


def parse_2_7(suffix: str) -> Ancestry:
    """As Pachyderm 2.7 reads it: a number may be negative and then counts from the other end.

    :raises InvalidError: It is malformed.
    """
    match = _2_7.fullmatch(suffix)
    if match is None:
        raise InvalidError(f"invalid ancestry syntax {suffix!r}: write one of the characters ^ ~ . several times, or once with a number")
    steps = int(match["number"]) if match["number"] else len(suffix)
    if match["sign"] == ".":
        steps = -steps
    return Ancestry(steps) if steps >= 0 else Ancestry(-steps, from_root=True)
