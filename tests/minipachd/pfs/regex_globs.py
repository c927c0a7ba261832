"""The glob language as one regular expression each: how minipachd matched before, and what its matcher is compared with.

Right, and for some patterns exponentially slow.
"""

import re

from minipachd.pfs import GlobError, paths

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
_MAX_NEGATIONS = 8  # each doubles the work of compiling what is behind it


def translate(pattern: str) -> re.Pattern[str]:
    """What a pattern means. :raises GlobError: It is malformed."""
    try:
        return re.compile(_Parser(paths.clean(pattern)).parse(), re.DOTALL)
    except (re.error, RecursionError, OverflowError) as exc:
        raise GlobError(f"glob pattern {pattern!r} is invalid: {exc}") from exc


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
                    self._at += 2 if following else 1
                    parts.append(self._literal(following or character))
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
                break
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
        posix = re.compile(r"\[:(\w*):\]").match(self._text, self._at)
        if posix and posix[1] in _POSIX:
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
