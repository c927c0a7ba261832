"""Records as the stages write them, for tests that need some."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stages.contract import layout
from stages.contract.names import ImageName
from stages.contract.records import Alert, Box, Detections, Found, Threat

NO_ALERT = Alert(id="0" * 32, status="off", reason="no key")


def found(label: str, *, score: float = 0.9, class_id: int = 1) -> Found:
    """An object."""
    return Found(class_id=class_id, label=label, score=score, box=Box(left=1, top=1, right=9, bottom=9))


def _of_image(device: str, seconds: int, objects: Sequence[Found]) -> dict[str, Any]:
    image = ImageName(device, f"{seconds:010}", "jpg")
    return {
        "device": device,
        "timestamp": seconds,
        "time": datetime.fromtimestamp(min(seconds, 10**11), tz=UTC).isoformat(),
        "source": f"{device}_{image.timestamp}.{image.extension}",
        "annotated": layout.picture_of(image).removeprefix("/"),
        "objects": tuple(objects),
    }


def detections(device: str, seconds: int, objects: Sequence[Found]) -> Detections:
    """What object-detect writes about an image."""
    return Detections(**_of_image(device, seconds, objects))


def threat(device: str, seconds: int, labels: Mapping[str, float] | Sequence[str], *, alert: Alert = NO_ALERT) -> Threat:
    """What threat-detect writes about an image.

    :param labels: Of the objects, perhaps with their scores.
    """
    scores = labels if isinstance(labels, Mapping) else None
    objects = [found(label, score=scores[label] if scores else 0.9) for label in labels]
    return Threat(**_of_image(device, seconds, objects), alert=alert)
