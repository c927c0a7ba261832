"""minipachd's speed and size: files in, commits on top of many, datums per second, memory; beside cp, git and dvc in the same run.

    python -m benchmarks.engine [--quick] [--only put growth datums] [--json FILE]

``--quick`` is a twentieth of everything: it shows that the benchmark works, and its figures mean nothing.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.baselines import BASELINES
from benchmarks.results import Figure, report
from benchmarks.site import JOB_SECONDS, Site

WORKERS: Final = 2
_ROUNDS: Final = 5
_PUT_ROUNDS: Final = 25
"""A put takes some hundredths of a second: five of them tell more about the disk's mood than about the history."""
_COPY_BATCHED: Final = """
import os, shutil
import grpc
import protobuf_compat
protobuf_compat.install()
from python_pachyderm.proto.v2.worker import worker_pb2, worker_pb2_grpc
worker = worker_pb2_grpc.WorkerStub(grpc.insecure_channel("127.0.0.1:" + os.environ["PPS_WORKER_GRPC_PORT"]))
while True:
    env = dict(pair.split("=", 1) for pair in worker.NextDatum(worker_pb2.NextDatumRequest()).env)
    shutil.copy(env["{repo}"], env["PFS_ROOT"] + "/out/")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of everything")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        for name in options.only:
            figures += PARTS[name](Path(folder) / name, 20 if options.quick else 1)
    report(figures, options.json)


def numbered(start: int, count: int, size: int = 0) -> Iterator[tuple[str, bytes]]:
    """Small files of different content with growing names; random ones of ``size`` bytes."""
    for number in range(start, start + count):
        yield f"/dev_{number:010}.txt", os.urandom(size) if size else b"content of %d" % number


def measure_put(root: Path, share: int) -> list[Figure]:
    """Files from the disk into one durable commit."""
    root.mkdir(parents=True)
    large, small = root / "large", root / "small"
    for folder, count, size in ((large, 10_000 // share, 60_000), (small, 6_000 // share, 3_000)):
        folder.mkdir()
        for path, content in numbered(0, count, size):
            (folder / path[1:]).write_bytes(content)
    figures = []
    with Site(root) as site:
        puts, copies, smalls = [], [], []
        for turn in range(3):
            for folder in (large, small):
                _renew(folder, turn)
            copies.append(BASELINES["cp -r + sync"](large, root / f"cp{turn}"))
            puts.append(_timed(lambda turn=turn: _put(site, large, f"large{turn}")))  # type: ignore[misc] # bound now
            smalls.append(_timed(lambda turn=turn: _put(site, small, f"small{turn}")))  # type: ignore[misc]
    put, copy = statistics.median(puts), statistics.median(copies)
    what = f"{10_000 // share} files of 60 kB"
    figures.append(Figure(f"{what}: one commit, durable, median of 3", put, "s"))
    figures.append(Figure(f"{what}: cp -r + sync, median of 3", copy, "s"))
    figures.append(Figure(f"{what}: commit over cp", put / copy, "ratio", target=3.0))
    for name in ("git add + commit", "dvc add"):
        try:
            figures.append(Figure(f"{what}: {name}", BASELINES[name](large, root / name.split()[0]), "s"))
        except (OSError, subprocess.CalledProcessError) as exc:
            sys.stderr.write(f"{name} skipped: {exc}\n")
    figures.append(Figure(f"{6_000 // share} files of 3 kB: one commit, median of 3", statistics.median(smalls), "s", target=3.0))
    return figures


def _renew(folder: Path, turn: int) -> None:
    """Give every file bytes that the store does not know: those of the last round would cost it nothing."""
    for path in folder.iterdir():
        with path.open("r+b") as file:
            file.write(b"%8d" % turn)
    os.sync()


def _put(site: Site, folder: Path, repo: str) -> None:
    site.pfs.create_repo(repo)
    site.put(repo, ((f"/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())), replace=False)


def measure_growth(root: Path, share: int) -> list[Figure]:
    """A hundred files on top of many, then many commits; memory and start."""
    files, commits = 100_000 // share, 10_000 // share
    with Site(root) as site:
        for repo in ("empty", "full"):
            site.pfs.create_repo(repo)
        site.put("full", numbered(0, files), replace=False)
        times: dict[str, list[float]] = {"empty": [], "full": []}
        for turn in range(_PUT_ROUNDS):
            fresh = f"empty{turn}"
            site.pfs.create_repo(fresh)
            times["empty"].append(_timed(lambda fresh=fresh: _add(site, fresh, 0)))  # type: ignore[misc]
            times["full"].append(_timed(lambda turn=turn: _add(site, "full", files + 100 * turn)))  # type: ignore[misc]
        empty, full = (statistics.median(times[repo]) for repo in ("empty", "full"))
        started = time.perf_counter()
        for number in range(commits):
            site.put_once("full", [(f"/late_{number:010}.txt", b"%d" % number)], replace=False)
        each = (time.perf_counter() - started) / commits
        peak, now = site.peak_mib(), site.memory_mib()
        starts = []
        for _ in range(3):
            site.stop()
            starts.append(site.start())
    return [
        Figure(f"100 files into an empty repo: put, commit, list; median of {_PUT_ROUNDS}", empty, "s"),
        Figure(f"100 files on top of {files}: put, commit, list; median of {_PUT_ROUNDS}", full, "s"),
        Figure(f"100 files on top of {files} over an empty repo", full / empty, "ratio", target=1.5),
        Figure(f"one of {commits} commits of one file on top of {files}", each * 1000, "ms"),
        Figure(f"{files} files, {commits} commits: memory at most", peak, "MiB", target=400.0),
        Figure(f"{files} files, {commits} commits: memory at the end", now, "MiB"),
        Figure(f"{files} files, {commits} commits: start, median of 3", statistics.median(starts), "s", target=2.0),
    ]


def _add(site: Site, repo: str, start: int) -> None:
    site.put(repo, numbered(start, 100), replace=False)
    assert site.page(repo, 0, after=f"/dev_{start - 1:010}.txt" if start else "") == 100


def measure_datums(root: Path, share: int) -> list[Figure]:
    """``cp`` per datum, with and without batching, and a hundred on top of many."""
    datums, many = 10_000 // share, 100_000 // share
    batched = {"cmd": ["python3", "-c", _COPY_BATCHED.replace("{repo}", "batched")], "datum_batching": True}
    single = {"cmd": ["sh"], "stdin": ["cp $PFS_ROOT/single/* $PFS_ROOT/out/"]}
    figures = []
    with Site(root) as site:
        for repo, transform in (("single", single), ("batched", batched)):
            _pipeline(site, repo, transform)
            seconds = _run(site, repo, numbered(0, datums))
            kind, target = ("datum batching", 500.0) if transform is batched else ("a process per datum", 100.0)
            name = f"cp over {datums} datums, {kind}, {WORKERS} workers"
            figures.append(Figure(name, datums / seconds, "datums/s", target=target, at_least=True))
        _run(site, "batched", numbered(datums, many - datums))
        empty, full = [], []
        for turn in range(_ROUNDS):
            fresh = f"fresh{turn}"
            _pipeline(site, fresh, batched | {"cmd": ["python3", "-c", _COPY_BATCHED.replace("{repo}", fresh)]})
            _run(site, fresh, numbered(0, 1))  # its programs are up, as those of the other pipeline are
            empty.append(_run(site, fresh, numbered(1, 100)))
            full.append(_run(site, "batched", numbered(many + 100 * turn, 100)))
        before, after = statistics.median(empty), statistics.median(full)
        figures.append(Figure(f"100 datums of a new pipeline, median of {_ROUNDS}", before, "s"))
        figures.append(Figure(f"100 datums on top of {many} done, median of {_ROUNDS}", after, "s"))
        figures.append(Figure(f"100 datums on top of {many} done over a new pipeline", after / before, "ratio", target=2.0))
        figures.append(Figure(f"memory at most, after {many} datums", site.peak_mib(), "MiB"))
    return figures


def _run(site: Site, repo: str, files: Iterable[tuple[str, bytes]]) -> float:
    """Seconds from the finished input commit to the finished output commit."""
    commit_set = site.put(repo, files, replace=False)
    started = time.perf_counter()
    site.pfs.wait_commit(f"{repo}-copy", commit_set, timeout=JOB_SECONDS)
    seconds = time.perf_counter() - started
    site.settle(commit_set)
    return seconds


def _pipeline(site: Site, repo: str, transform: dict[str, Any]) -> None:
    site.pfs.create_repo(repo)
    spec = {
        "pipeline": {"name": f"{repo}-copy"},
        "transform": {"image": "unused", **transform},
        "input": {"pfs": {"repo": repo, "glob": "/*"}},
        "parallelism_spec": {"constant": WORKERS},
    }
    site.pps.create_pipeline(spec, name=f"{repo}-copy")


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


PARTS: Final = {"put": measure_put, "growth": measure_growth, "datums": measure_datums}


if __name__ == "__main__":
    main()
