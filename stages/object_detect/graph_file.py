"""What can be said of a frozen graph without TensorFlow: whether the file is one, and has the tensors that are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stages.common.errors import StageError
from stages.common.files import read_bytes

NEEDED: Final = ("image_tensor", "detection_boxes", "detection_scores", "detection_classes", "num_detections")
LIMIT_BYTES: Final = 2 << 30  # of a protocol buffer
_NODE: Final = 1  # field of a GraphDef
_NAME: Final = 1  # field of a NodeDef
_VARINT, _EIGHT, _COUNTED, _FOUR = 0, 1, 2, 5  # wire types
_LONGEST_VARINT: Final = 10


def check_graph_file(path: Path) -> None:
    """Look for the tensors of the Object Detection API in a frozen graph. It is not loaded: its operations may still be none.

    :raises StageError: It is no graph, or lacks a tensor.
    """
    names = node_names(read_bytes(path, limit_bytes=LIMIT_BYTES), name=path.name)
    if missing := [name for name in NEEDED if name not in names]:
        raise StageError(f"{path.name}: the graph has no {', '.join(missing)}: give a frozen graph of the TF Object Detection API")


def node_names(data: bytes, *, name: str) -> set[str]:
    """Names of a graph's nodes.

    :param name: Of the file, for messages.
    :raises StageError: It is no graph.
    """
    view = memoryview(data)
    try:
        nodes = [value for field, value in _fields(view) if field == _NODE]
        found = {bytes(value).decode() for node in nodes for field, value in _fields(node) if field == _NAME}
    except (ValueError, IndexError) as exc:
        raise StageError(f"{name}: not a frozen graph: {exc}; give a frozen_inference_graph.pb") from exc
    if not found:
        raise StageError(f"{name}: not a frozen graph: it has no node; give a frozen_inference_graph.pb")
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a protocol buffer that have a length, by number; the others are stepped over."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
            continue
        if kind == _COUNTED:
            length, place = _varint(message, place)
        elif kind in (_EIGHT, _FOUR):
            length = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"no protocol buffer: wire type {kind} at byte {place}")
        if field == 0 or place + length > len(message):
            raise ValueError(f"no protocol buffer: it ends within a field, at byte {place}")
        if kind == _COUNTED:
            yield field, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for number in range(_LONGEST_VARINT):
        byte = message[place + number]
        value |= (byte & 0x7F) << (7 * number)
        if byte < 0x80:
            return value, place + number + 1
    raise ValueError(f"no protocol buffer: a number without end at byte {place}")
