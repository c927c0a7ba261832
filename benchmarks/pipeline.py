"""The four pipelines on minipachd beside a bare TensorFlow loop over the same images, in one run.

    python -m benchmarks.pipeline [--count 1000] [--model frozen_inference_graph.pb --images FOLDER] [--json FILE]

``--images`` holds validly named images; they are repeated with other names and bytes until there are ``--count``. Without it frames are
rendered, and without ``--model`` the project's own is used.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.results import Figure, report
from benchmarks.site import STAGES, Site, cores, material

BARE_LOOPS = (("original", 1), ("300", 1), ("300", 8))
_WARM = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        root = Path(folder)
        what = material(root / "images", options.count + _WARM, model=options.model, images=options.images)
        print(f"{options.count} images: {what.name}", flush=True)
        report(measure(root, what.model, what.images), options.json)


def bare_loop(model: Path, images: Path, size: str, batch: int) -> float:
    """Images per second of one single-threaded process per core, all loaded and warm when the clock starts."""
    command = [sys.executable, "-m", "benchmarks.bare_loop", "--model", str(model), "--images", str(images)]
    command += ["--size", size, "--batch", str(batch)]
    loops = [
        subprocess.Popen(
            [*command, "--share", f"{part}/{cores()}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for part in range(cores())
    ]
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()
    seconds = []
    for loop in loops:  # all begin before one is waited for
        assert loop.stdin is not None
        loop.stdin.write("\n")
        loop.stdin.flush()
    for loop in loops:
        said, complaint = loop.communicate()
        if loop.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {loop.returncode}: {complaint[-1000:]}")
        seconds.append(float(said))  # by the loop's own clock: TensorFlow takes a second to end
    return len(list(images.iterdir())) / max(seconds)


def measure(root: Path, model: Path, images: Sequence[Path]) -> Iterator[Figure]:
    """The first images warm the programs up, the rest is one push.

    :param images: In a folder that holds nothing else.
    """
    warm, many = images[:_WARM], images[_WARM:]
    with Site(root / "site") as site:
        site.create_pipelines(model)
        for image in warm:
            site.push_images([image])
        before = cpu_by_program(site.pid)
        started = time.perf_counter()
        commit_set = site.push_images(many)
        seconds = time.perf_counter() - started
        rate = len(many) / seconds
        spent = {name: (used - before.get(name, 0.0)) / len(many) for name, used in cpu_by_program(site.pid).items()}
        jobs = site.pps.inspect_job_set(commit_set)
        loads = sum("loaded model" in line for line in site.pps.log_tail("object-detect", commit_set, lines=1_000_000))
    bare = {(size, batch): _bare_loop(model, images[0].parent, size, batch) for size, batch in BARE_LOOPS}
    limit = max(found for found in bare.values() if found is not None)
    for (size, batch), found in bare.items():
        if found is not None:
            yield Figure(f"bare loop, {size} pixels, {batch} at once", found, "images/s")
    yield Figure("bare loop, best of its settings", limit, "images/s")
    yield Figure(f"four pipelines, {len(many)} images in one push", rate, "images/s")
    if (same := bare["original", 1]) is not None:
        yield Figure("four pipelines over the bare loop of the same pixels", rate / same, "ratio", target=0.8, at_least=True)
    yield Figure("four pipelines over the bare loop", rate / limit, "ratio", target=0.8, at_least=True)
    yield Figure(f"model loads during the push of {len(many)}", loads, "loads", target=cores())
    for job in jobs:
        yield Figure(f"{job.pipeline}: job of the push of {len(many)}", job.seconds, "s")
    for name, used in spent.items():
        yield Figure(f"CPU per image: {name}", 1000 * used, "ms")
    yield Figure("CPU per image: all that the machine had", 1000 * cores() * seconds / len(many), "ms")
    yield Figure("CPU per image: bare loop, best of its settings", 1000 * cores() / limit, "ms")


def cpu_by_program(server: int) -> dict[str, float]:
    """CPU seconds so far of a server, of its stages' programs by name, and of the client in this process.

    :param server: Its process id.
    """
    used = {"client": sum(psutil.Process().cpu_times()[:2]), "minipachd": sum(psutil.Process(server).cpu_times()[:2])}
    for process in psutil.Process(server).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = " ".join(process.cmdline())
            name = next((name for name, module in STAGES.items() if f"stages.{module}" in command), "launchers")
            used[name] = used.get(name, 0.0) + sum(process.cpu_times()[:2])
    return used


def _bare_loop(model: Path, images: Path, size: str, batch: int) -> float | None:
    try:
        return bare_loop(model, images, size, batch)
    except RuntimeError:
        if size != "original" or batch != 1:
            print(f"bare loop, {size} pixels, {batch} at once: this model does not take that", file=sys.stderr)
            return None
        raise


if __name__ == "__main__":
    main()
