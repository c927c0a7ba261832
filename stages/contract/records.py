"""The JSON files that pipelines write and others read.

``schemas/`` has them as JSON schemas, which ``python -m stages.contract schemas`` makes from the classes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, Self

from stages.contract import shapes
from stages.contract.names import DEVICE_PATTERN, LAST_SECOND

_DEVICE: Final = {"pattern": DEVICE_PATTERN}
_SECONDS: Final = {"minimum": 0, "maximum": LAST_SECOND}
_SHARE: Final = {"minimum": 0, "maximum": 1}


class RecordError(ValueError):
    """A file is not the record that it should be; the message says which, where and why."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A file with a ``schema``.

    :cvar schema: Its name and version, as ``tuskwatch.threat/1``.
    """

    schema: ClassVar[str]

    @classmethod
    def read(cls, value: object) -> Self:
        """Make the record of a parsed JSON file.

        :raises RecordError: It is another schema, lacks a field, or one is wrong.
        """
        if not isinstance(value, dict) or value.get("schema") != cls.schema:
            raise RecordError(f"no {cls.schema} file")
        try:
            return shapes.read(cls, value)
        except shapes.ShapeError as exc:
            raise RecordError(f"damaged {cls.schema} file: {exc}") from exc

    def as_json(self) -> dict[str, Any]:
        """Return the record as it stands in its file."""
        return {"schema": self.schema, **shapes.write(self)}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return its JSON schema."""
        described = shapes.schema(cls)
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": cls.schema,
            "description": (cls.__doc__ or "").partition("\n")[0],
            "type": "object",
            "required": ["schema", *described["required"]],
            "properties": {"schema": {"const": cls.schema}, **described["properties"]},
        }


@dataclass(frozen=True, kw_only=True)
class Invalid(Record):
    """Why validate did not let an image pass.

    :ivar name: Its path in ``images``.
    :ivar code: In a word, such as ``bad-name``.
    :ivar message: In a sentence that begins with the name.
    """

    schema = "tuskwatch.invalid/1"
    name: str
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in pixels of the upright image."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object in an image.

    :ivar class_id: Id in the model's label map.
    :ivar label: Its name there.
    :ivar score: From 0 to 1.
    """

    class_id: int
    label: str
    score: float = field(metadata=_SHARE)
    box: Box


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the upright image, in pixels."""

    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class ModelUsed:
    """What found the objects.

    :ivar digest: Of the graph, as ``sha256:`` and 64 hex digits.
    :ivar labels: Name of the label map, or ``coco``.
    """

    digest: str
    labels: str


@dataclass(frozen=True, kw_only=True)
class _OfImage(Record):
    """What a record says of its image. What has a default another detector may leave out.

    :ivar timestamp: Unix seconds.
    :ivar time: The same in ISO 8601, UTC.
    :ivar source: Name of the image.
    :ivar annotated: Path of the image with boxes drawn, without the leading ``/``.
    """

    device: str = field(metadata=_DEVICE)
    timestamp: int = field(metadata=_SECONDS)
    time: str
    source: str
    annotated: str | None = None
    image: Size | None = None


@dataclass(frozen=True, kw_only=True)
class Detections(_OfImage):
    """The objects of one image. What has a default another detector may leave out.

    :ivar preprocessing: What was done to the image before the model saw it.
    :ivar threshold: Least score of an object.
    :ivar objects: By falling score.
    """

    schema = "tuskwatch.detections/1"
    model: ModelUsed | None = None
    preprocessing: str = ""
    threshold: float | None = field(default=None, metadata=_SHARE)
    objects: tuple[Found, ...]


class AlertStatus(StrEnum):
    """What became of an alert. Only ``SENT`` reached somebody."""

    SENT = "sent"
    OFF = "off"
    TOO_OLD = "too-old"
    OUTSIDE_WINDOW = "outside-window"
    COOLDOWN = "cooldown"


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What became of telling people.

    :ivar id: The same at every attempt.
    :ivar status: An :class:`AlertStatus`; an earlier or later version may have written others.
    :ivar reason: Why, in words.
    :ivar message_id: SendGrid's id of the mail, empty when there is none.
    """

    id: str
    status: str
    reason: str
    message_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Threat(_OfImage):
    """An image with at least one threatening object.

    ``objects`` are the threatening ones alone.
    """

    schema = "tuskwatch.threat/1"
    objects: tuple[Found, ...]
    alert: Alert


@dataclass(frozen=True, kw_only=True)
class Counts(Record):
    """All threats so far, counted.

    :ivar first: ISO 8601; None where there is no threat. So is ``last``.
    :ivar devices: Threats by device. So are ``per_day``, by ``YYYY-MM-DD``, and ``per_hour``, by the hour of the day from ``00`` to ``23``.
    :ivar classes: Objects by label, in the newest ``classes_from_newest`` threats.
    :ivar time_zone: Whose days and hours they are.
    """

    schema = "tuskwatch.plot/1"
    total: int
    first: str | None
    last: str | None
    devices: Mapping[str, int]
    per_day: Mapping[str, int]
    per_hour: Mapping[str, int]
    classes: Mapping[str, int]
    classes_from_newest: int
    time_zone: str = "UTC"


RECORDS: Final[tuple[type[Record], ...]] = (Invalid, Detections, Threat, Counts)
