"""Training data: rendered frames at the network's size, what the grid should say about each, and batches of them."""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from stages.object_detect.demo_model import pen, render, scenery, shapes
from stages.object_detect.demo_model.network import CLASSES, COLUMNS, HEIGHT, ROWS, STRIDE, WIDTH
from stages.object_detect.demo_model.render import Truth, frame_rng, render_frame

log = logging.getLogger(__name__)


def rendered(seed: int, count: int, cache: Path) -> tuple[np.ndarray, list[Truth]]:
    """Return frames at the network's size, uint8 [count, HEIGHT, WIDTH, 3], and what they show; rendered unless ``cache`` has them."""
    file = cache / f"frames-{_renderer_digest()}-{HEIGHT}x{WIDTH}-{seed}-{count}.npz"
    if file.exists():
        with np.load(file) as stored:
            ends = np.cumsum(stored["counts"])[:-1]
            truths = [Truth(*pair) for pair in zip(np.split(stored["boxes"], ends), np.split(stored["classes"], ends), strict=True)]
            return stored["pixels"], truths
    pixels, truths = np.zeros((count, HEIGHT, WIDTH, 3), np.uint8), []
    started = time.monotonic()
    for index in range(count):
        image, truth = render_frame(frame_rng(seed, index))
        small = tf.image.resize(np.asarray(image)[None], (HEIGHT, WIDTH), method="area")[0]
        pixels[index] = np.rint(small.numpy())
        truths.append(truth)
        if (index + 1) % 1000 == 0:
            log.info("rendered %d/%d frames of seed %d, %.0f s", index + 1, count, seed, time.monotonic() - started)
    counts = [len(truth.classes) for truth in truths]
    boxes, classes = (np.concatenate([getattr(truth, name) for truth in truths]) for name in ("boxes", "classes"))
    unfinished = file.with_suffix(".part.npz")
    np.savez(unfinished, pixels=pixels, counts=counts, boxes=boxes, classes=classes)
    unfinished.replace(file)  # a killed training leaves no half file to start from
    return pixels, truths


def _renderer_digest() -> str:
    """Name a version of what renders, so that frames of another one are not taken from the cache."""
    sources = [Path(module.__file__ or "").read_bytes() for module in (pen, shapes, scenery, render)]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:12]


def targets(truth: Truth) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say what the grid should predict for a frame.

    :return: Heat [ROWS, COLUMNS, classes], 1 at the cell of a thing's centre and falling off around it; boxes [ROWS, COLUMNS, 4]; and
        how much each cell's box counts [ROWS, COLUMNS].
    """
    heat = np.zeros((ROWS, COLUMNS, len(CLASSES)), np.float32)
    boxes, weights = np.zeros((ROWS, COLUMNS, 4), np.float32), np.zeros((ROWS, COLUMNS), np.float32)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    scale = np.array((HEIGHT, WIDTH, HEIGHT, WIDTH), np.float32) / STRIDE
    for box, coco_id in zip(truth.boxes, truth.classes, strict=True):
        top, left, bottom, right = box * scale
        row, column = min(int((top + bottom) / 2), ROWS - 1), min(int((left + right) / 2), COLUMNS - 1)
        spread_y, spread_x = max(0.35, (bottom - top) * 0.12), max(0.35, (right - left) * 0.12)
        near = np.exp(-((y - row) ** 2) / (2 * spread_y**2) - (x - column) ** 2 / (2 * spread_x**2)).astype(np.float32)
        layer = heat[:, :, CLASSES.index(int(coco_id))]
        np.maximum(layer, near, out=layer)
        nearer = (near > 0.3) & (near > weights)
        boxes[nearer], weights[nearer] = box, near[nearer]
    return heat, boxes, weights


def batches(pixels: np.ndarray, truths: Sequence[Truth], *, seed: int, steps: int, batch: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield training batches: frames in random order, half of them mirrored, all a little brighter or darker."""
    rng = np.random.default_rng(seed)
    prepared = [targets(truth) for truth in truths]
    order = np.concatenate([rng.permutation(len(truths)) for _ in range(steps * batch // len(truths) + 1)])
    for step in range(steps):
        chosen = order[step * batch : (step + 1) * batch]
        frames = pixels[chosen].astype(np.float32) / 127.5 - 1
        gain, tint = rng.uniform(0.8, 1.2, (batch, 1, 1, 1)), rng.uniform(-0.1, 0.1, (batch, 1, 1, 3))
        frames = frames * gain.astype(np.float32) + tint.astype(np.float32)
        heat, boxes, weights = (np.stack([prepared[index][part] for index in chosen]) for part in range(3))
        for row in np.flatnonzero(rng.random(batch) < 0.5):
            mirrored = targets(_mirrored(truths[chosen[row]]))
            frames[row] = frames[row, :, ::-1]
            heat[row], boxes[row], weights[row] = mirrored
        yield np.clip(frames, -1, 1), heat, boxes, weights


def _mirrored(truth: Truth) -> Truth:
    boxes = truth.boxes.copy()
    boxes[:, 1], boxes[:, 3] = 1 - truth.boxes[:, 3], 1 - truth.boxes[:, 1]
    return Truth(boxes, truth.classes)
