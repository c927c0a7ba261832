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
from airflow_pachyderm.client.push import Owner, Push, PushResult, description_prefix, holds
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import (
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermSourceError,
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


def test_a_batch_is_one_finished_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    result = push(pfs, repo, folder)

    (commit,) = commits(pfs, repo)
    assert (commit.commit_set, commit.finished, commit.error) == (result.commit_set, True, "")
    assert commit.description.startswith("[airflow:dag/run/task/-1#")
    assert "] 10 files, try " in commit.description
    assert (result.reused, result.files, result.size_bytes) == (False, 10, 10 * 65536)
    assert content(pfs, repo) == expected(folder)


@BOTH_DIALECTS
def test_the_same_push_again_uses_its_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    first = push(pfs, repo, folder)
    again = push(pfs, repo, folder)

    assert (again.commit_set, again.reused, again.size_bytes) == (first.commit_set, True, 0)
    assert len(commits(pfs, repo)) == 1


@BOTH_DIALECTS
def test_another_run_makes_its_own_commit_of_the_same_files(pfs: PfsClient, repo: str, folder: Path) -> None:
    push(pfs, repo, folder, key="dag/run1/task/-1")
    push(pfs, repo, folder, key="dag/run11/task/-1")

    assert len(commits(pfs, repo)) == 2
    assert content(pfs, repo) == expected(folder)


@BOTH_DIALECTS
def test_commits_are_listed_newest_first_from_a_time_on(pfs: PfsClient, repo: str, folder: Path) -> None:
    made = [push(pfs, repo, folder, key=key).commit_set for key in ("a", "b", "c")]
    now = commits(pfs, repo)[0].started

    assert [commit.commit_set for commit in pfs.list_commits(repo, since=now - 1000)] == made[::-1]
    assert pfs.list_commits(repo, since=now + 1000) == []


def test_a_push_whose_files_changed_makes_a_new_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    push(pfs, repo, folder)
    (folder / "0.jpg").write_bytes(b"longer than it was" * 10_000)

    assert not push(pfs, repo, folder).reused

    assert content(pfs, repo) == expected(folder)


def test_what_is_no_id_is_never_dropped(pfs: PfsClient) -> None:
    with pytest.raises(PachydermInvalidError, match="'' is no id of a commit set"):
        pfs.drop_commit_set("")


@BOTH_DIALECTS
def test_a_commit_that_is_not_accepted_is_made_again(pfs: PfsClient, repo: str, folder: Path) -> None:
    first = push(pfs, repo, folder)
    asked: list[str] = []

    def refuse(commit_set: str) -> bool:
        asked.append(commit_set)
        return False

    assert push(pfs, repo, folder, accept=refuse).commit_set != first.commit_set

    assert asked == [first.commit_set]


def test_a_put_replaces_the_file(pfs: PfsClient, repo: str, tmp_path: Path) -> None:
    for number, text in enumerate((b"first and long", b"second", b"")):
        (tmp_path / "a").write_bytes(text)
        push(pfs, repo, tmp_path, key=f"k{number}")

    assert content(pfs, repo) == {"/a": b""}


@BOTH_DIALECTS
def test_deletions_come_before_the_files(pfs: PfsClient, repo: str, folder: Path) -> None:
    push(pfs, repo, folder)
    batch = Batch([SourceFile("/new/1.jpg", str(folder / "1.jpg"))], deletes=[f"/{number}.jpg" for number in range(9)])

    Push(pfs, repo=repo, branch="master", key="k", batch=batch).run()

    assert set(content(pfs, repo)) == {"/9.jpg", "/new/1.jpg"}


@BOTH_DIALECTS
def test_a_file_that_cannot_be_read_leaves_no_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    files = list(list_folder(str(folder)))
    (folder / "7.jpg").unlink()

    with pytest.raises(PachydermSourceError, match=r"7\.jpg"):
        push(pfs, repo, files)

    assert commits(pfs, repo) == []


@BOTH_DIALECTS
def test_a_path_that_pachyderm_refuses_leaves_no_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    with pytest.raises(PachydermInvalidError, match="path"):
        push(pfs, repo, [SourceFile("/a*b.jpg", str(folder / "1.jpg"))])

    assert commits(pfs, repo) == []


@BOTH_DIALECTS
def test_a_repo_that_is_missing_is_named(pfs: PfsClient, folder: Path) -> None:
    with pytest.raises(PachydermNotFoundError, match="nowhere"):
        push(pfs, "nowhere", folder)


def test_a_connection_cut_in_the_middle_is_bridged(engine: Engine, repo: str, folder: Path) -> None:
    with CuttingProxy(engine.address) as proxy:
        for pfs in client(f"127.0.0.1:{proxy.port}", PATIENT):
            proxy.cut_after(300_000, times=2)
            push(pfs, repo, folder)

            assert proxy.cuts == 2
            assert [commit.finished for commit in commits(pfs, repo)] == [True]
            assert content(pfs, repo) == expected(folder)


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


def test_a_worker_that_is_killed_leaves_its_commit_to_the_next_try(engine: Engine, pfs: PfsClient, repo: str, folder: Path) -> None:
    with ImageSite(folder) as site:
        site.stall_on("7.jpg")
        code = f"""
from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.push import Push
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.files import Batch, list_folder
host, _, port = {engine.address!r}.rpartition(":")
pfs = PfsClient(Server(PachydermConnection("test", host, int(port))))
Push(pfs, repo={repo!r}, branch="master", key="dag/run/task/-1", batch=Batch(list(list_folder({site.url!r})))).run()
"""
        worker = subprocess.Popen([sys.executable, "-c", code])
        assert site.stalled.wait(60)
        worker.kill()
        worker.wait()
        site.resume()
        assert [commit.finished for commit in commits(pfs, repo)] == [False]

        push(pfs, repo, list(list_folder(site.url)))

    assert [commit.finished for commit in commits(pfs, repo)] == [True]
    assert content(pfs, repo) == expected(folder)


def test_a_stopped_push_ends_at_once_and_leaves_no_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    with ImageSite(folder) as site:
        site.stall_on("0.jpg")
        running = Push(pfs, repo=repo, branch="master", key="k", batch=Batch(list(list_folder(site.url))))
        pushing = InThread(running.run)
        assert site.stalled.wait(60)
        running.stop()

        with pytest.raises(PachydermError, match="was stopped"):
            pushing.result()

    assert commits(pfs, repo) == []


@BOTH_DIALECTS
def test_another_open_commit_is_waited_for(pfs: PfsClient, repo: str, folder: Path) -> None:
    other, _, pushing = push_behind_another(pfs, repo, folder)
    pfs.finish_commit(other)
    pushed = pushing.result()

    assert [commit.commit_set for commit in commits(pfs, repo)] == [pushed.commit_set, other.commit_set]


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


@BOTH_DIALECTS
def test_another_commit_that_stays_open_is_named_and_left_alone(pfs: PfsClient, repo: str, folder: Path) -> None:
    other = pfs.start_commit_once(repo, "master", "by hand")

    with pytest.raises(PachydermConflictError, match=rf"{other.commit_set} .*is open for more than 0 s \(description: by hand\)"):
        push(pfs, repo, folder, branch_timeout=0.1)

    assert [(commit.commit_set, commit.finished) for commit in commits(pfs, repo)] == [(other.commit_set, False)]


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


@BOTH_DIALECTS
def test_an_open_commit_whose_owner_is_gone_is_dropped(pfs: PfsClient, repo: str, folder: Path) -> None:
    class Gone(Owner):
        def is_gone(self, commit: Commit) -> bool:
            return commit.description.endswith("by a/b/c/-1")

    pfs.start_commit_once(repo, "master", "[airflow:a/b/c/-1#0123456789abcdef] 1 files, try 0123abcd by a/b/c/-1")

    pushed = push(pfs, repo, folder, owner=Gone("d/e/f/-1"), branch_timeout=0.1)

    (commit,) = commits(pfs, repo)
    assert commit.commit_set == pushed.commit_set
    assert commit.description.endswith(" by d/e/f/-1")


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


@BOTH_DIALECTS
def test_two_tries_of_one_push_at_once_end_with_one_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    """The later one, which must take the earlier one for dead, drops its commit; the earlier one fails and finds the later one's."""
    with ImageSite(folder) as site:
        files = list(list_folder(site.url))
        site.stall_on("5.jpg")
        earlier = InThread(push, pfs, repo, files)
        assert site.stalled.wait(60)
        later = push(pfs, repo, files)
        site.resume()
        with pytest.raises(PachydermError):
            earlier.result()

        assert push(pfs, repo, files).commit_set == later.commit_set

    assert [(commit.commit_set, commit.finished) for commit in commits(pfs, repo)] == [(later.commit_set, True)]


def test_parallel_pushes_make_one_commit_each(engine: Engine, repo: str, folder: Path) -> None:
    for pfs in client(engine.address, PATIENT):
        threads = [
            threading.Thread(
                target=push, args=(pfs, repo, [SourceFile(f"/{number}.jpg", str(folder / f"{number}.jpg"))]), kwargs={"key": f"k{number}"}
            )
            for number in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(commits(pfs, repo)) == 6
        assert set(content(pfs, repo)) == {f"/{number}.jpg" for number in range(6)}


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


@BOTH_DIALECTS
def test_holds_compares_content(pfs: PfsClient, repo: str, folder: Path) -> None:
    file = SourceFile("/0.jpg", str(folder / "0.jpg"))
    assert not holds(pfs, repo, "master", file)
    push(pfs, repo, folder)

    assert holds(pfs, repo, "master", file)
    assert not holds(pfs, repo, "master", SourceFile("/0.jpg", str(folder / "1.jpg")))
    assert not holds(pfs, repo, "master", SourceFile("/none.jpg", str(folder / "0.jpg")))


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
