"""Where the tests find a model and images: the shared data where it is, else what the project ships itself."""

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TUSKWATCH_SHARED", REPOSITORY.parent / "shared"))
COCO_MODEL = SHARED / "models" / "ssd_mobilenet_v1_coco" / "frozen_inference_graph.pb"
CAMERA_IMAGES = SHARED / "data" / "images"


@dataclass(frozen=True)
class Expected:
    """What a push of the eight camera images gives with the COCO model and threat classes 1, 3, 4, 8 at threshold 0.5."""

    valid: tuple[str, ...] = (
        "dev1_1511891098.jpg",
        "dev1_1511891155.jpg",
        "dev1_1511891255.jpg",
        "dev2_1511891326.jpg",
        "dev3_1511891385.jpg",
        "dev4_1511891463.jpg",
        "dev4_1511891512.jpg",
    )
    invalid: tuple[str, ...] = ("blah.jpg",)
    threats: tuple[tuple[str, int], ...] = (("dev1", 3), ("dev3", 1), ("dev4", 2))


def shared_data() -> bool:
    """Whether the camera images and the COCO model are on this machine."""
    return COCO_MODEL.is_file() and CAMERA_IMAGES.is_dir()
