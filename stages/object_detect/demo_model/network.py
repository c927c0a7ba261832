"""The detector: one grid of predictions, described once and used twice, for training (Keras) and for the frozen graph.

Every cell of the grid (8 x 8 input pixels) predicts a score for each class and the distances from its centre to the four sides of a box.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from stages.object_detect.demo_model.shapes import KINDS

HEIGHT, WIDTH, STRIDE = 160, 224, 8
ROWS, COLUMNS = HEIGHT // STRIDE, WIDTH // STRIDE
CLASSES: tuple[int, ...] = tuple(sorted({kind.coco_id for kind in KINDS}))
MAX_DETECTIONS = 100
LEAST_SCORE = 0.05  # lower ones are not listed at all
NMS_IOU = 0.5
BATCH_NORM_EPSILON = 1e-3

Tensor = Any


class Layers(Protocol):
    """What :func:`forward` is built of."""

    def conv(self, name: str, x: Tensor, filters: int, *, stride: int = 1) -> Tensor:
        """Convolve 3 x 3, normalise, rectify."""

    def out(self, name: str, x: Tensor, filters: int) -> Tensor:
        """Convolve 1 x 1 and add a bias."""

    def double(self, x: Tensor) -> Tensor:
        """Repeat every cell twice in both directions."""


def forward(pixels: Tensor, layers: Layers) -> tuple[Tensor, Tensor]:
    """Apply the network to pixels in -1..1, shape [n, HEIGHT, WIDTH, 3].

    :return: Class logits [n, ROWS, COLUMNS, classes], and the logarithms of the distances up, left, down and right, in strides,
        [n, ROWS, COLUMNS, 4].
    """
    x = layers.conv("stem", pixels, 16, stride=2)
    x = layers.conv("quarter", x, 32, stride=2)
    x = layers.conv("quarter2", x, 32)
    x = layers.conv("eighth", x, 64, stride=2)
    eighth = layers.conv("eighth2", x, 64)
    x = layers.conv("sixteenth", eighth, 96, stride=2)
    sixteenth = layers.conv("sixteenth2", x, 96)
    x = layers.conv("coarse", sixteenth, 96, stride=2)
    x = layers.conv("coarse2", x, 96)
    x = layers.conv("up", sixteenth + layers.double(x), 64)
    x = layers.conv("head", eighth + layers.double(x), 64)
    x = layers.conv("head2", x, 64)
    return layers.out("classes", x, len(CLASSES)), layers.out("boxes", x, 4)


def preprocess(frames: Tensor) -> Tensor:
    """Average uint8 frames of any size down to the network's input, in -1..1."""
    return tf.image.resize(frames, (HEIGHT, WIDTH), method="area") / 127.5 - 1.0


def decode_boxes(log_distances: Tensor) -> Tensor:
    """Turn predicted distances into boxes: ymin, xmin, ymax, xmax as fractions of the frame, [n, ROWS, COLUMNS, 4]."""
    distances = tf.exp(tf.clip_by_value(log_distances, -4.0, 4.0)) * STRIDE
    y = (np.arange(ROWS, dtype=np.float32) + 0.5)[:, None] * STRIDE
    x = (np.arange(COLUMNS, dtype=np.float32) + 0.5)[None, :] * STRIDE
    up, left, down, right = tf.unstack(distances, axis=-1)
    return tf.stack([(y - up) / HEIGHT, (x - left) / WIDTH, (y + down) / HEIGHT, (x + right) / WIDTH], axis=-1)


class _TrainableLayers:
    def conv(self, name: str, x: Tensor, filters: int, *, stride: int = 1) -> Tensor:
        x = tf.keras.layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, name=name)(x)
        x = tf.keras.layers.BatchNormalization(epsilon=BATCH_NORM_EPSILON, momentum=0.98, name=f"{name}_norm")(x)
        return tf.keras.layers.ReLU()(x)

    def out(self, name: str, x: Tensor, filters: int) -> Tensor:
        # Things are rare: a new network that sees them everywhere needs long to unlearn it.
        bias = tf.keras.initializers.Constant(-3.0 if name == "classes" else 0.7)
        return tf.keras.layers.Conv2D(filters, 1, bias_initializer=bias, name=name)(x)

    def double(self, x: Tensor) -> Tensor:
        return tf.keras.layers.UpSampling2D()(x)


class _FrozenLayers:
    """Constants in place of variables, every normalisation folded into the convolution before it."""

    def __init__(self, weights: dict[str, list[np.ndarray]], logit_shift: float) -> None:
        self._weights, self._logit_shift = weights, logit_shift

    def conv(self, name: str, x: Tensor, filters: int, *, stride: int = 1) -> Tensor:
        del filters  # the weights know
        (kernel,) = self._weights[name]
        gamma, beta, mean, variance = self._weights[f"{name}_norm"]
        factor = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel * factor, stride, "SAME"), beta - mean * factor))

    def out(self, name: str, x: Tensor, filters: int) -> Tensor:
        del filters
        kernel, bias = self._weights[name]
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias + self._logit_shift * (name == "classes"))

    def double(self, x: Tensor) -> Tensor:
        _, rows, columns, _ = x.shape
        return tf.image.resize(x, (2 * rows, 2 * columns), method="nearest")


def trainable() -> Any:
    """Return the network with fresh weights, as a Keras model."""
    pixels = tf.keras.Input((HEIGHT, WIDTH, 3))
    return tf.keras.Model(pixels, forward(pixels, _TrainableLayers()))


def freeze(model: Any, path: Path, *, logit_shift: float = 0.0) -> None:
    """Write a trained model as a frozen graph with the signature of the TF Object Detection API.

    :param logit_shift: Added to every class logit, so that the best threshold is 0.5.
    """
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    with tf.Graph().as_default() as graph:
        frames = tf.compat.v1.placeholder(tf.uint8, (None, None, None, 3), name="image_tensor")
        logits, log_distances = forward(preprocess(frames), _FrozenLayers(weights, logit_shift))
        _detections(logits, log_distances)
    path.write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))


def _detections(logits: Tensor, log_distances: Tensor) -> None:
    """Add the API's four outputs: the best boxes of each class, overlaps removed."""
    boxes = tf.reshape(decode_boxes(log_distances), (-1, ROWS * COLUMNS, 1, 4))
    scores = tf.reshape(tf.sigmoid(logits), (-1, ROWS * COLUMNS, len(CLASSES)))
    best = tf.image.combined_non_max_suppression(
        boxes, scores, MAX_DETECTIONS, MAX_DETECTIONS, iou_threshold=NMS_IOU, score_threshold=LEAST_SCORE, clip_boxes=True
    )
    tf.identity(best.nmsed_boxes, name="detection_boxes")
    tf.identity(best.nmsed_scores, name="detection_scores")
    tf.gather(tf.constant(CLASSES, tf.float32), tf.cast(best.nmsed_classes, tf.int32), name="detection_classes")
    tf.cast(best.valid_detections, tf.float32, name="num_detections")
