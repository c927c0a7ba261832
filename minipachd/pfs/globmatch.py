"""Matching a parsed glob in time that is linear in pattern and path.

A pattern is a sequence of the nodes below. Python's regular expressions try one way after the other, hold the interpreter's lock while they
do, and have exponentially many ways for ``(a|a)(a|a)…`` or ``*a*a*a``. So they are used only where the number of ways is known and
small; everything else is matched by :class:`Program`, which never looks at the same node at the same place of a path twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import comb, prod
from typing import NamedTuple

from minipachd.errors import InvalidError

_WAYS = 250_000
"""How many ways of matching the regular expression may try at worst: some milliseconds."""
_LONGEST = 1 << 14
_MOST_STATES = 1 << 24


@dataclass(frozen=True, slots=True)
class Text:
    """Stands for itself."""

    text: str


@dataclass(frozen=True, slots=True)
class One:
    """One character.

    :ivar regex: Which, as a regular expression.
    """

    regex: str


@dataclass(frozen=True, slots=True)
class Run:
    """Any number of characters.

    :ivar slashes: Also ``/``.
    """

    slashes: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Alternatives.

    :ivar kind: ``@`` exactly one of them, ``?`` at most one, ``*`` any number, ``+`` at least one; ``!`` a run where, with what is behind
        it in its sequence, none fits.
    :ivar number: Of the capture group; 0 for none.
    """

    alternatives: "tuple[Sequence, ...]"
    kind: str
    number: int


Node = Text | One | Run | Group
Sequence = tuple[Node, ...]


class Matcher:
    """A pattern, ready to be matched.

    :raises re.error: A class of characters is none.
    """

    def __init__(self, sequence: Sequence, *, groups: int) -> None:
        self.groups = groups
        self._sequence = sequence
        self._program: Program | None = None
        self._regex: re.Pattern[str] | None = None
        self._affordable = _affordable(sequence)
        if self._affordable >= 0:
            self._regex = re.compile(_regex(sequence), re.DOTALL)
        else:
            self._program = Program(sequence)

    def matches(self, text: str) -> bool:
        """Whether all of a text matches.

        :raises InvalidError: Both are so long that it would take too much memory to tell.
        """
        if self._regex is not None and len(text) <= self._affordable:
            return self._regex.fullmatch(text) is not None
        return self._linear().match(text) is not None

    def captured(self, text: str) -> list[str] | None:
        """What each group captured, and the text itself as number 0; None where the text does not match.

        :raises InvalidError: See :meth:`matches`.
        """
        if self._regex is not None and len(text) <= self._affordable:
            match = self._regex.fullmatch(text)
            return None if match is None else [match[0], *match.groups("")]
        spans = self._linear().match(text)
        return None if spans is None else [text, *(text[slice(*spans.get(number, (0, 0)))] for number in range(1, self.groups + 1))]

    def _linear(self) -> "Program":
        if self._program is None:
            self._program = Program(self._sequence)
        return self._program


def _affordable(sequence: Sequence) -> int:
    """How long a text may be for the regular expression; -1 where it may never be used."""
    nodes = list(_all_nodes(sequence))
    groups = [node for node in nodes if isinstance(node, Group)]
    if any(group.kind in "*+!" for group in groups):
        return -1
    choices = prod(len(group.alternatives) + (group.kind == "?") for group in groups)
    ambiguous = any(isinstance(node, Run) and node.slashes for node in nodes) or any(map(_has_slash, groups))
    runs = [0]
    for node in nodes:
        if not ambiguous and isinstance(node, Text) and "/" in node.text:
            runs.append(0)  # what is before a slash cannot reach behind it
        runs[-1] += isinstance(node, Run)
    free = sum(runs) if ambiguous else 1 + sum(max(0, count - 1) for count in runs)
    low, high = -1, _LONGEST
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if choices * comb(middle + free, free) <= _WAYS else (low, middle - 1)
    return low


def _has_slash(group: Group) -> bool:
    return any(isinstance(node, Text) and "/" in node.text for alternative in group.alternatives for node in _all_nodes(alternative))


def _all_nodes(sequence: Sequence) -> Iterator[Node]:
    for node in sequence:
        yield node
        if isinstance(node, Group):
            for alternative in node.alternatives:
                yield from _all_nodes(alternative)


def _regex(sequence: Sequence) -> str:
    parts = []
    for node in sequence:
        match node:
            case Text(text):
                parts.append(re.escape(text))
            case One(regex):
                parts.append(regex)
            case Run(slashes):
                parts.append(".*" if slashes else "[^/]*")
            case Group(alternatives, kind, number):
                inner = "|".join(map(_regex, alternatives))
                inner = f"(?:{inner})?" if kind == "?" else inner
                parts.append(f"({inner})" if number else f"(?:{inner})")
    return "".join(parts)


_END, _EDGE, _TEXT, _ONE, _RUN, _FORK, _MARK, _NOT = range(8)
_Operation = tuple[int, ...]
"""What it does, what with, and the operations behind it: one, but for forks."""


class _Marks(NamedTuple):
    """Where a group began or ended, and what came before."""

    group: int
    opens: bool
    at: int
    before: "_Marks | None"


class Program:
    """A pattern as operations, each of which knows the one behind it.

    Ways are tried in the order in which a regular expression tries them; an operation and a place where it failed are not tried again.
    """

    def __init__(self, sequence: Sequence) -> None:
        self._operations: list[_Operation] = []
        self._texts: list[str] = []
        self._ones: list[re.Pattern[str]] = []
        self._known: dict[tuple[int, int, int], int] = {}
        self._end, self._edge = self._new(_END), self._new(_EDGE)
        self._start = self._sequence(sequence, 0, self._end)

    def match(self, text: str) -> dict[int, tuple[int, int]] | None:
        """What the groups captured, by their numbers; None where not all of the text matches.

        :raises InvalidError: Both are so long that it would take too much memory to tell.
        """
        operations, length, stride = self._operations, len(text), len(text) + 1
        if len(operations) * stride > _MOST_STATES:
            raise InvalidError(f"the glob pattern is too long for a path of {length} characters: {text[:80]!r}…; use a shorter one")
        seen = bytearray(len(operations) * stride)
        negations: dict[int, list[bool]] = {}
        waiting: list[tuple[int, int, _Marks | None]] = [(self._start, 0, None)]
        while waiting:
            number, at, marks = waiting.pop()
            while not seen[number * stride + at]:
                seen[number * stride + at] = 1
                kind, *rest = operations[number]
                if kind in (_END, _EDGE):
                    if at == length:
                        return _spans(marks)
                    break
                if kind == _RUN and at < length and (rest[0] or text[at] != "/"):
                    waiting.append((rest[1], at, marks))
                    at += 1
                    continue
                if kind in (_TEXT, _ONE):
                    taken = self._taken(kind, rest[0], text, at)
                    if taken is None:
                        break
                    at += taken
                elif kind == _FORK:
                    waiting.extend((way, at, marks) for way in reversed(rest))
                    break
                elif kind == _MARK:
                    marks = _Marks(rest[0], bool(rest[1]), at, marks)
                elif kind == _NOT and self._fits(rest[0], text, negations)[at]:
                    break
                number = rest[-1]
        return None

    def _taken(self, kind: int, what: int, text: str, at: int) -> int | None:
        """How much of the text an operation takes at a place; None where it does not fit."""
        if kind == _TEXT:
            piece = self._texts[what]
            return len(piece) if text.startswith(piece, at) else None
        return 1 if self._ones[what].match(text, at) else None

    def _fits(self, start: int, text: str, known: dict[int, list[bool]]) -> list[bool]:
        """For each place of a text whether what begins with an operation fits there, found from the text's end backwards.

        :param known: What has been found before; inner negations are in it as well.
        """
        if start in known:
            return known[start]
        reachable, before = self._below(start)
        good: list[set[int]] = [set() for _ in range(len(text) + 1)]
        for at in range(len(text), -1, -1):
            fitting = [number for number in reachable if self._steps(number, text, at, good)]
            while fitting:
                number = fitting.pop()
                if number in good[at]:
                    continue
                good[at].add(number)
                for earlier in before.get(number, ()):
                    kind, inner, *_ = self._operations[earlier]
                    if kind != _NOT or not self._fits(inner, text, known)[at]:
                        fitting.append(earlier)
        known[start] = [start in fitting for fitting in good]
        return known[start]

    def _steps(self, number: int, text: str, at: int, good: list[set[int]]) -> bool:
        """Whether an operation takes some of the text, and the one behind it fits there; or is the end, and here it is."""
        kind, *rest = self._operations[number]
        if kind in (_END, _EDGE):
            return at == len(text) or (kind == _EDGE and text[at] == "/")
        if kind in (_TEXT, _ONE):
            taken = self._taken(kind, rest[0], text, at)
            return taken is not None and rest[1] in good[at + taken]
        return kind == _RUN and at < len(text) and (bool(rest[0]) or text[at] != "/") and number in good[at + 1]

    def _below(self, start: int) -> tuple[list[int], dict[int, list[int]]]:
        """The operations that one leads to, and for each those that lead to it without taking any of the text."""
        before: dict[int, list[int]] = {}
        found, waiting = {start}, [start]
        while waiting:
            number = waiting.pop()
            kind, *rest = self._operations[number]
            following = [] if kind in (_END, _EDGE) else rest if kind == _FORK else rest[-1:]
            for behind in following:
                if kind not in (_TEXT, _ONE):
                    before.setdefault(behind, []).append(number)
                if behind not in found:
                    found.add(behind)
                    waiting.append(behind)
        return list(found), before

    def _new(self, *operation: int) -> int:
        self._operations.append(operation)
        return len(self._operations) - 1

    def _sequence(self, sequence: Sequence, start: int, behind: int) -> int:
        """The operation that a sequence begins with, from one of its nodes on. What has been made before is used again.

        :param behind: The operation behind the sequence.
        """
        for at in range(len(sequence) - 1, start - 1, -1):
            key = id(sequence), at, behind  # the pattern lives as long as we do
            if key not in self._known:
                self._known[key] = self._node(sequence, at, self._known.get((id(sequence), at + 1, behind), behind))
        return self._known.get((id(sequence), start, behind), behind)

    def _node(self, sequence: Sequence, at: int, behind: int) -> int:
        match sequence[at]:
            case Text(text):
                self._texts.append(text)
                return self._new(_TEXT, len(self._texts) - 1, behind)
            case One(regex):
                self._ones.append(re.compile(regex, re.DOTALL))
                return self._new(_ONE, len(self._ones) - 1, behind)
            case Run(slashes):
                return self._new(_RUN, slashes, behind)
            case Group(alternatives, kind, number):
                closed = self._new(_MARK, number, False, behind) if number else behind
                if kind == "!":
                    rest = self._sequence(sequence, at + 1, self._end) if sequence[at + 1 :] else self._edge
                    first = self._new(_NOT, self._fork(alternatives, rest), self._new(_RUN, False, closed))
                elif kind in "*+":
                    loop = self._new(_FORK)
                    turn = self._fork(alternatives, loop)
                    self._operations[loop] = (_FORK, turn, closed)
                    first = loop if kind == "*" else turn
                else:
                    first = self._fork(alternatives, closed)
                    if kind == "?":
                        first = self._new(_FORK, first, closed)
                return self._new(_MARK, number, True, first) if number else first

    def _fork(self, alternatives: tuple[Sequence, ...], behind: int) -> int:
        ways = [self._sequence(alternative, 0, behind) for alternative in alternatives]
        return ways[0] if len(ways) == 1 else self._new(_FORK, *ways)


def _spans(marks: _Marks | None) -> dict[int, tuple[int, int]]:
    """Where each group began and ended; of one that was passed several times the last time counts."""
    ends: dict[int, int] = {}
    spans: dict[int, tuple[int, int]] = {}
    while marks is not None:
        if not marks.opens:
            ends.setdefault(marks.group, marks.at)
        elif marks.group in ends:
            spans.setdefault(marks.group, (marks.at, ends[marks.group]))
        marks = marks.before
    return spans
