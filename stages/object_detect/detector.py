"""A frozen graph of the TensorFlow Object Detection API, loaded once and asked many times."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.common.errors import StageError
from stages.common.files import read_bytes

log = logging.getLogger(__name__)

_INPUT = "image_tensor:0"
_OUTPUTS = ("detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0")
_LIMIT_BYTES = 2 << 30  # of a protocol buffer


@dataclass(frozen=True)
class Detection:
    """One object found.

    :ivar class_id: Id in the model's label map.
    :ivar score: From 0 to 1.
    :ivar box: Left, top, right, bottom as shares of the image's width and height, from 0 to 1.
    """

    class_id: int
    score: float
    box: tuple[float, float, float, float]


def import_tensorflow() -> Any:
    """Import TensorFlow, quiet and on the CPU. It takes five seconds and more, the second time nothing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    import tensorflow as tf

    return tf


class Detector:
    """An object detector.

    :param path: ``frozen_inference_graph.pb``: ``image_tensor`` uint8 [N, H, W, 3] to ``detection_boxes`` [N, M, 4] (top, left, bottom,
        right), ``detection_scores``, ``detection_classes`` and ``num_detections``, all float32.
    :param threads: Threads of one inference.
    :param threshold: Least score of an object.
    :raises StageError: The file is not such a graph; the message says what is missing.
    """

    def __init__(self, path: Path, *, threads: int, threshold: float) -> None:
        started = time.monotonic()
        tf = import_tensorflow()
        graph = _load_graph(tf, path, threshold)
        _check_signature(tf, graph, path.name)
        options = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
        self._session = tf.compat.v1.Session(graph=graph, config=options)
        self._threshold = threshold
        self._errors = (tf.errors.OpError, ValueError)
        log.info("loaded model %s with %d threads in %.2f s", path.name, threads, time.monotonic() - started)

    def detect(self, pixels: npt.NDArray[np.uint8], *, max_objects: int) -> list[Detection]:
        """Find objects in one RGB image.

        :param pixels: [H, W, 3].
        :param max_objects: Keep at most so many, those with the highest score.
        :return: By falling score.
        :raises StageError: The graph cannot be run on this image.
        """
        try:
            boxes, scores, classes, counts = self._session.run(_OUTPUTS, {_INPUT: pixels[np.newaxis]})
        except self._errors as exc:
            raise StageError(f"the model failed on an image of {pixels.shape[1]} x {pixels.shape[0]}: {exc}") from exc
        count = min(int(counts[0]), len(scores[0]))
        found = [
            Detection(int(class_id), round(float(score), 4), _clipped(box))
            for box, score, class_id in zip(boxes[0][:count], scores[0][:count], classes[0][:count], strict=True)
            if score >= self._threshold
        ]
        return sorted(found, key=lambda detection: -detection.score)[:max_objects]

    def close(self) -> None:
        """Free the graph's memory."""
        self._session.close()


def _load_graph(tf: Any, path: Path, threshold: float) -> Any:
    definition = tf.compat.v1.GraphDef()
    data = read_bytes(path, limit_bytes=_LIMIT_BYTES)
    graph = tf.Graph()
    try:
        definition.ParseFromString(data)
        _spare_low_scores(tf, definition, threshold)
        with graph.as_default():
            tf.import_graph_def(definition, name="")
    except Exception as exc:  # DecodeError, ValueError, OpError, KeyError ...: arbitrary bytes make TensorFlow raise anything
        raise StageError(f"{path.name}: not a frozen graph that this TensorFlow ({tf.__version__}) can load: {exc}; {_WAY_OUT}") from exc
    if not definition.node:
        raise StageError(f"{path.name}: not a frozen graph: it has no node; {_WAY_OUT}")
    return graph


def _spare_low_scores(tf: Any, definition: Any, threshold: float) -> None:
    """Keep boxes below the threshold out of the graph's last step, non-maximum suppression, where that is one operation.

    A third of an inference goes into comparing boxes that nobody will see. The others' results stay the same, bit for bit: the operation
    takes boxes by falling score, and none is ever kept or dropped because of one with a lower score.
    """
    nodes = {node.name: node for node in definition.node}
    name = "detection_scores"
    while name in nodes and nodes[name].op == "Identity":
        name = nodes.pop(name).input[0].removesuffix(":0")  # popped: a circle ends, too
    suppression = nodes.get(name.removesuffix(":1"))
    if suppression is None or suppression.op != "CombinedNonMaxSuppression" or not name.endswith(":1"):
        return
    wanted = suppression.input[5].removesuffix(":0")
    if wanted not in nodes or nodes[wanted].op != "Const":
        return
    before = float(tf.make_ndarray(nodes[wanted].attr["value"].tensor))
    # It keeps what is above its bound, we what is at the threshold too.
    bound = np.nextafter(np.float32(threshold), np.float32(-1))
    if bound > before:
        constant = definition.node.add(name=f"{suppression.name}/tuskwatch_score_threshold", op="Const")
        constant.attr["dtype"].type = tf.float32.as_datatype_enum
        constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(bound))
        suppression.input[5] = constant.name


_WAY_OUT = "put the frozen_inference_graph.pb of a TensorFlow Object Detection API model into the model repo"


def _check_signature(tf: Any, graph: Any, name: str) -> None:
    wanted = {_INPUT: tf.uint8, **dict.fromkeys(_OUTPUTS, tf.float32)}
    problems = []
    for tensor_name, dtype in wanted.items():
        try:
            tensor = graph.get_tensor_by_name(tensor_name)
        except (KeyError, ValueError):
            problems.append(f"{tensor_name} is missing")
            continue
        if tensor.dtype != dtype:
            problems.append(f"{tensor_name} is {tensor.dtype.name}, not {dtype.name}")
    if problems:
        raise StageError(f"{name}: not an object detection graph: {'; '.join(problems)}; {_WAY_OUT}")


def _clipped(box: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Turn the API's (top, left, bottom, right) round and keep it inside the image."""
    top, left, bottom, right = (min(1.0, max(0.0, float(edge))) for edge in np.nan_to_num(box))
    return left, top, right, bottom
