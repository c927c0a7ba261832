"""The ``item`` blocks of a label map in protobuf's text format, as protobuf's own parser reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stages.common.errors import StageError

_TOKEN = re.compile(
    r"""
    \s+ | \#[^\n]*
    | (?P<word>[A-Za-z_]\w*) | (?P<number>-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') | (?P<mark>[{}<>:,;\[\]])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9A-Fa-f]{1,2})|u(?P<short>[0-9A-Fa-f]{4})|U(?P<long>[0-9A-Fa-f]{8})|(?P<one>.))"
)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", "'": "'", '"': '"', "?": "?"}
_CLOSING = {"{": "}", "<": ">"}
_MARKS = frozenset("{}<>:,;[]")
_DEEPEST = 50
_LAST_CODE = 0x10FFFF


def items(text: str, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the fields of each item, with its line; messages within items, such as keypoints, are passed over.

    :param name: Of the file, for messages.
    :raises StageError: It is no such text; the message names the line.
    """
    reader = _Reader(text, name)
    while reader.next:
        yield reader.item()


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._tokens = self._cut(text)
        self._position = 0

    @property
    def next(self) -> str:
        """The next token; empty at the end."""
        return self._tokens[self._position][0] if self._position < len(self._tokens) else ""

    def item(self) -> tuple[int, dict[str, str]]:
        """Read ``item { ... }``."""
        self._token("item")
        if self.next == ":":
            self._token()
        line = self._tokens[self._position][1] if self.next else 0
        if self.next not in _CLOSING:
            self._token("{")
        return line, self._message(1)

    def _message(self, depth: int) -> dict[str, str]:
        """Read the opening mark, the fields, and the closing mark."""
        if depth > _DEEPEST:
            raise self._refusal(f"more than {_DEEPEST} messages lie in each other")
        closing = _CLOSING[self._token()]
        fields: dict[str, str] = {}
        while (key := self._token()) != closing:
            if key in {",", ";"}:
                continue
            if not (key[0].isalpha() or key[0] == "_"):
                raise self._refusal(f"expected the name of a field, found {key!r}")
            if self.next == ":":
                self._token()
            elif self.next not in _CLOSING:
                raise self._refusal(f"expected ':' behind {key}, found {self.next!r}")
            if self.next == "[":
                self._list(key, depth)
            elif self.next in _CLOSING:
                self._message(depth + 1)
            else:
                fields[key] = self._value(key)
        return fields

    def _list(self, key: str, depth: int) -> None:
        self._token("[")
        while self.next != "]":
            if self.next == ",":
                self._token()
            elif self.next in _CLOSING:
                self._message(depth + 1)
            else:
                self._value(key)
        self._token("]")

    def _value(self, key: str) -> str:
        """Read a word, a number or quoted texts, of which several in a row are one."""
        text = self._token()
        if text in _MARKS:
            raise self._refusal(f"{key} has no value")
        if text[0] not in "\"'":
            return text
        found = self._bytes(text)
        while self.next[:1] in ("'", '"'):
            found += self._bytes(self._token())
        try:
            return found.decode()
        except UnicodeDecodeError:
            raise self._refusal(f"{key} is no UTF-8 text") from None

    def _bytes(self, quoted: str) -> bytes:
        """A quoted text without its quotes, its escapes replaced."""
        found, end = b"", 0
        inner = quoted[1:-1]
        for match in _ESCAPE.finditer(inner):
            found += inner[end : match.start()].encode() + self._escaped(match)
            end = match.end()
        return found + inner[end:].encode()

    def _escaped(self, match: re.Match[str]) -> bytes:
        if match["octal"] or match["hex"]:
            return bytes([int(match["octal"], 8) & 0xFF if match["octal"] else int(match["hex"], 16)])
        if code := match["short"] or match["long"]:
            if int(code, 16) > _LAST_CODE:
                raise self._refusal(f"{match[0]} is no character")
            return chr(int(code, 16)).encode("utf-8", "surrogatepass")
        if match["one"] not in _ESCAPED:
            raise self._refusal(f"{match[0]} is no escape")
        return _ESCAPED[match["one"]].encode()

    def _token(self, expected: str | None = None) -> str:
        if not self.next:
            raise StageError(f"{self._name}: not a label map: it ends inside an item")
        text = self.next
        self._position += 1
        if expected is not None and text != expected:
            raise self._refusal(f"expected {expected!r}, found {text!r}")
        return text

    def _refusal(self, what: str) -> StageError:
        return StageError(f"{self._name}: not a label map: line {self._tokens[self._position - 1][1]}: {what}")

    def _cut(self, text: str) -> list[tuple[str, int]]:
        """Cut the text into words, numbers, quoted texts and marks, each with its line number."""
        tokens: list[tuple[str, int]] = []
        position, line = 0, 1
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise StageError(f"{self._name}: not a label map: line {line}: unexpected {text[position : position + 20]!r}")
            if match.lastgroup:
                tokens.append((match.group(), line))
            line += match.group().count("\n")
            position = match.end()
        return tokens
