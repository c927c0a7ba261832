"""Pushing: one commit per batch, whatever happens in between."""

import contextlib
import functools
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from airflow_pachyderm.client.answers import Commit
from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.errors import RetryPolicy
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.push import Owner, Push, PushResult, description_prefix
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import (
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermUnavailableError,
)
from airflow_pachyderm.files import Batch, SourceFile, list_folder
from tests.airflow_pachyderm.proxy import CuttingProxy
from tests.airflow_pachyderm.scripted_pachd import ScriptedPachd, pfs_pb2
from tests.e2e.site import ImageSite
from tests.support import BOTH_DIALECTS, Engine

QUICK = RetryPolicy(deadline_seconds=0.3, first_pause_seconds=0.02, max_pause_seconds=0.1)
PATIENT = RetryPolicy(deadline_seconds=20, first_pause_seconds=0.05, max_pause_seconds=0.2)


@pytest.fixture
def pfs(engine: Engine, repo: str) -> Iterator[PfsClient]:
    yield from client(engine.address, QUICK)


def client(address: str, retry: RetryPolicy) -> Iterator[PfsClient]:
    host, _, port = address.rpartition(":")
    server = Server(PachydermConnection("test", host, int(port)), retry=retry)
    yield PfsClient(server)
    server.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten files of 64 KiB."""
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number]) * 65536)
    return tmp_path


def push(pfs: PfsClient, repo: str, folder: Path | list[SourceFile], *, key: str = "dag/run/task/-1", **fields: Any) -> PushResult:
    files = folder if isinstance(folder, list) else list(list_folder(str(folder)))
    return Push(pfs, repo=repo, branch="master", key=key, batch=Batch(files), **fields).run()


def commits(pfs: PfsClient, repo: str) -> list[Commit]:
    try:
        return pfs.list_commits(repo)
    except PachydermNotFoundError:
        return []


def content(pfs: PfsClient, repo: str, ref: str = "master") -> dict[str, bytes]:
    return {entry.path: pfs.read_file(repo, ref, entry.path) for entry in pfs.glob_files(repo, ref, "/**") if not entry.is_dir}


def expected(folder: Path) -> dict[str, bytes]:
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


def test_what_is_no_id_is_never_dropped(pfs: PfsClient) -> None:
    with pytest.raises(PachydermInvalidError, match="'' is no id of a commit set"):
        pfs.drop_commit_set("")


def test_a_connection_that_stays_cut_leaves_no_commit_after_the_next_try(engine: Engine, pfs: PfsClient, repo: str, folder: Path) -> None:
    with CuttingProxy(engine.address) as proxy:
        for cut in client(f"127.0.0.1:{proxy.port}", QUICK):
            proxy.cut_after(300_000, times=1_000)
            with pytest.raises(PachydermUnavailableError):
                push(cut, repo, folder)

    assert not any(commit.finished for commit in commits(pfs, repo))
    assert push(pfs, repo, folder).reused is False
    assert [commit.finished for commit in commits(pfs, repo)] == [True]


def test_a_server_that_dies_in_the_middle(own_engine: Engine, folder: Path) -> None:
    """Killed while it receives, and started again: the try that was cut goes on by itself."""
    with ImageSite(folder) as site:
        for pfs in client(own_engine.address, PATIENT):
            pfs.create_repo("images")
            site.stall_on("7.jpg")
            pushing = InThread(push, pfs, "images", list(list_folder(site.url)))
            assert site.stalled.wait(60)
            own_engine.kill()
            own_engine.start()
            site.resume()

            assert pushing.result().files == 10
            assert [commit.finished for commit in commits(pfs, "images")] == [True]
            assert content(pfs, "images") == expected(folder)


HOURS = RetryPolicy(first_pause_seconds=7200, max_pause_seconds=7200)


def test_the_end_of_another_commit_is_noticed_when_it_comes(engine: Engine, repo: str, folder: Path) -> None:
    for pfs in client(engine.address, HOURS):
        other, _, pushing = push_behind_another(pfs, repo, folder)
        pfs.finish_commit(other)
        pushed = pushing.result()

        assert [commit.commit_set for commit in commits(pfs, repo)] == [pushed.commit_set, other.commit_set]


def test_a_push_that_waits_for_another_commit_can_be_stopped(engine: Engine, repo: str, folder: Path) -> None:
    for pfs in client(engine.address, HOURS):
        other, running, pushing = push_behind_another(pfs, repo, folder)
        running.stop()

        with pytest.raises(PachydermError, match="was stopped"):
            pushing.result()
        assert [commit.commit_set for commit in commits(pfs, repo)] == [other.commit_set]


def push_behind_another(pfs: PfsClient, repo: str, folder: Path) -> "tuple[Commit, Push, InThread]":
    """Somebody's open commit, and a push that has said that it waits for it."""
    other = pfs.start_commit_once(repo, "master", "by hand")
    running = Push(pfs, repo=repo, branch="master", key="k", batch=Batch(list(list_folder(str(folder)))))
    with logged("airflow_pachyderm.client.push", "Waiting for commit") as waiting:
        pushing = InThread(running.run)
        assert waiting.wait(30)
    return other, running, pushing


def test_a_push_waits_for_several_others_as_long_as_each_of_them_goes_on(
    pfs: PfsClient, repo: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four pushes of ten minutes stand in a line: the last one has waited for half an hour, and nobody has kept it for longer than ten."""
    clock = [0.0]
    monkeypatch.setattr("airflow_pachyderm.client.push.time", SimpleNamespace(monotonic=lambda: clock[0]))
    line = [pfs.start_commit_once(repo, "master", "of another task")]

    class Last(Owner):
        def is_gone(self, commit: Commit) -> bool:
            clock[0] += 600
            pfs.finish_commit(commit)
            if len(line) < 3:
                line.append(pfs.start_commit_once(repo, "master", "of another task"))
            return False

    push(pfs, repo, folder, owner=Last(), branch_timeout=900)

    assert content(pfs, repo) == expected(folder)


def test_a_lost_answer_to_the_start_is_no_second_commit() -> None:
    from google.protobuf.empty_pb2 import Empty

    with ScriptedPachd() as pachd:
        pfs = next(client(f"127.0.0.1:{pachd.port}", QUICK))
        running = Push(pfs, repo="images", branch="master", key="k", batch=Batch())
        mine = pfs_pb2.CommitInfo(description=running._description, commit=pfs_pb2.Commit(id="a" * 32))
        pachd.script("ListCommit", [])
        busy = (grpc.StatusCode.UNKNOWN, "parent commit default/images@aaaa has not been finished")
        pachd.script("StartCommit", (grpc.StatusCode.UNAVAILABLE, "gone"), busy)
        pachd.script("InspectCommit", mine)
        pachd.script("ModifyFile", Empty())
        pachd.script("FinishCommit", Empty())

        assert running.run().commit_set == "a" * 32

        pfs.server.close()
    assert len(pachd.requests("StartCommit")) == 2


class Alive(Owner):
    """One of several runs of one push, all of which are alive."""

    def is_busy(self, commit: Commit) -> bool:
        return True


@BOTH_DIALECTS
def test_a_push_that_another_run_finished_during_the_wait_for_a_third_is_not_repeated(pfs: PfsClient, repo: str, folder: Path) -> None:
    other = pfs.start_commit_once(repo, "master", "by hand")
    pushed: list[PushResult] = []

    class Last(Alive):
        def is_gone(self, commit: Commit) -> bool:
            if not pushed:
                pfs.finish_commit(commit)
                pushed.append(push(pfs, repo, folder))
            return False

    mine = push(pfs, repo, folder, owner=Last())

    assert (mine.commit_set, mine.reused) == (pushed[0].commit_set, True)
    assert [commit.commit_set for commit in commits(pfs, repo)] == [mine.commit_set, other.commit_set]


def test_a_push_that_another_run_finished_just_before_the_opening_is_not_repeated(pfs: PfsClient, repo: str, folder: Path) -> None:
    pushed: list[PushResult] = []

    class Late(PfsClient):
        def start_commit_once(self, repo: str, branch: str, description: str) -> Commit:
            if not pushed:
                pushed.append(push(pfs, repo, folder))
            return super().start_commit_once(repo, branch, description)

    mine = push(Late(pfs.server), repo, folder)

    assert (mine.commit_set, mine.reused) == (pushed[0].commit_set, True)
    assert [(commit.commit_set, commit.finished) for commit in commits(pfs, repo)] == [(mine.commit_set, True)]


def test_eight_runs_of_one_push_at_once_make_one_commit(engine: Engine, repo: str, folder: Path) -> None:
    """In front of whose branch somebody else's push begins and ends, too."""
    for pfs in client(engine.address, PATIENT):
        for number in range(5):
            runs = [InThread(functools.partial(push, pfs, repo, folder, key=f"day{number}", owner=Alive())) for _ in range(8)]
            other = InThread(functools.partial(push, pfs, repo, folder, key=f"other{number}", owner=Alive()))
            results = [run.result() for run in runs]
            other.result()

            assert len({result.commit_set for result in results}) == 1
            assert [result.reused for result in results].count(False) == 1

        made = [commit.description.partition("#")[0] for commit in commits(pfs, repo)]
        assert sorted(made) == sorted(f"[airflow:{name}{number}" for number in range(5) for name in ("day", "other"))


def test_memory_stays_bounded(engine: Engine, repo: str, tmp_path: Path) -> None:
    """128 MB through a process that grows by far less."""
    for number in range(2):
        with (tmp_path / str(number)).open("wb") as stream:
            stream.truncate(64 << 20)
    code = f"""
import resource, sys
from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.push import Push
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.files import Batch, list_folder
host, _, port = {engine.address!r}.rpartition(":")
pfs = PfsClient(Server(PachydermConnection("test", host, int(port))))
pfs.list_commits({repo!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Push(pfs, repo={repo!r}, branch="master", key="k", batch=Batch(list(list_folder({str(tmp_path)!r})))).run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    grown_kib = int(done.stdout.splitlines()[-1])
    assert grown_kib < 60 << 10


def test_a_key_cannot_pass_for_another() -> None:
    assert not description_prefix("a#b").startswith(description_prefix("a"))
    assert description_prefix("d/manual__2026-11-23T02:00:00+00:00/t/3") == "[airflow:d/manual__2026-11-23T02:00:00+00:00/t/3#"


def test_the_clients_own_commit_publishes_half_a_push(engine: Engine, pfs: PfsClient, repo: str) -> None:
    """Why the provider does not use ``Client.commit``: the day this fails, the detour can go."""

    def half() -> None:
        with engine.client.commit(repo, "master") as commit:
            engine.client.put_file_bytes(commit, "/0.jpg", b"half")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        half()

    assert [commit.finished for commit in commits(pfs, repo)] == [True]


@contextlib.contextmanager
def logged(logger: str, text: str) -> Iterator[threading.Event]:
    """An event that is set when the logger says something with the text in it."""
    seen = threading.Event()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                seen.set()

    heard, ear = logging.getLogger(logger), Ear()
    level = heard.level
    heard.addHandler(ear)
    heard.setLevel(logging.INFO)  # whatever tests before this one made of the root logger's
    try:
        yield seen
    finally:
        heard.removeHandler(ear)
        heard.setLevel(level)


class InThread:
    """A call in a thread of its own, with its result or its error."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(function, *args)

    def result(self) -> Any:
        try:
            return self._future.result(timeout=60)
        finally:
            self._pool.shutdown(wait=False)
