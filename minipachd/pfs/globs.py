"""Pachyderm's glob language.

======================  ==========================================================
``*``                   any run of characters without ``/``
``**``                  any run of characters
``?``                   one character, not ``/``
``[a-c]`` ``[[:alpha:]]``  one character of a class; ``[!a]`` or ``[^a]``: one outside it, not ``/``
``{a,b}``               one of the alternatives
``(p|q)`` ``@(p|q)``    exactly one of them
``?(p|q)``              at most one; ``*(p|q)`` any number; ``+(p|q)`` at least one
``!(p|q)``              a run without ``/`` where, with the rest of the pattern behind it, none of them fits
``\\x``                  the character x
======================  ==========================================================

Every round bracket is a capture group, numbered by where it opens. A pattern must match a whole path; a directory's without its last slash.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from minipachd.errors import InvalidError
from minipachd.pfs import paths
from minipachd.pfs.globmatch import Group, Matcher, Node, One, Run, Sequence, Text

_POSIX = {
    "alnum": "A-Za-z0-9",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    "space": r"\s",
    "upper": "A-Z",
    "word": "A-Za-z0-9_",
    "xdigit": "0-9A-Fa-f",
}
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")
_POSIX_CLASS = re.compile(r"\[:(\w*):\]")
_META = re.compile(r"[*?\[{(\\]|[@+!](?=\()")
_MAX_PATTERN = 4096
_MAX_NEGATIONS = 8  # each looks at all of a path
_MAX_DEPTH = 50


class GlobError(InvalidError):
    """A pattern that is none: names it and what is wrong."""


class Glob:
    """A compiled pattern.

    :param pattern: Cleaned like a path: a leading slash is added, one at the end dropped, empty means ``/``.
    :raises GlobError: It is malformed.
    :ivar prefix: What every match begins with.
    :ivar depth: How many slashes every match has, or None when matches may differ in that.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > _MAX_PATTERN:
            raise GlobError(f"glob pattern of {len(pattern)} characters: at most {_MAX_PATTERN} are allowed")
        self.pattern = paths.clean(pattern)
        parser = _Parser(self.pattern)
        try:
            self._matcher = Matcher(parser.parse(), groups=parser.groups)
        except (re.error, OverflowError) as exc:
            raise GlobError(f"glob pattern {pattern!r} is invalid: {exc}") from exc
        meta = _META.search(self.pattern)
        self.prefix = self.pattern[: meta.start()] if meta else self.pattern
        self.depth = None if parser.crosses_slashes else parser.slashes

    def matches(self, path: str) -> bool:
        """Whether the whole path matches; a slash at its end does not count.

        :raises InvalidError: The pattern is too long for so long a path.
        """
        if path == "/":
            return self.pattern == "/"  # the root is what "/" means, and nothing else: not an empty name under it
        return self._matcher.matches(path.removesuffix("/"))

    def watched(self, look: Callable[[], None]) -> "Glob":
        """This pattern, which calls ``look`` before it looks at a path: what that raises ends a listing that finds nothing for long."""
        return _Watched(self, look)

    def expand(self, path: str, template: str) -> str:
        """Fill ``$1``, ``${1}``, ``$0`` and ``$$`` of a template from a matching path; a group that is not there gives nothing."""
        if "$" not in template:
            return template
        groups = None if path == "/" and self.pattern != "/" else self._matcher.captured(path if path == "/" else path.removesuffix("/"))

        def group(reference: re.Match[str]) -> str:
            if reference[1]:
                return "$"
            name = reference[2] or reference[3]
            if groups is None or not name.isascii() or not name.isdigit() or len(name) > 4 or int(name) >= len(groups):
                return ""
            return groups[int(name)]

        return _REFERENCE.sub(group, template)

    def narrowed(self, template: str, text: str) -> str | None:
        """A pattern that fits every path that this one fits and for which :meth:`expand` of ``template`` gives ``text``, and maybe others.

        :return: None where no such pattern is known: the brackets that the template refers to must be plain ones outside of others, and
            the text must tell what each of them captured, because there is one alone or a slash between each two.
        """
        pieces = _REFERENCE.split(template)  # literal, then for each reference three groups and the literal behind it
        literals, names = pieces[::4], [braced or bare for _, braced, bare in zip(pieces[1::4], pieces[2::4], pieces[3::4], strict=True)]
        if self.depth is None or not all(name and name.isascii() and name.isdigit() and name != "0" for name in names):
            return None
        if len(set(names)) < len(names) or any("/" not in literal for literal in literals[1:-1]):
            return None
        captured = re.fullmatch("([^/]*)".join(map(re.escape, literals)), text, re.DOTALL)
        spans = _plain_brackets(self.pattern)
        if captured is None or spans is None or any(int(name) > len(spans) for name in names):
            return None
        pattern = self.pattern
        values = dict(zip((spans[int(name) - 1] for name in names), captured.groups(), strict=True))
        for start, end in sorted(values, reverse=True):
            pattern = pattern[:start] + _escaped(values[start, end]) + pattern[end:]
        return pattern if len(pattern) <= _MAX_PATTERN and paths.clean(pattern) == pattern else None


class _Watched(Glob):
    def __init__(self, glob: Glob, look: Callable[[], None]) -> None:  # made from one that is compiled
        self.pattern, self.prefix, self.depth, self._matcher = glob.pattern, glob.prefix, glob.depth, glob._matcher  # noqa: SLF001
        self._look = look

    def matches(self, path: str) -> bool:
        self._look()
        return super().matches(path)


def _plain_brackets(pattern: str) -> list[tuple[int, int]] | None:
    """Where the capture groups of a pattern stand, if all are plain and none is inside of anything; else None."""
    if re.search(r"[\\{\[]|[@?*+!]\(", pattern):
        return None
    spans = [match.span() for match in re.finditer(r"\([^()]*\)", pattern)]
    return spans if pattern.count("(") == pattern.count(")") == len(spans) else None


def _escaped(text: str) -> str:
    return re.sub(r"([*?\[{(\\@+!])", r"\\\1", text)


@lru_cache(maxsize=512)
def compile_glob(pattern: str) -> Glob:
    """:class:`Glob`, remembered. :raises GlobError: The pattern is malformed."""
    return Glob(pattern)


class _Parser:
    """Recursive descent from text to nodes."""

    def __init__(self, pattern: str) -> None:
        self._text, self._at = pattern, 0
        self.crosses_slashes = False
        self.slashes = 0  # those that stand for themselves, which those of a character class do not
        self.groups = 0
        self._negations = self._depth = 0

    def parse(self) -> Sequence:
        return self._sequence(ends="")

    def _sequence(self, *, ends: str) -> Sequence:
        """Up to one of the characters ``ends`` (left unread), or the end of the text when there are none."""
        nodes: list[Node] = []
        while self._at < len(self._text) and self._text[self._at] not in ends:
            character = self._text[self._at]
            following = self._text[self._at + 1 : self._at + 2]
            if following == "(" and character in "@?*+!":
                self._at += 1
                nodes.append(self._group("(", "|", ")", kind=character))
                continue
            match character:
                case "(":
                    nodes.append(self._group("(", "|", ")"))
                case "{":
                    nodes.append(self._group("{", ",", "}"))
                case "[":
                    nodes.append(One(self._character_class()))
                case "*" if following == "*":
                    self._at += 2
                    self.crosses_slashes = True
                    nodes.append(Run(slashes=True))
                case "*":
                    self._at += 1
                    nodes.append(Run(slashes=False))
                case "?":
                    self._at += 1
                    nodes.append(One("[^/]"))
                case "\\":
                    self._at += 2 if following else 1
                    self._literal(nodes, following or character)
                case _:
                    self._at += 1
                    self._literal(nodes, character)
        return tuple(nodes)

    def _literal(self, nodes: list[Node], character: str) -> None:
        self.slashes += character == "/"
        before = nodes[-1] if nodes else None
        if isinstance(before, Text):
            nodes[-1] = Text(before.text + character)
        else:
            nodes.append(Text(character))

    def _group(self, opening: str, separator: str, closing: str, *, kind: str = "@") -> Group:
        """The alternatives between brackets, which are both read."""
        start, number = self._at, 0
        if opening == "(":
            self.groups += 1
            number = self.groups
        self._negations += kind == "!"
        if self._negations > _MAX_NEGATIONS:
            raise self._error(f"more than {_MAX_NEGATIONS} negations")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"brackets are nested more than {_MAX_DEPTH} deep")
        self._at += 1
        alternatives: list[Sequence] = []
        while True:
            alternatives.append(self._sequence(ends=separator + closing))
            if self._at == len(self._text):
                break  # Pachyderm takes it as closed, and only a '[' must be
            self._at += 1
            if self._text[self._at - 1] == closing:
                break
        self._depth -= 1
        if "/" in self._text[start : self._at]:
            self.crosses_slashes = True
        return Group(tuple(alternatives), kind, number)

    def _character_class(self) -> str:
        start = self._at
        self._at += 1
        negated = self._text[self._at : self._at + 1] in ("!", "^")
        self._at += negated
        parts: list[str] = []
        while True:
            if self._at >= len(self._text):
                raise self._error(f"the '[' at character {start} is not closed")
            if self._text[self._at] == "]" and parts:
                break
            parts.append(self._class_member())
        self._at += 1
        return f"[^/{''.join(parts)}]" if negated else f"(?!/)[{''.join(parts)}]"

    def _class_member(self) -> str:
        posix = _POSIX_CLASS.match(self._text, self._at)
        if posix and posix[1] in _POSIX:  # another name is characters like any, as in Pachyderm
            self._at = posix.end()
            return _POSIX[posix[1]]
        low = self._class_character()
        if self._text[self._at : self._at + 1] == "-" and self._text[self._at + 1 : self._at + 2] not in ("", "]"):
            self._at += 1
            high = self._class_character()
            if low > high:
                raise self._error(f"the range {low}-{high} runs backwards")
            return f"{re.escape(low)}-{re.escape(high)}"
        return re.escape(low)

    def _class_character(self) -> str:
        if self._text[self._at] == "\\":
            self._at += 1
        if self._at >= len(self._text):
            raise self._error("a '[' is not closed")
        self._at += 1
        return self._text[self._at - 1]

    def _error(self, reason: str) -> GlobError:
        return GlobError(f"glob pattern {self._text!r} is invalid: {reason}")
