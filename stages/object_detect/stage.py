"""Find objects in valid images.

For ``/valid/dev1_1511891098.jpg`` it writes ``/dev1/1511891098.jpg``, the image with the boxes drawn (where there are none, a link to the
image), and ``/dev1/1511891098.json`` (for ``dev1_1511891098.png``: ``1511891098_png.jpg`` and ``1511891098_png.json``)::

    {
      "schema": "tuskwatch.detections/1",
      "device": "dev1", "timestamp": 1511891098, "time": "2017-11-28T17:44:58+00:00",
      "source": "dev1_1511891098.jpg", "annotated": "dev1/1511891098.jpg",
      "image": {"width": 1009, "height": 809},
      "model": {"digest": "sha256:...", "labels": "coco"},
      "preprocessing": "...", "threshold": 0.5,
      "objects": [{"class_id": 1, "label": "person", "score": 0.866, "box": {"left": 9, "top": 5, "right": 90, "bottom": 800}}]
    }

Boxes are pixels of the upright image, objects stand by falling score. The model is loaded when the first datum arrives and again when its
content changes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stages.common.errors import StageError
from stages.common.files import below, file_identity, link, sha256_file, walk_files, write_json
from stages.common.images import LIMITS_HELP, ImageLimits, decode_rgb
from stages.common.names import parse_image_name
from stages.common.runner import Datum, each_file
from stages.common.settings import number, whole_number
from stages.contract import layout
from stages.contract.names import ImageName
from stages.contract.pipelines import MODEL, OBJECT_DETECT, VALIDATE
from stages.contract.records import Detections, Found, ModelUsed, Size
from stages.object_detect.annotate import annotate
from stages.object_detect.coco import COCO_LABELS
from stages.object_detect.detector import Detector, import_tensorflow
from stages.object_detect.found import found_object
from stages.object_detect.labels import read_label_map

log = logging.getLogger(__name__)

_GRAPH = layout.MODEL_PATH.removeprefix("/")
_MAX_SIDE = 2048
# Scaling moves scores (the sample images: by up to 0.03), so the graph gets the pixels as they are and scales them itself. Only what no
# camera of today needs is reduced, because the graph holds the image as float32: 12 bytes a pixel.
_PREPROCESSING = f"upright, RGB; reduced with a bilinear filter to {_MAX_SIDE} px where the longer side has more"
_JPEG_QUALITY = 88


@dataclass(frozen=True)
class Settings:
    """What the pipeline's environment sets.

    :ivar threshold: Least score of an object.
    :ivar max_objects: At most so many objects per image.
    :ivar devices: Only images of these devices; empty for all.
    :ivar threads: Threads of one inference.
    """

    threshold: float
    max_objects: int
    devices: frozenset[str]
    threads: int
    limits: ImageLimits

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings.

        :raises StageError: One of them is out of its range.
        """
        return cls(
            threshold=number(env, "DETECT_THRESHOLD", 0.5, low=0, high=1),
            max_objects=whole_number(env, "DETECT_MAX_OBJECTS", 100, low=1, high=10_000),
            devices=frozenset(device.strip() for device in env.get("DETECT_DEVICES", "").split(",") if device.strip()),
            threads=whole_number(env, "DETECT_THREADS", 1, low=1, high=256),
            limits=ImageLimits.from_env(env),
        )


@dataclass(frozen=True)
class Model:
    """A loaded model: what to ask, and what to write about it."""

    detector: Detector
    digest: str
    labels: Mapping[int, str]
    labels_name: str


class ObjectDetectStage:
    """cross(``validate:/valid/*``, ``model:/``) to ``/<device>/<timestamp>.json`` and ``.jpg`` (:attr:`ImageName.output_name`)."""

    name = OBJECT_DETECT
    inputs: Mapping[str, str] = {
        VALIDATE: "output folder of validate, or a folder of validly named images",
        MODEL: f"folder with {_GRAPH} and perhaps a label map (*label*.pbtxt or *label*.json), or the graph file itself",
    }
    settings_help = f"""environment:
  DETECT_THRESHOLD   least score of an object (default 0.5)
  DETECT_MAX_OBJECTS most objects per image (default 100)
  DETECT_DEVICES     devices to look at, separated by commas (default: all)
  DETECT_THREADS     threads of one inference (default 1)
{LIMITS_HELP}"""

    def __init__(self) -> None:
        self._model: Model | None = None
        self._model_key: object = None

    def warm_up(self, _env: Mapping[str, str], /) -> None:
        """Import TensorFlow and the decoders; the model itself comes with the first datum."""
        import_tensorflow()
        Image.preinit()

    def process(self, datum: Datum) -> None:
        """Detect objects in every image of the datum.

        :raises StageError: No usable model, or an image that cannot be processed; the other images are done all the same.
        """
        settings = Settings.from_env(datum.env)
        root = datum.inputs[VALIDATE]
        valid = below(root, layout.VALID)
        images = valid if valid.is_dir() else root
        model = self._load_model(datum.inputs[MODEL], commit=datum.commit_of(MODEL), settings=settings)
        each_file(walk_files(images), lambda path: _detect_one(path, out=datum.out, model=model, settings=settings))

    def _load_model(self, source: Path, *, commit: str | None, settings: Settings) -> Model:
        """Return the model of ``source``, the one in memory when the content is the same."""
        graph, label_file = _model_files(source)
        key = ((settings.threads, settings.threshold), *(file_identity(path, commit=commit) for path in (graph, label_file) if path))
        if self._model is not None and key == self._model_key:
            return self._model
        digest = sha256_file(graph)
        labels = read_label_map(label_file) if label_file else COCO_LABELS
        detector = self._reusable_detector(digest, key)
        if detector is None:
            detector = Detector(graph, threads=settings.threads, threshold=settings.threshold)
            if self._model is not None:
                self._model.detector.close()
        self._model = Model(detector, f"sha256:{digest}", labels, label_file.name if label_file else "coco")
        self._model_key = key
        return self._model

    def _reusable_detector(self, digest: str, key: tuple[object, ...]) -> Detector | None:
        """Return the loaded detector if it is the same graph with the same settings under a new commit or name."""
        if self._model is None or not isinstance(self._model_key, tuple):
            return None
        same = self._model.digest == f"sha256:{digest}" and self._model_key[0] == key[0]
        return self._model.detector if same else None


def _model_files(source: Path) -> tuple[Path, Path | None]:
    """Return the graph and the label map, if there is one."""
    if source.is_file():
        return source, None
    graph = source / _GRAPH
    if not graph.is_file():
        raise StageError(f"the model repo has no /{_GRAPH}; put a TensorFlow Object Detection API model there")
    label_files = sorted(path for path in source.glob("*label*") if path.suffix in {".pbtxt", ".json"})
    if len(label_files) > 1:
        raise StageError(f"the model repo has {len(label_files)} label maps ({', '.join(path.name for path in label_files)}); keep one")
    return graph, label_files[0] if label_files else None


def _detect_one(path: Path, *, out: Path, model: Model, settings: Settings) -> None:
    name = parse_image_name(path.name)
    if settings.devices and name.device not in settings.devices:
        log.info("%s: device %s is not in DETECT_DEVICES: skipped", path.name, name.device)
        return
    decoded = decode_rgb(path, settings.limits)
    detections = model.detector.detect(_pixels(decoded.image), max_objects=settings.max_objects)
    objects = [found_object(detection, model.labels, decoded.image.size) for detection in detections]
    log.info("%s: %d objects", path.name, len(objects))
    report = _report(path.name, name, decoded.image.size, objects, model=model, settings=settings)
    write_json(below(out, layout.record_of(name)), report.as_json())
    annotated = below(out, layout.picture_of(name))
    if decoded.as_stored and not objects:
        link(path, annotated)  # nothing to draw: Pachyderm stores no second copy of a quiet camera's images
    else:
        annotate(decoded.image, objects)
        annotated.unlink(missing_ok=True)  # never write through a link of an earlier run
        decoded.image.save(annotated, quality=_JPEG_QUALITY)


def _pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    longer = max(image.size)
    if longer > _MAX_SIDE:
        width, height = (max(1, round(side * _MAX_SIDE / longer)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image)


def _report(source: str, name: ImageName, size: tuple[int, int], objects: list[Found], *, model: Model, settings: Settings) -> Detections:
    return Detections(
        device=name.device,
        timestamp=int(name.timestamp),
        time=name.taken_at.isoformat(),
        source=source,
        annotated=layout.picture_of(name).removeprefix("/"),
        image=Size(width=size[0], height=size[1]),
        model=ModelUsed(digest=model.digest, labels=model.labels_name),
        preprocessing=_PREPROCESSING,
        threshold=settings.threshold,
        objects=tuple(objects),
    )
