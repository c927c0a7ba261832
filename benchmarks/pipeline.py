"""The four pipelines on minipachd beside a bare TensorFlow loop over the same images, in one run.

    python -m benchmarks.pipeline --model frozen_inference_graph.pb --images FOLDER [--count 1000] [--json FILE]

``--images`` holds validly named images; they are repeated with other names and bytes until there are ``--count``.
"""

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.client.push import Push
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.files import Batch, SourceFile
from airflow_pachyderm.specs import load_specs
from benchmarks.results import Figure, report

REPOSITORY = Path(__file__).resolve().parent.parent
STAGES = ("validate", "object_detect", "threat_detect", "plot")
BARE_LOOPS = (("original", 1), ("300", 1), ("300", 8))
JOB_SECONDS = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        root = Path(folder)
        images = multiply(options.images, root / "images", options.count)
        limit = max(bare_loop(options.model, root / "images", size, batch) for size, batch in BARE_LOOPS)
        with minipachd(root / "data", root / "minipachd.log") as address:
            figures = measure(Bench(address), options.model, images, limit=limit)
    report(figures, options.json)


def multiply(source: Path, target: Path, count: int) -> list[Path]:
    """``count`` images with names and bytes of their own: bytes after the end of a JPEG change the file and not the picture."""
    target.mkdir(parents=True)
    originals = sorted(path for path in source.iterdir() if path.stem.rpartition("_")[2].isdigit())
    made = []
    for number, original in zip(range(count), itertools.cycle(originals), strict=False):
        made.append(target / f"{original.stem.rpartition('_')[0]}_{1600000000 + number}.jpg")
        made[-1].write_bytes(original.read_bytes() + str(number).encode())
    return made


def bare_loop(model: Path, images: Path, size: str, batch: int) -> float:
    """Images per second of one single-threaded process per core, all loaded and warm when the clock starts."""
    cores = os.cpu_count() or 1
    command = [
        sys.executable,
        "-m",
        "benchmarks.bare_loop",
        "--model",
        str(model),
        "--images",
        str(images),
        "--size",
        size,
        "--batch",
        str(batch),
    ]
    loops = [
        subprocess.Popen(
            [*command, "--share", f"{part}/{cores}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for part in range(cores)
    ]
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()
    started = time.perf_counter()
    for loop in loops:
        loop.communicate("\n")
    return len(list(images.iterdir())) / (time.perf_counter() - started)


@contextlib.contextmanager
def minipachd(data: Path, log: Path) -> Iterator[str]:
    """A server of its own; its address."""
    command = [sys.executable, "-m", "minipachd", "--data", str(data), "--listen", "127.0.0.1:0"]
    with log.open("w") as sink, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[1]
        finally:
            server.terminate()


class Bench:
    """The pipelines, driven as the operators drive them, without Airflow."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        server = Server(PachydermConnection(conn_id="bench", host=host, port=int(port)))
        self.pfs, self.pps = PfsClient(server), PpsClient(server)
        self._numbers = itertools.count()

    def push(self, repo: str, files: dict[str, Path]) -> tuple[str, float]:
        """One commit, and the wait for all its jobs: commit set and seconds."""
        self.pfs.create_repo(repo)
        started = time.perf_counter()
        batch = Batch([SourceFile(path, str(source), source.stat().st_size) for path, source in files.items()])
        commit_set = Push(self.pfs, repo=repo, branch="master", key=f"bench/{next(self._numbers)}", batch=batch).run().commit_set
        for job in self.pps.inspect_job_set(commit_set):
            self.pfs.wait_commit(job.pipeline, commit_set, timeout=JOB_SECONDS)
        return commit_set, time.perf_counter() - started

    def push_images(self, images: list[Path]) -> tuple[str, float]:
        return self.push("images", {f"/{path.name}": path for path in images})

    def model_loads(self, commit_set: str) -> int:
        lines = self.pps.log_tail("object-detect", commit_set, lines=1_000_000)
        return sum("loaded model" in line for line in lines)


def measure(bench: Bench, model: Path, images: list[Path], *, limit: float) -> list[Figure]:
    """Cold, warm, and many; the last fifty images are for the single ones."""
    bench.pfs.create_repo("images")
    bench.push("model", {"/frozen_inference_graph.pb": model})
    bench.push("rules", {"/rule.json": REPOSITORY / "stages" / "threat_detect" / "rule.json"})
    for stage in STAGES:
        for spec in load_specs(REPOSITORY / "stages" / stage / "pipeline.json"):
            bench.pps.create_pipeline(spec, name=stage)
    many, single = images[:-10], images[-10:]
    _, cold = bench.push_images(single[:1])
    warm = [bench.push_images([image])[1] for image in single[1:]]
    commit_set, seconds = bench.push_images(many)
    rate = len(many) / seconds
    jobs = bench.pps.inspect_job_set(commit_set)
    return [
        Figure("bare loop, best of its settings", limit, "images/s"),
        Figure(f"four pipelines, {len(many)} images in one push", rate, "images/s"),
        Figure("four pipelines over the bare loop", rate / limit, "ratio", target=0.8, at_least=True),
        Figure("one image, cold, put to plot", cold, "s"),
        Figure("one image, warm, put to plot, median of 9", statistics.median(warm), "s", target=2.0),
        Figure(f"model loads during the push of {len(many)}", bench.model_loads(commit_set), "loads", target=os.cpu_count()),
        *(Figure(f"{job.pipeline}: job of the push of {len(many)}", job.seconds, "s") for job in jobs),
    ]


if __name__ == "__main__":
    main()
