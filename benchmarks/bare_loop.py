"""The limit: a plain loop over image files that decodes and infers, with nothing around it.

    python -m benchmarks.bare_loop --model frozen_inference_graph.pb --images FOLDER --size original|300 --batch 8

One single-threaded process per share of the images prints ``ready`` once TensorFlow and the graph are loaded and warm, waits for a line on
standard input, works, and prints the seconds that took.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def decode(path: Path, size: int | None) -> Any:
    """RGB pixels of a file; scaled to a square of ``size`` pixels, JPEGs already while they are decoded, or as they are."""
    with Image.open(path) as image:
        if size is None:
            return np.asarray(image.convert("RGB"))
        image.draft("RGB", (size, size))
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--size", default="original")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--share", default="0/1", help="which part of the files: 0/2 takes every second one")
    options = parser.parse_args()
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    import tensorflow as tf

    graph = tf.Graph()
    definition = tf.compat.v1.GraphDef.FromString(options.model.read_bytes())
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    session = tf.compat.v1.Session(graph=graph, config=config)
    outputs = ["detection_boxes:0", "detection_scores:0", "detection_classes:0", "num_detections:0"]
    size = None if options.size == "original" else int(options.size)
    part, parts = map(int, options.share.split("/"))
    files = sorted(path for path in options.images.iterdir() if path.suffix == ".jpg")[part::parts]
    warm = [decode(path, size) for path in files[: options.batch]]
    for _ in range(3):
        session.run(outputs, {"image_tensor:0": np.stack(warm)})
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for at in range(0, len(files), options.batch):
        session.run(outputs, {"image_tensor:0": np.stack([decode(path, size) for path in files[at : at + options.batch]])})
    print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
