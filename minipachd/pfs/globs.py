"""Pachyderm's glob language, as regular expressions.

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
from functools import lru_cache

from minipachd.errors import InvalidError
from minipachd.pfs import paths

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
_META = re.compile(r"[*?\[{(\\]|[@+!](?=\()")
_MAX_PATTERN = 4096
_MAX_NEGATIONS = 8  # each doubles the work of compiling what is behind it


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
            self._regex = re.compile(parser.parse(), re.DOTALL)
        except (re.error, RecursionError, OverflowError) as exc:
            raise GlobError(f"glob pattern {pattern!r} is invalid: {exc}") from exc
        meta = _META.search(self.pattern)
        self.prefix = self.pattern[: meta.start()] if meta else self.pattern
        self.depth = None if parser.crosses_slashes else parser.slashes

    def matches(self, path: str) -> bool:
        """Whether the whole path matches; a slash at its end does not count."""
        return self._match(path) is not None

    def _match(self, path: str) -> re.Match[str] | None:
        if path == "/" and self.pattern != "/":
            return None  # the root is what "/" means, and nothing else: not an empty name under it
        return self._regex.fullmatch(path[:-1] if len(path) > 1 and path.endswith("/") else path)

    def expand(self, path: str, template: str) -> str:
        """Fill ``$1``, ``${1}``, ``$0`` and ``$$`` of a template from a matching path; a group that is not there gives nothing."""
        match = self._match(path)

        def group(reference: re.Match[str]) -> str:
            if reference[1]:
                return "$"
            name = reference[2] or reference[3]
            if match is None or not name.isascii() or not name.isdigit() or int(name) > self._regex.groups:
                return ""
            return match[int(name)] or ""

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
    """Recursive descent from pattern to regular expression."""

    def __init__(self, pattern: str) -> None:
        self._text, self._at = pattern, 0
        self.crosses_slashes = False
        self.slashes = 0  # those that stand for themselves, which those of a character class do not
        self._negations = 0

    def parse(self) -> str:
        return self._sequence(ends="")

    def _sequence(self, *, ends: str) -> str:
        """Up to one of the characters ``ends`` (left unread), or the end of the text when there are none."""
        parts: list[str] = []
        while self._at < len(self._text) and self._text[self._at] not in ends:
            character = self._text[self._at]
            following = self._text[self._at + 1 : self._at + 2]
            if following == "(" and character in "@?*+!":
                self._at += 1
                inner = self._group("(", "|", ")")
                parts.append(self._extended(character, inner, ends))
                continue
            match character:
                case "(":
                    parts.append(f"({self._group('(', '|', ')')})")
                case "{":
                    parts.append(f"(?:{self._group('{', ',', '}')})")
                case "[":
                    parts.append(self._character_class())
                case "*" if following == "*":
                    self._at += 2
                    self.crosses_slashes = True
                    parts.append(".*")
                case "*":
                    self._at += 1
                    parts.append("[^/]*")
                case "?":
                    self._at += 1
                    parts.append("[^/]")
                case "\\":
                    if not following:
                        raise self._error("it ends in a backslash")
                    self._at += 2
                    parts.append(self._literal(following))
                case _:
                    self._at += 1
                    parts.append(self._literal(character))
        return "".join(parts)

    def _literal(self, character: str) -> str:
        self.slashes += character == "/"
        return re.escape(character)

    def _group(self, opening: str, separator: str, closing: str) -> str:
        """The alternatives between brackets, which are both read."""
        start = self._at
        self._at += 1
        alternatives: list[str] = []
        while True:
            alternatives.append(self._sequence(ends=separator + closing))
            if self._at == len(self._text):
                raise self._error(f"the {opening!r} at character {start} is not closed")
            self._at += 1
            if self._text[self._at - 1] == closing:
                break
        if "/" in self._text[start : self._at]:
            self.crosses_slashes = True
        return "|".join(alternatives)

    def _extended(self, kind: str, inner: str, ends: str) -> str:
        if kind in "*+":
            return f"((?:{inner}){kind})"
        if kind == "?":
            return f"((?:{inner})?)"
        if kind == "@":
            return f"({inner})"
        # "!": look ahead with what follows. The rest is read twice: once for the look-ahead, without its groups, and once for itself.
        self._negations += 1
        if self._negations > _MAX_NEGATIONS:
            raise self._error(f"more than {_MAX_NEGATIONS} negations")
        mark = self._at, self.crosses_slashes, self.slashes, self._negations
        rest = _without_groups(self._sequence(ends=ends))
        self._at, self.crosses_slashes, self.slashes, self._negations = mark
        inner = _without_groups(inner)
        return rf"((?!(?:{inner}){rest}(?:/|\Z))[^/]*)" if not rest else rf"((?!(?:{inner}){rest}\Z)[^/]*)"

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
        if posix := re.compile(r"\[:(\w*):\]").match(self._text, self._at):
            if posix[1] not in _POSIX:
                raise self._error(f"there is no character class [:{posix[1]}:]")
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


def _without_groups(regex: str) -> str:
    """The same expression with groups that do not capture (every bracket of ours is escaped or opens a group, or is in a class)."""
    return re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]|\((?!\?)", lambda m: "(?:" if m[0] == "(" else m[0], regex, flags=re.DOTALL)
