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
from types import TracebackType
from typing import Any, Final, Self

import psutil

from airflow_pachyderm.client.channel import Server as Connected
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.states import JobState
from benchmarks.baselines import BASELINES
from benchmarks.results import Figure, report

WORKERS: Final = 2
_ROUNDS: Final = 5
_JOB_SECONDS: Final = 3600.0
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


class Minipachd:
    """A server in a process of its own, and a client."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._data, self._log = root / "data", root / "minipachd.log"

    def start(self) -> float:
        """:return: Seconds until it was ready."""
        started = time.perf_counter()
        with self._log.open("a") as log:
            command = [sys.executable, "-m", "minipachd", "--data", str(self._data), "--listen", "127.0.0.1:0"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        address = self._process.stdout.readline().split()[1]
        seconds = time.perf_counter() - started
        host, _, port = address.rpartition(":")
        self._connected = Connected(PachydermConnection(conn_id="bench", host=host, port=int(port)))
        self.pfs, self.pps = PfsClient(self._connected), PpsClient(self._connected)
        return seconds

    def stop(self) -> None:
        self._connected.close()
        self._process.terminate()
        self._process.wait()

    def peak_mib(self) -> float:
        """The most memory that the server's process has held at once."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def memory_mib(self) -> float:
        """What it holds now."""
        return float(psutil.Process(self._process.pid).memory_info().rss) / 2**20

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def commit(self, repo: str, files: Iterable[tuple[str, bytes]]) -> str:
        """Start, one stream of ModifyFile, finish: durable when it returns. Its id."""
        commit = self.pfs.start_commit_once(repo, "master", "bench")
        self._modify(self.pfs.commit_message(repo, "master", commit.commit_set), files)
        self.pfs.finish_commit(commit)
        return commit.commit_set

    def put_once(self, repo: str, files: Iterable[tuple[str, bytes]]) -> None:
        """A commit in one call: ModifyFile to the branch."""
        self._modify(self.pfs.commit_message(repo, "master"), files)

    def list_after(self, repo: str, commit_set: str, marker: str) -> int:
        """ListFile of the root from behind a path on; how many there are."""
        file = pfs_pb2.File(commit=self.pfs.commit_message(repo, "master", commit_set), path="/")
        request = pfs_pb2.ListFileRequest(file=file, paginationMarker=pfs_pb2.File(commit=file.commit, path=marker))
        return sum(1 for _ in self._connected.stubs.pfs.ListFile(request))

    def run(self, repo: str, pipeline: str, files: Iterable[tuple[str, bytes]]) -> float:
        """Seconds from the finished input commit to the finished output commit."""
        commit_set = self.commit(repo, files)
        started = time.perf_counter()
        self.pfs.wait_commit(pipeline, commit_set, timeout=_JOB_SECONDS)
        seconds = time.perf_counter() - started
        (job,) = [job for job in self.pps.inspect_job_set(commit_set) if job.pipeline == pipeline]
        assert job.state is JobState.SUCCESS, job
        return seconds

    def _modify(self, commit: Any, files: Iterable[tuple[str, bytes]]) -> None:
        def requests() -> Iterator[Any]:
            yield pfs_pb2.ModifyFileRequest(set_commit=commit)
            for path, content in files:
                add = pfs_pb2.AddFile(path=path)
                add.raw.value = content
                yield pfs_pb2.ModifyFileRequest(add_file=add)

        self._connected.stubs.pfs.ModifyFile(requests(), timeout=_JOB_SECONDS)


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
    with Minipachd(root) as server:
        puts, copies, smalls = [], [], []
        for turn in range(3):
            copies.append(BASELINES["cp -r + sync"](large, root / f"cp{turn}"))
            puts.append(_timed(lambda turn=turn: _put(server, large, f"large{turn}")))  # type: ignore[misc] # bound now
            smalls.append(_timed(lambda turn=turn: _put(server, small, f"small{turn}")))  # type: ignore[misc]
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


def _put(server: Minipachd, folder: Path, repo: str) -> None:
    # Each round has bytes that the store does not know: the same ones would cost it nothing.
    server.pfs.create_repo(repo)
    server.commit(repo, ((f"/{path.name}", path.read_bytes() + repo.encode()) for path in sorted(folder.iterdir())))


def measure_growth(root: Path, share: int) -> list[Figure]:
    """A hundred files on top of many, then many commits; memory and start."""
    files, commits = 100_000 // share, 10_000 // share
    server = Minipachd(root)
    server.start()
    try:
        for repo in ("empty", "full"):
            server.pfs.create_repo(repo)
        server.commit("full", numbered(0, files))
        times: dict[str, list[float]] = {"empty": [], "full": []}
        for turn in range(_ROUNDS):
            fresh = f"empty{turn}"
            server.pfs.create_repo(fresh)
            times["empty"].append(_timed(lambda fresh=fresh: _add(server, fresh, 0)))  # type: ignore[misc]
            times["full"].append(_timed(lambda turn=turn: _add(server, "full", files + 100 * turn)))  # type: ignore[misc]
        empty, full = (statistics.median(times[repo]) for repo in ("empty", "full"))
        started = time.perf_counter()
        for number in range(commits):
            server.put_once("full", [(f"/late_{number:010}.txt", b"%d" % number)])
        each = (time.perf_counter() - started) / commits
        peak, now = server.peak_mib(), server.memory_mib()
    finally:
        server.stop()
    starts = []
    for _ in range(3):
        starts.append(server.start())
        server.stop()
    return [
        Figure(f"100 files into an empty repo: put, commit, list; median of {_ROUNDS}", empty, "s"),
        Figure(f"100 files on top of {files}: put, commit, list; median of {_ROUNDS}", full, "s"),
        Figure(f"100 files on top of {files} over an empty repo", full / empty, "ratio", target=1.5),
        Figure(f"one of {commits} commits of one file on top of {files}", each * 1000, "ms"),
        Figure(f"{files} files, {commits} commits: memory at most", peak, "MiB", target=400.0),
        Figure(f"{files} files, {commits} commits: memory at the end", now, "MiB"),
        Figure(f"{files} files, {commits} commits: start, median of 3", statistics.median(starts), "s", target=2.0),
    ]


def _add(server: Minipachd, repo: str, start: int) -> None:
    commit_set = server.commit(repo, numbered(start, 100))
    assert server.list_after(repo, commit_set, f"/dev_{start - 1:010}.txt" if start else "") == 100


def measure_datums(root: Path, share: int) -> list[Figure]:
    """``cp`` per datum, with and without batching, and a hundred on top of many."""
    datums, many = 10_000 // share, 100_000 // share
    batched = {"cmd": ["python3", "-c", _COPY_BATCHED.replace("{repo}", "batched")], "datum_batching": True}
    single = {"cmd": ["sh"], "stdin": ["cp $PFS_ROOT/single/* $PFS_ROOT/out/"]}
    figures = []
    with Minipachd(root) as server:
        for repo, transform in (("single", single), ("batched", batched)):
            _pipeline(server, repo, transform)
            seconds = server.run(repo, f"{repo}-copy", numbered(0, datums))
            kind, target = ("datum batching", 500.0) if transform is batched else ("a process per datum", 100.0)
            name = f"cp over {datums} datums, {kind}, {WORKERS} workers"
            figures.append(Figure(name, datums / seconds, "datums/s", target=target, at_least=True))
        server.run("batched", "batched-copy", numbered(datums, many - datums))
        empty, full = [], []
        for turn in range(_ROUNDS):
            fresh = f"fresh{turn}"
            _pipeline(server, fresh, batched | {"cmd": ["python3", "-c", _COPY_BATCHED.replace("{repo}", fresh)]})
            server.run(fresh, f"{fresh}-copy", numbered(0, 1))  # its programs are up, as those of the other pipeline are
            empty.append(server.run(fresh, f"{fresh}-copy", numbered(1, 100)))
            full.append(server.run("batched", "batched-copy", numbered(many + 100 * turn, 100)))
        before, after = statistics.median(empty), statistics.median(full)
        figures.append(Figure(f"100 datums of a new pipeline, median of {_ROUNDS}", before, "s"))
        figures.append(Figure(f"100 datums on top of {many} done, median of {_ROUNDS}", after, "s"))
        figures.append(Figure(f"100 datums on top of {many} done over a new pipeline", after / before, "ratio", target=2.0))
        figures.append(Figure(f"memory at most, after {many} datums", server.peak_mib(), "MiB"))
    return figures


def _pipeline(server: Minipachd, repo: str, transform: dict[str, Any]) -> None:
    server.pfs.create_repo(repo)
    spec = {
        "pipeline": {"name": f"{repo}-copy"},
        "transform": {"image": "unused", **transform},
        "input": {"pfs": {"repo": repo, "glob": "/*"}},
        "parallelism_spec": {"constant": WORKERS},
    }
    server.pps.create_pipeline(spec, name=f"{repo}-copy")


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


PARTS: Final = {"put": measure_put, "growth": measure_growth, "datums": measure_datums}


if __name__ == "__main__":
    main()
