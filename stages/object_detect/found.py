"""An object as the stage reports it: named, and in pixels of the upright image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stages.object_detect.detector import Detection


@dataclass(frozen=True)
class FoundObject:
    """One object of an image.

    :ivar class_id: Id in the model's label map.
    :ivar label: Its name there.
    :ivar score: From 0 to 1.
    :ivar box: Left, top, right, bottom in pixels.
    """

    class_id: int
    label: str
    score: float
    box: tuple[int, int, int, int]

    @classmethod
    def of(cls, detection: Detection, labels: Mapping[int, str], size: tuple[int, int]) -> FoundObject:
        """Name a detection and scale it to an image of ``size`` (width, height)."""
        left, top, right, bottom = detection.box
        width, height = size
        return cls(
            detection.class_id,
            labels.get(detection.class_id, f"class {detection.class_id}"),
            detection.score,
            (round(left * width), round(top * height), round(right * width), round(bottom * height)),
        )

    def as_json(self) -> dict[str, object]:
        """Return the object as it stands in the output file."""
        box = dict(zip(("left", "top", "right", "bottom"), self.box, strict=True))
        return {"class_id": self.class_id, "label": self.label, "score": self.score, "box": box}
