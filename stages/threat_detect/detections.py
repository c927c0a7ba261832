"""Reading what object-detect wrote."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stages.common.errors import StageError
from stages.common.files import read_json
from stages.contract.records import Detections, RecordError


@dataclass(frozen=True)
class Seen:
    """The objects of one image, and where they were read.

    :ivar output_name: Name of the file without extension: the timestamp, of a PNG with ``_png`` behind it.
    :ivar annotated: The image with the boxes drawn, if it lies beside the file.
    """

    record: Detections
    output_name: str
    annotated: Path | None

    @property
    def device(self) -> str:
        """The camera."""
        return self.record.device

    @property
    def taken_at(self) -> datetime:
        """When the image was taken, in UTC."""
        return datetime.fromtimestamp(self.record.timestamp, tz=UTC)

    @property
    def alert_id(self) -> str:
        """An id of 32 hex digits for this image's alert, the same at every attempt."""
        key = json.dumps([self.device, self.output_name, self.record.source])
        return hashlib.sha256(key.encode()).hexdigest()[:32]


def read_detections(path: Path) -> Seen:
    """Read an output file of object-detect.

    :raises StageError: It is not one.
    """
    try:
        record = Detections.read(read_json(path))
    except RecordError as exc:
        raise StageError(f"{path.name}: {exc}") from exc
    image = path.with_suffix(".jpg")
    return Seen(record, path.stem, image if image.is_file() else None)
