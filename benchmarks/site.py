"""A minipachd of a benchmark's own, driven as the operators drive it, and images for it."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from airflow_pachyderm.client.channel import LIST_TIMEOUT_SECONDS, Server
from airflow_pachyderm.client.errors import RetryPolicy
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.client.push import Push
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.files import Batch, SourceFile
from airflow_pachyderm.outcome import JobOutcome
from airflow_pachyderm.specs import load_specs
from airflow_pachyderm.states import JobState
from benchmarks.results import REPOSITORY
from stages.contract.pipelines import pipelines

STAGES: Final = {pipeline.name: pipeline.folder for pipeline in pipelines()}
RULES: Final = REPOSITORY / "stages" / "threat_detect" / "rule.json"
DEMO_MODEL: Final = REPOSITORY / "stages" / "object_detect" / "demo_model" / "frozen_inference_graph.pb"
JOB_SECONDS: Final = 6 * 3600.0
_START_SECONDS: Final = 60.0


class Clients:
    """The provider's clients of one server, with the calls that benchmarks make again and again."""

    def __init__(self, address: str, *, token: str = "", retry: RetryPolicy | None = None) -> None:
        self.token = token
        host, _, port = address.rpartition(":")
        self.server = Server(PachydermConnection(conn_id="benchmark", host=host, port=int(port), token=token or None), retry=retry)
        self.pfs, self.pps = PfsClient(self.server), PpsClient(self.server)
        self._numbers = itertools.count()

    def close(self) -> None:
        self.server.close()

    def push(self, repo: str, files: Mapping[str, Path], *, key: str = "") -> str:
        """One commit of files, by path in the repo; its id."""
        batch = Batch([SourceFile(path, str(source), source.stat().st_size) for path, source in files.items()])
        return Push(self.pfs, repo=repo, branch="master", key=key or f"bench/{next(self._numbers)}", batch=batch).run().commit_set

    def put(self, repo: str, files: Iterable[tuple[str, bytes]], *, replace: bool = True) -> str:
        """One commit of small files from memory; its id.

        :param replace: What the repo has under their paths; without it, which needs half the messages, they are appended to that.
        """
        commit = self.pfs.start_commit_once(repo, "master", "benchmark")
        self._modify(self.pfs.commit_message(repo, "master", commit.commit_set), files, replace=replace)
        self.pfs.finish_commit(commit)
        return commit.commit_set

    def put_once(self, repo: str, files: Iterable[tuple[str, bytes]], *, replace: bool = True) -> None:
        """A commit in one call; see :meth:`put`.

        :raises grpc.RpcError: As the server gave it.
        """
        self._modify(self.pfs.commit_message(repo, "master"), files, replace=replace)

    def _modify(self, commit: Any, files: Iterable[tuple[str, bytes]], *, replace: bool) -> None:
        def requests() -> Iterator[Any]:
            yield pfs_pb2.ModifyFileRequest(set_commit=commit)
            for path, content in files:
                if replace:
                    yield pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path))
                add = pfs_pb2.AddFile(path=path)
                add.raw.value = content
                yield pfs_pb2.ModifyFileRequest(add_file=add)

        self.server.stubs.pfs.ModifyFile(requests(), timeout=JOB_SECONDS)

    def settle(self, commit_set: str) -> list[JobOutcome]:
        """Wait for the jobs of a commit; all of them, upstream first.

        :raises RuntimeError: One did not succeed.
        """
        for job in self.pps.inspect_job_set(commit_set):
            self.pfs.wait_commit(job.pipeline, commit_set, timeout=JOB_SECONDS)
        jobs = self.pps.inspect_job_set(commit_set)
        if bad := [f"{job.pipeline}: {job.state.value}: {job.reason}" for job in jobs if job.state is not JobState.SUCCESS]:
            raise RuntimeError(f"commit set {commit_set} did not go through: {'; '.join(bad)}")
        return jobs

    def push_images(self, images: Sequence[Path]) -> str:
        """Push images and wait for the plot; the commit set."""
        commit_set = self.push("images", {f"/{path.name}": path for path in images})
        self.settle(commit_set)
        return commit_set

    def create_pipelines(self, model: Path, rules: Path = RULES) -> None:
        """The repos and the four pipelines as they ship, with a model and rules."""
        for repo in ("images", "model", "rules"):
            self.pfs.create_repo(repo)
        self.push("model", {"/frozen_inference_graph.pb": model})
        self.push("rules", {"/rule.json": rules})
        self.create_stages(*STAGES)

    def create_stages(self, *names: str) -> None:
        """Some of the pipelines; their input repos are there."""
        for name in names:
            for spec in load_specs(REPOSITORY / "stages" / STAGES[name] / "pipeline.json"):
                self.pps.create_pipeline(spec, name=name)

    def page(self, repo: str, count: int, *, after: str = "") -> int:
        """ListFile of the root of a branch's head, ``count`` entries (0: all) from behind a path on; how many came."""
        file = pfs_pb2.File(commit=self.pfs.commit_message(repo, "master"), path="/")
        request = pfs_pb2.ListFileRequest(file=file, number=count)
        if after:
            request.paginationMarker.CopyFrom(pfs_pb2.File(commit=file.commit, path=after))
        return sum(1 for _ in self.server.stubs.pfs.ListFile(request, timeout=LIST_TIMEOUT_SECONDS))

    def files(self, repo: str) -> dict[str, str]:
        """The files of a branch's head: digest by path."""
        return {entry.path: entry.digest for entry in self.pfs.glob_files(repo, "master", "/**") if not entry.is_dir}


class Site(Clients):
    """A server in a process of its own, and its clients; a context manager.

    :param root: Empty folder for its data and log.
    :param prefix: Command to start it under.
    """

    def __init__(self, root: Path, *, prefix: Sequence[str] = ()) -> None:
        self.data, self._log, self._prefix = root / "data", root / "minipachd.log", tuple(prefix)
        self._port = 0
        root.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> float:
        """Start it, on the same port as before; seconds until it was ready.

        :raises RuntimeError: It ended; the message holds the end of its log.
        """
        started = time.perf_counter()
        command = [*self._prefix, sys.executable, "-m", "minipachd", "--data", str(self.data), "--listen", f"127.0.0.1:{self._port}"]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        assert self._process.stdout is not None
        ready, _, self.address = self._process.stdout.readline().strip().partition(" ")
        if ready != "ready":
            raise RuntimeError(f"minipachd did not start:\n{self._log.read_text()[-2000:]}")
        seconds = time.perf_counter() - started
        if not self._port:
            self._port = int(self.address.rpartition(":")[2])
            super().__init__(self.address, token=token.read_text().strip() if (token := self.data / "token").exists() else "")
        return seconds

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        try:
            self._process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def memory_mib(self) -> float:
        """What the server's own process holds."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20

    def peak_mib(self) -> float:
        """The most that it has held at once."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def disk_bytes(self) -> int:
        """What its data takes on the disk, without the work folders of running programs."""
        folders = (path for path in self.data.rglob("*") if "work" not in path.relative_to(self.data).parts[:1])
        return sum(path.stat().st_blocks * 512 for path in folders if path.is_file() and not path.is_symlink())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        if self._process.poll() is None:
            self.stop()


@dataclass(frozen=True)
class Material:
    """A model, and images that it was made for.

    :ivar name: What they are, in words, for a result file.
    """

    model: Path
    images: tuple[Path, ...]
    name: str


def material(folder: Path, count: int, *, model: Path | None, images: Path | None) -> Material:
    """Images with valid names and bytes of their own.

    :param folder: Where they are written; made.
    :param model: Frozen graph; the project's own by default.
    :param images: Folder of validly named images, repeated as often as needed; rendered frames by default.
    """
    source = images
    if source is None:
        from stages.object_detect.demo_model.render import write_demo

        source = folder.with_name(folder.name + "-rendered")
        write_demo(source, count=min(count, 24), seed=7)
    name = f"model {'of the project' if model is None else model.parent.name}, images {'rendered' if images is None else images.name}"
    return Material(model or DEMO_MODEL, tuple(multiply(source, folder, count)), name)


def multiply(source: Path, target: Path, count: int) -> list[Path]:
    """``count`` images with names and bytes of their own: bytes after the end of a JPEG change the file and not the picture."""
    target.mkdir(parents=True)
    originals = sorted(path for path in source.iterdir() if path.stem.rpartition("_")[2].isdigit() and path.suffix == ".jpg")
    if not originals:
        raise ValueError(f"{source} has no images named like dev1_1511891098.jpg")
    made = []
    for number, original in zip(range(count), itertools.cycle(originals), strict=False):
        made.append(target / f"{original.stem.rpartition('_')[0]}_{1600000000 + number}.jpg")
        made[-1].write_bytes(original.read_bytes() + str(number).encode())
    return made


def changed_model(model: Path, target: Path) -> Path:
    """The same graph as other bytes: a field that no reader of a graph knows is appended, as protobuf allows."""
    shutil.copyfile(model, target)
    with target.open("ab") as file:
        file.write(b"\x82\x7d\x03new")  # field 2000, three bytes
    return target


def cores() -> int:
    return os.cpu_count() or 1
