"""Reading what object-detect wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.common.errors import StageError
from stages.common.files import read_json

SCHEMA = "tuskwatch.detections/1"


@dataclass(frozen=True)
class Detections:
    """The objects of one image.

    :ivar output_name: Name of the file without extension: the timestamp, of a PNG with ``_png`` behind it.
    :ivar fields: The whole content.
    :ivar objects: The objects as object-detect wrote them.
    :ivar annotated: The image with the boxes drawn, if it lies beside the file.
    """

    device: str
    output_name: str
    taken_at: datetime
    fields: Mapping[str, Any]
    objects: tuple[Mapping[str, Any], ...]
    annotated: Path | None

    @property
    def alert_id(self) -> str:
        """An id of 32 hex digits for this image's alert, the same at every attempt."""
        key = json.dumps([self.device, self.output_name, self.fields.get("source")])
        return hashlib.sha256(key.encode()).hexdigest()[:32]


def read_detections(path: Path) -> Detections:
    """Read an output file of object-detect.

    :raises StageError: It is not one.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise StageError(f"{path.name}: not a {SCHEMA} file of object-detect")
    try:
        objects = tuple(value["objects"])
        for found in objects:
            _check_object(found)
        image = path.with_suffix(".jpg")
        return Detections(
            device=_name(value["device"]),
            output_name=path.stem,
            taken_at=datetime.fromtimestamp(value["timestamp"], tz=UTC),
            fields=value,
            objects=objects,
            annotated=image if image.is_file() else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError, OSError) as exc:
        raise StageError(f"{path.name}: damaged {SCHEMA} file: {type(exc).__name__}: {exc}") from exc


def _check_object(found: Any) -> None:
    if not isinstance(found["class_id"], int) or not isinstance(found["label"], str) or not isinstance(found["score"], int | float):
        raise TypeError(f"object {found!r}")


def _name(device: Any) -> str:
    if not isinstance(device, str) or not device or "/" in device or device.startswith("."):
        raise ValueError(f"device {device!r}")
    return device
