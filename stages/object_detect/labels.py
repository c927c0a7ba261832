"""Label maps: class names by class id, from a ``.pbtxt`` of the TF Object Detection API or from JSON."""

from __future__ import annotations

import re
from pathlib import Path

from stages.common.errors import StageError
from stages.common.files import read_bytes, read_json

_LIMIT_BYTES = 4 << 20
_TOKEN = re.compile(
    r"""
    \s+ | \#[^\n]*
    | (?P<word>[A-Za-z_]\w*) | (?P<number>-?[0-9]+) | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') | (?P<mark>[{}:,;])
    """,
    re.VERBOSE,
)


def read_label_map(path: Path) -> dict[int, str]:
    """Read class names by class id.

    A ``.pbtxt`` has ``item { id: 1 name: "..." display_name: "person" }`` blocks. JSON is ``{"1": "person"}``
    or ``[{"id": 1, "name": "person"}]``.

    :raises StageError: The file is not such a map; the message names the file and the entry.
    """
    labels = _from_json(path) if path.suffix == ".json" else _from_pbtxt(path)
    if not labels:
        raise StageError(f"{path.name}: the label map has no entry")
    return labels


def _from_json(path: Path) -> dict[int, str]:
    value = read_json(path, limit_bytes=_LIMIT_BYTES)
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        entries = [(entry.get("id"), entry.get("display_name", entry.get("name"))) for entry in value]
    else:
        raise StageError(f'{path.name}: a label map is {{"1": "person"}} or [{{"id": 1, "name": "person"}}]')
    labels: dict[int, str] = {}
    for class_id, label in entries:
        _add(labels, class_id, label, where=path.name)
    return labels


def _add(labels: dict[int, str], class_id: object, label: object, *, where: str) -> None:
    number = int(class_id) if isinstance(class_id, str) and re.fullmatch(r"[0-9]{1,9}", class_id) else class_id
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 1_000_000_000:
        raise StageError(f"{where}: class id {class_id!r} is not a whole number from 0")
    if not isinstance(label, str) or not label.strip():
        raise StageError(f"{where}: class {number} has no name")
    if number in labels:
        raise StageError(f"{where}: class {number} occurs twice")
    labels[number] = label.strip()


def _from_pbtxt(path: Path) -> dict[int, str]:
    try:
        text = read_bytes(path, limit_bytes=_LIMIT_BYTES).decode()
    except UnicodeDecodeError as exc:
        raise StageError(f"{path.name}: not a label map: not UTF-8 at byte {exc.start}") from exc
    tokens = _tokens(text, path.name)
    labels: dict[int, str] = {}
    position = 0
    while position < len(tokens):
        position = _item(tokens, position, labels, path.name)
    return labels


def _tokens(text: str, name: str) -> list[tuple[str, int]]:
    """Cut the text into words, numbers, quoted texts and marks, each with its line number."""
    tokens: list[tuple[str, int]] = []
    position = 0
    line = 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise StageError(f"{name}: not a label map: line {line}: unexpected {text[position : position + 20]!r}")
        if match.lastgroup:
            tokens.append((match.group(), line))
        line += match.group().count("\n")
        position = match.end()
    return tokens


def _item(tokens: list[tuple[str, int]], position: int, labels: dict[int, str], name: str) -> int:
    """Read one ``item { ... }`` from ``position`` and return the position behind it."""

    def token(expected: str | None = None) -> str:
        nonlocal position
        if position >= len(tokens):
            raise StageError(f"{name}: not a label map: it ends inside an item")
        text, line = tokens[position]
        if expected is not None and text != expected:
            raise StageError(f"{name}: not a label map: line {line}: expected {expected!r}, found {text!r}")
        position += 1
        return text

    token("item")
    if position < len(tokens) and tokens[position][0] == ":":
        token()
    line = tokens[position][1] if position < len(tokens) else 0
    token("{")
    fields: dict[str, str] = {}
    while (key := token()) != "}":
        if key in {",", ";"}:
            continue
        token(":")
        value = token()
        if value in {"{", "}", ":", ",", ";"}:
            raise StageError(f"{name}: not a label map: line {tokens[position - 1][1]}: {key} has no value")
        fields[key] = value[1:-1] if value[0] in "\"'" else value
    _add(labels, fields.get("id"), fields.get("display_name") or fields.get("name"), where=f"{name}: line {line}")
    return position
