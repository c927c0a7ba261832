"""From what the model says to an object as the stage reports it: named, and in pixels of the upright image."""

from __future__ import annotations

from collections.abc import Mapping

from stages.contract.records import Box, Found
from stages.object_detect.detector import Detection


def found_object(detection: Detection, labels: Mapping[int, str], size: tuple[int, int]) -> Found:
    """Name a detection and scale it to an image of ``size`` (width, height)."""
    left, top, right, bottom = detection.box
    width, height = size
    return Found(
        class_id=detection.class_id,
        label=labels.get(detection.class_id, f"class {detection.class_id}"),
        score=detection.score,
        box=Box(left=round(left * width), top=round(top * height), right=round(right * width), bottom=round(bottom * height)),
    )
