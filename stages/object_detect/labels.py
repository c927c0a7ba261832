"""Label maps: class names by class id, from a ``.pbtxt`` of the TF Object Detection API or from JSON."""

from __future__ import annotations

import re
from pathlib import Path

from stages.common.errors import StageError
from stages.common.files import read_bytes, read_json
from stages.common.text import unfit_character
from stages.object_detect.pbtxt import items

_LIMIT_BYTES = 4 << 20
_LONGEST_NAME = 200


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
    if found := unfit_character(label.strip()):
        raise StageError(f"{where}: the name of class {number} holds {found}, a control character: remove it")
    if len(label) > _LONGEST_NAME:
        raise StageError(f"{where}: the name of class {number} has more than {_LONGEST_NAME} characters")
    if number in labels:
        raise StageError(f"{where}: class {number} occurs twice")
    labels[number] = label.strip()


def _from_pbtxt(path: Path) -> dict[int, str]:
    try:
        text = read_bytes(path, limit_bytes=_LIMIT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise StageError(f"{path.name}: not a label map: not UTF-8 at byte {exc.start}") from exc
    labels: dict[int, str] = {}
    for line, item in items(text, path.name):
        _add(labels, item.get("id"), item.get("display_name") or item.get("name"), where=f"{path.name}: line {line}")
    return labels
