"""Precision and recall of a frozen graph on rendered frames that training never saw.

``python -m stages.object_detect.demo_model.evaluate`` prints them.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.object_detect.demo_model.render import Truth, frame_rng, render_frame
from stages.object_detect.demo_model.shapes import KINDS

GRAPH = Path(__file__).with_name("frozen_inference_graph.pb")
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
MATCH_IOU = 0.5
HELD_OUT_SEED, HELD_OUT_FRAMES = 3, 500


@dataclass(frozen=True)
class Tally:
    """Counts over one or more frames.

    :ivar found: Detections that match a thing of their class, one for one.
    :ivar false: The other detections.
    :ivar missed: Things without a detection.
    """

    found: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.found + other.found, self.false + other.false, self.missed + other.missed)

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.false)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    def __str__(self) -> str:
        return f"precision {self.precision:.3f}, recall {self.recall:.3f} ({self.found} found, {self.false} false, {self.missed} missed)"


@dataclass(frozen=True)
class Detections:
    """What a model says about one frame, best first: boxes [n, 4] as in :class:`Truth`, scores [n], COCO ids [n]."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def tally(frames: Iterable[tuple[Detections, Truth]], *, threshold: float = 0.5, coco_id: int | None = None) -> Tally:
    """Count over frames the detections with at least ``threshold``, of all classes or of one."""
    total = Tally()
    for detections, truth in frames:
        kept = (detections.scores >= threshold) & ((coco_id is None) | (detections.classes == coco_id))
        wanted = (coco_id is None) | (truth.classes == coco_id)
        wanted = np.broadcast_to(wanted, truth.classes.shape)
        found = _matches(detections.boxes[kept], detections.classes[kept], truth.boxes[wanted], truth.classes[wanted])
        total += Tally(found, int(kept.sum()) - found, int(wanted.sum()) - found)
    return total


def _matches(boxes: np.ndarray, classes: np.ndarray, true_boxes: np.ndarray, true_classes: np.ndarray) -> int:
    """Give each detection in turn, best first, the thing of its class that it overlaps most, and count those with enough overlap."""
    overlaps = iou(boxes, true_boxes) * (classes[:, None] == true_classes[None, :])
    found = 0
    for row in range(len(boxes)):
        if not overlaps.shape[1]:
            break
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= MATCH_IOU:
            overlaps[:, best] = 0
            found += 1
    return found


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of ``first`` [n, 4] with every box of ``second`` [m, 4]: [n, m]."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    result: np.ndarray = shared / np.maximum(areas[0][:, None] + areas[1][None, :] - shared, 1e-12)
    return result


def detect(graph_file: Path, frames: Iterable[np.ndarray]) -> Iterator[Detections]:
    """Run a frozen graph on frames, uint8 [height, width, 3], one by one."""
    import tensorflow as tf

    definition = tf.compat.v1.GraphDef.FromString(graph_file.read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        for frame in frames:
            boxes, scores, classes, count = session.run([f"{name}:0" for name in OUTPUTS], {"image_tensor:0": frame[None]})
            number = int(count[0])
            yield Detections(boxes[0, :number], scores[0, :number], classes[0, :number].astype(np.int64))


def measure(graph_file: Path, *, seed: int = HELD_OUT_SEED, count: int = HELD_OUT_FRAMES) -> dict[str, Tally]:
    """Tally a graph's detections on full-size frames that training never saw: all classes, then each by its name."""
    truths: list[Truth] = []

    def frames() -> Iterator[np.ndarray]:
        for index in range(count):
            image, truth = render_frame(frame_rng(seed, index))
            truths.append(truth)
            yield np.asarray(image)

    detections = list(detect(graph_file, frames()))
    results = list(zip(detections, truths, strict=True))
    names = {kind.name: kind.coco_id for kind in KINDS}
    return {"all": tally(results)} | {name: tally(results, coco_id=coco_id) for name, coco_id in names.items()}


def report(graph_file: Path) -> str:
    """Say in lines of text how good a graph is."""
    tallies = measure(graph_file)
    title = f"on {HELD_OUT_FRAMES} held-out frames (seed {HELD_OUT_SEED}), at IoU {MATCH_IOU} and score 0.5:"
    return "\n".join([title, *(f"  {name:<10} {one}" for name, one in tallies.items())])


if __name__ == "__main__":
    sys.stdout.write(f"{report(GRAPH)}\n")
