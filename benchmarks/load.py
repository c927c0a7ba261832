"""Eight clients that push, wait, read and list at once: how long each call takes, whether any fails, and what the server's memory does.

    python -m benchmarks.load [--seconds 600] [--clients 8] [--json FILE]

All push to the one branch of ``images`` that real pushes go to, where one commit can be open at a time; the real ``validate`` sorts what
comes. Each client waits for its own job, and reads an image of its own back from the pipeline's output, byte for byte.
"""

import argparse
import math
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from airflow_pachyderm.exceptions import PachydermError
from benchmarks.growth import tiny_jpeg
from benchmarks.results import Curve, Figure, report
from benchmarks.site import Clients, Site

_CALLS: Final = ("push", "job", "read", "list")
_FILES: Final = 5
_SAMPLE_SECONDS: Final = 0.5
_START_SECONDS: Final = 300.0
_WARM_UP: Final = 0.4  # of the time
_GROWTH: Final = 0.05
_LONG_SECONDS: Final = 240.0  # before that, growth is mostly noise and the first use of things


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        report(measure(Path(folder), seconds=options.seconds, clients=options.clients), options.json)


@dataclass
class Calls:
    """What one client saw.

    :ivar seconds: Of each call that went well, by kind.
    :ivar errors: One line for each call that failed, or gave something else than was put.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _CALLS})
    errors: list[str] = field(default_factory=list)


def measure(root: Path, *, seconds: float, clients: int) -> Iterator[Figure | Curve]:
    """Load, and the server's memory meanwhile."""
    memory: list[tuple[float, float]] = []
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(clients + 1)  # the clients have imported what they need: the load begins
    with Site(root / "site") as site, ProcessPoolExecutor(clients, context, ready.wait) as pool:
        site.pfs.create_repo("images")
        site.create_stages("validate")
        running = [pool.submit(client, site.address, site.token, number, seconds, root) for number in range(clients)]
        ready.wait(_START_SECONDS)
        started = time.monotonic()
        while wait(running, timeout=_SAMPLE_SECONDS).not_done:
            memory.append((time.monotonic() - started, site.memory_mib()))
        found = [future.result() for future in running]
        commits = len(site.pfs.list_commits("images"))
    errors = [error for calls in found for error in calls.errors]
    for error in errors[:10]:
        print(f"  {error}", flush=True)
    yield Figure(f"{clients} clients, {seconds:g} s: errors", len(errors), "errors", target=0)
    yield Figure(f"{clients} clients: commits", commits, "commits")
    for name in _CALLS:
        times = sorted(value for calls in found for value in calls.seconds[name])
        yield Figure(f"{clients} clients: {name}, median of {len(times)}", percentile(times, 50) * 1000, "ms")
        yield Figure(f"{clients} clients: {name}, 99th percentile", percentile(times, 99) * 1000, "ms")
    late = [(at, mib) for at, mib in memory if at >= _WARM_UP * memory[-1][0]]
    slope, middle = statistics.linear_regression(*zip(*late, strict=True)).slope * 60, statistics.fmean(mib for _, mib in late)
    grown = slope / 60 * (late[-1][0] - late[0][0]) / middle
    yield Figure("server's memory after warm-up, mean", middle, "MiB")
    yield Figure("server's memory after warm-up, slope", slope, "MiB/min")
    target = _GROWTH if seconds >= _LONG_SECONDS else None
    yield Figure("server's memory after warm-up, growth over its mean", grown, "ratio", target=target)
    yield Curve("load-memory", "minipachd", "MiB", tuple(memory), "seconds")


def client(address: str, token: str, number: int, seconds: float, root: Path) -> Calls:
    """One client, in a process of its own, until the time is over."""
    calls, chance = Calls(), random.Random(number)
    folder = root / f"client{number}"
    folder.mkdir()
    clients = Clients(address, token=token)
    until, turn = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        turn += 1
        images = _images(folder, chance, device=number, first=1_600_000_000 + turn * _FILES)
        try:
            _turn(clients, calls, images, key=f"{number}/{turn}")
        except (PachydermError, RuntimeError) as exc:
            calls.errors.append(f"client {number}, turn {turn}: {type(exc).__name__}: {exc}")
        for image in images:
            image.unlink()
    clients.close()
    return calls


def _turn(clients: Clients, calls: Calls, images: Sequence[Path], *, key: str) -> None:
    marks = [time.perf_counter()]
    commit_set = clients.push("images", {f"/{image.name}": image for image in images}, key=key)
    marks.append(time.perf_counter())
    clients.settle(commit_set)
    marks.append(time.perf_counter())
    content = clients.pfs.read_file("validate", commit_set, f"/valid/{images[0].name}")
    marks.append(time.perf_counter())
    listed = clients.page("images", 100)
    marks.append(time.perf_counter())
    if content != images[0].read_bytes():
        raise RuntimeError(f"/valid/{images[0].name} of {commit_set} is not what was put")
    if not listed:
        raise RuntimeError(f"{commit_set} lists no files")
    for name, start, end in zip(_CALLS, marks, marks[1:], strict=False):
        calls.seconds[name].append(end - start)


def _images(folder: Path, chance: random.Random, *, device: int, first: int) -> list[Path]:
    images = [folder / f"dev{device}_{first + number}.jpg" for number in range(_FILES)]
    for image in images:
        image.write_bytes(tiny_jpeg() + chance.randbytes(20_000))
    return images


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` percent of the sorted values do not exceed; not a number where there are none."""
    if not ordered:
        return float("nan")
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


if __name__ == "__main__":
    main()
