"""Train the demo model from nothing but rendered frames, freeze it, and print how good it is.

``python -m stages.object_detect.demo_model.train`` replaces ``frozen_inference_graph.pb`` beside this file. It uses one CPU core.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf

from stages.object_detect.demo_model import network
from stages.object_detect.demo_model.dataset import batches, rendered
from stages.object_detect.demo_model.evaluate import GRAPH, detect, report, tally
from stages.object_detect.demo_model.render import Truth

TRAINING_SEED, CALIBRATION_SEED = 1, 2
CALIBRATION_FRAMES = 300
BATCH = 16
PEAK_RATE, WARM_UP_STEPS = 2e-3, 200
AVERAGING = 0.998  # of the weights, over the last steps

log = logging.getLogger(__name__)


def loss(logits: Any, log_distances: Any, heat: Any, boxes: Any, weights: Any) -> Any:
    """Penalty-reduced focal loss of the scores, as in CenterNet, plus the generalised IoU loss of the boxes."""
    chance = tf.clip_by_value(tf.sigmoid(logits), 1e-5, 1 - 1e-5)
    centre = tf.cast(heat > 0.999, tf.float32)
    hit = centre * (1 - chance) ** 2 * tf.math.log(chance)
    miss = (1 - centre) * (1 - heat) ** 4 * chance**2 * tf.math.log(1 - chance)
    score_loss = -tf.reduce_sum(hit + miss) / tf.maximum(1.0, tf.reduce_sum(centre))

    guess = network.decode_boxes(log_distances)
    top_left, bottom_right = tf.maximum(guess[..., :2], boxes[..., :2]), tf.minimum(guess[..., 2:], boxes[..., 2:])
    shared = tf.reduce_prod(tf.nn.relu(bottom_right - top_left), axis=-1)
    hull = tf.reduce_prod(tf.maximum(guess[..., 2:], boxes[..., 2:]) - tf.minimum(guess[..., :2], boxes[..., :2]), axis=-1)
    union = tf.reduce_prod(guess[..., 2:] - guess[..., :2], axis=-1) + tf.reduce_prod(boxes[..., 2:] - boxes[..., :2], axis=-1) - shared
    giou = shared / (union + 1e-7) - (hull - union) / (hull + 1e-7)
    box_loss = tf.reduce_sum(weights * (1 - giou)) / tf.maximum(1.0, tf.reduce_sum(weights))
    return score_loss + 2.0 * box_loss


def fit(pixels: np.ndarray, truths: Sequence[Truth], *, steps: int) -> Any:
    """Train a new model for a number of steps; the rate follows a cosine."""
    tf.keras.utils.set_random_seed(TRAINING_SEED)
    model = network.trainable()
    log.info("%d parameters", model.count_params())
    rate = tf.keras.optimizers.schedules.CosineDecay(0.0, steps - WARM_UP_STEPS, warmup_target=PEAK_RATE, warmup_steps=WARM_UP_STEPS)
    optimizer = tf.keras.optimizers.AdamW(rate, weight_decay=1e-4, use_ema=True, ema_momentum=AVERAGING)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(frames: Any, heat: Any, boxes: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            logits, distances = model(frames, training=True)
            value = loss(logits, distances, heat, boxes, weights)
        optimizer.apply_gradients(zip(tape.gradient(value, model.trainable_variables), model.trainable_variables, strict=True))
        return value

    started, mean = time.monotonic(), 0.0
    for number, batch in enumerate(batches(pixels, truths, seed=TRAINING_SEED, steps=steps, batch=BATCH), start=1):
        value = float(step(*map(tf.constant, batch)))
        mean = value if number == 1 else mean * 0.99 + value * 0.01
        if number % 250 == 0:
            log.info("step %d/%d: loss %.3f, %.0f s", number, steps, mean, time.monotonic() - started)
    optimizer.finalize_variable_values(model.trainable_variables)
    return model


def calibrated(graph_file: Path, frames: np.ndarray, truths: Sequence[Truth]) -> float:
    """Return the threshold at which the lesser of precision and recall is greatest."""
    results = list(zip(detect(graph_file, frames), truths, strict=True))
    thresholds = np.linspace(0.15, 0.75, 61)
    tallies = [tally(results, threshold=float(threshold)) for threshold in thresholds]
    return float(thresholds[int(np.argmax([min(one.precision, one.recall) for one in tallies]))])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train the demo model.")
    parser.add_argument("--frames", type=int, default=8000, help="rendered training frames (default %(default)s)")
    parser.add_argument("--steps", type=int, default=8500, help=f"batches of {BATCH} (default %(default)s)")
    parser.add_argument("--out", type=Path, default=GRAPH, help="the graph file (default: beside this script)")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()), help="keeps rendered frames (default %(default)s)")
    args = parser.parse_args(argv)

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    args.cache.mkdir(parents=True, exist_ok=True)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    started = time.monotonic()
    model = fit(*rendered(TRAINING_SEED, args.frames, args.cache), steps=args.steps)
    seconds = time.monotonic() - started

    network.freeze(model, args.out)
    threshold = calibrated(args.out, *rendered(CALIBRATION_SEED, CALIBRATION_FRAMES, args.cache))
    network.freeze(model, args.out, logit_shift=float(-np.log(threshold / (1 - threshold))))
    log.info(
        "%s: %d bytes, rendered and trained in %.0f s; raw score %.2f is now 0.5", args.out, args.out.stat().st_size, seconds, threshold
    )
    log.info("%s", report(args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
