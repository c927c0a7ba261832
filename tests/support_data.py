"""Where the tests find a model and images: the shared data where it is, else what the project ships itself."""

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TUSKWATCH_SHARED", REPOSITORY.parent / "shared"))
COCO_MODEL = SHARED / "models" / "ssd_mobilenet_v1_coco" / "frozen_inference_graph.pb"
CAMERA_IMAGES = SHARED / "data" / "images"
DEMO_MODEL = REPOSITORY / "stages" / "object_detect" / "demo_model" / "frozen_inference_graph.pb"


@dataclass(frozen=True)
class Material:
    """A model, images for it, and what must come out at threshold 0.5 with the rules that the project ships.

    :ivar threats: By device; None for a device whose number depends on how well the model does.
    """

    model: Path
    images: Path
    valid: tuple[str, ...]
    invalid: tuple[str, ...]
    threats: dict[str, int | None]


def shared_data() -> bool:
    """Whether the camera images and the COCO model are on this machine."""
    return COCO_MODEL.is_file() and CAMERA_IMAGES.is_dir()


def camera_material() -> Material:
    """The eight camera images with the COCO model; one has an invalid name, and ``dev2`` saw animals only."""
    return Material(
        COCO_MODEL,
        CAMERA_IMAGES,
        valid=(
            "dev1_1511891098.jpg",
            "dev1_1511891155.jpg",
            "dev1_1511891255.jpg",
            "dev2_1511891326.jpg",
            "dev3_1511891385.jpg",
            "dev4_1511891463.jpg",
            "dev4_1511891512.jpg",
        ),
        invalid=("blah.jpg",),
        threats={"dev1": 3, "dev3": 1, "dev4": 2},
    )


def rendered_material(folder: Path) -> Material:
    """Eight rendered frames of four cameras with our own model; one has an invalid name, and ``dev2`` sees animals only."""
    from stages.object_detect.demo_model.render import write_demo

    write_demo(folder, count=8, seed=7)
    names = sorted(path.name for path in folder.glob("*.jpg"))
    valid = tuple(name for name in names if name.startswith("dev"))
    threats: dict[str, int | None] = {"dev1": None, "dev3": None, "dev4": None}
    return Material(DEMO_MODEL, folder, valid, tuple(name for name in names if name not in valid), threats)
