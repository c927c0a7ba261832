"""Pushing: one commit per batch, whatever happens in between: repetition, kills, races, cut connections."""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.errors import RetryPolicy
from airflow_pachyderm.client.pfs import Commit, PfsClient
from airflow_pachyderm.client.push import Owner, Push, PushResult, holds
from airflow_pachyderm.exceptions import (
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermSourceError,
)
from airflow_pachyderm.files import Batch, SourceFile, list_folder
from tests.airflow_pachyderm.proxy import CuttingProxy
from tests.airflow_pachyderm.test_push import InThread, logged
from tests.conformance import pusher
from tests.conformance.lab import Lab, fast
from tests.e2e.site import ImageSite

KEY = "dag/run/task/-1"


@pytest.fixture
def repo(lab: Lab) -> str:
    """An empty repo."""
    return lab.repo()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten files of 64 KiB."""
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number]) * 65536)
    return tmp_path


@pytest.fixture
def pfs(lab: Lab) -> Iterator[PfsClient]:
    """A client that gives up soon."""
    yield from client(lab, fast(2.0))


def client(lab: Lab, retry: RetryPolicy, *, port: int = 0) -> Iterator[PfsClient]:
    connection = lab.hook.connection
    server = Server(dataclasses.replace(connection, host="127.0.0.1", port=port) if port else connection, retry=retry)
    yield PfsClient(server)
    server.close()


def push(pfs: PfsClient, repo: str, source: Path | str | list[SourceFile], *, key: str = KEY, **fields: object) -> PushResult:
    files = source if isinstance(source, list) else list(list_folder(str(source)))
    return Push(pfs, repo=repo, branch="master", key=key, batch=Batch(files), **fields).run()  # type: ignore[arg-type]


def expected(folder: Path) -> dict[str, bytes]:
    return {f"/{path.name}": path.read_bytes() for path in folder.iterdir()}


def test_a_batch_is_one_finished_commit_and_stays_one(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    first, again = push(pfs, repo, folder), push(pfs, repo, folder)

    (commit,) = pfs.list_commits(repo)
    assert (commit.repo, commit.branch, commit.commit_set, commit.finished, commit.error) == (repo, "master", first.commit_set, True, "")
    assert commit.description.startswith(f"[airflow:{KEY}#")
    assert "] 10 files, try " in commit.description
    assert (first.reused, first.files, first.size_bytes) == (False, 10, 10 * 65536)
    assert (again.commit_set, again.reused, again.size_bytes) == (first.commit_set, True, 0)
    assert lab.files(repo) == expected(folder)


def test_other_runs_and_other_files_make_commits_of_their_own(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    made = [push(pfs, repo, folder, key=key).commit_set for key in ("dag/run1/task/-1", "dag/run11/task/-1")]
    (folder / "0.jpg").write_bytes(b"longer than it was" * 10_000)
    made.append(push(pfs, repo, folder, key="dag/run1/task/-1").commit_set)

    assert [commit.commit_set for commit in pfs.list_commits(repo)] == made[::-1]
    now = pfs.list_commits(repo)[0].started
    assert [commit.commit_set for commit in pfs.list_commits(repo, since=now - 1000)] == made[::-1]
    assert pfs.list_commits(repo, since=now + 1000) == []
    assert lab.files(repo) == expected(folder)


def test_pushes_to_two_branches_do_not_see_each_other(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    main = push(pfs, repo, folder)
    batch = Batch(list(list_folder(str(folder))))
    side = Push(pfs, repo=repo, branch="side", key=KEY, batch=batch).run()

    assert (side.reused, side.commit_set != main.commit_set) == (False, True)
    for branch, made in (("master", main), ("side", side)):
        assert [commit.commit_set for commit in pfs.list_commits(repo, branch)] == [made.commit_set]
    assert Push(pfs, repo=repo, branch="side", key=KEY, batch=batch).run().commit_set == side.commit_set
    assert pfs.list_commits(repo, "none") == []


def test_a_commit_that_is_not_accepted_is_made_again(pfs: PfsClient, repo: str, folder: Path) -> None:
    first = push(pfs, repo, folder)
    asked: list[str] = []
    second = push(pfs, repo, folder, accept=lambda commit: bool(asked.append(commit)))
    assert (asked, second.commit_set != first.commit_set) == ([first.commit_set], True)


def test_a_put_replaces_and_deletions_come_first(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    push(pfs, repo, folder)
    (folder / "9.jpg").write_bytes(b"")
    files = [SourceFile("/new/1.jpg", str(folder / "1.jpg")), SourceFile("/9.jpg", str(folder / "9.jpg"))]
    Push(pfs, repo=repo, branch="master", key="k", batch=Batch(files, deletes=[f"/{number}.jpg" for number in range(9)])).run()
    assert lab.files(repo) == {"/9.jpg": b"", "/new/1.jpg": (folder / "1.jpg").read_bytes()}


def test_what_cannot_be_pushed_leaves_no_commit(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    with pytest.raises(PachydermInvalidError, match="path"):
        push(pfs, repo, [SourceFile("/a*b.jpg", str(folder / "1.jpg"))])
    files = list(list_folder(str(folder)))
    (folder / "7.jpg").unlink()
    with pytest.raises(PachydermSourceError, match=r"7\.jpg"):
        push(pfs, repo, files)
    with pytest.raises(PachydermNotFoundError, match="nowhere"):
        push(pfs, "nowhere", folder)
    assert lab.commits(repo) == []


def test_content_is_compared(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    file = SourceFile("/0.jpg", str(folder / "0.jpg"))
    assert not holds(pfs, repo, "master", file)
    push(pfs, repo, folder)
    assert holds(pfs, repo, "master", file)
    assert not holds(pfs, repo, "master", SourceFile("/0.jpg", str(folder / "1.jpg")))
    assert not holds(pfs, repo, "master", SourceFile("/none.jpg", str(folder / "0.jpg")))


# Kills and cuts


def test_a_push_that_is_killed_again_and_again_ends_with_one_commit(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    with ImageSite(folder) as site:
        for name in ("7.jpg", "2.jpg"):
            site.stall_on(name)
            worker = pusher.start(lab.hook.connection, repo, site.url, KEY)
            assert site.stalled.wait(100)
            worker.kill()
            worker.join()
            site.resume()
            assert [commit.finished for commit in pfs.list_commits(repo)] == [False]

        result = push(pfs, repo, site.url)

        assert (result.reused, [commit.commit_set for commit in pfs.list_commits(repo)]) == (False, [result.commit_set])
        assert push(pfs, repo, site.url).reused
    assert lab.commits(repo) == [result.commit_set]
    assert lab.files(repo) == expected(folder)


def test_two_processes_that_push_one_batch_at_once_end_with_one_commit(lab: Lab, pfs: PfsClient, repo: str, folder: Path) -> None:
    with ImageSite(folder) as site:
        workers = [pusher.start(lab.hook.connection, repo, site.url, KEY) for _ in range(2)]
        for worker in workers:
            worker.join(100)
        assert {worker.exitcode for worker in workers} <= {0, 1}, "one may have taken the other's commit for one that a dead try left"

        result = push(pfs, repo, site.url)

    assert lab.commits(repo) == [result.commit_set]
    assert lab.files(repo) == expected(folder)


def test_a_stopped_push_ends_at_once_and_leaves_no_commit(pfs: PfsClient, repo: str, folder: Path) -> None:
    with ImageSite(folder) as site:
        site.stall_on("0.jpg")
        running = Push(pfs, repo=repo, branch="master", key="k", batch=Batch(list(list_folder(site.url))))
        pushing = InThread(running.run)
        assert site.stalled.wait(60)
        running.stop()
        with pytest.raises(PachydermError, match="was stopped"):
            pushing.result()
    assert pfs.list_commits(repo) == []


def test_a_connection_cut_in_the_middle_is_bridged(lab: Lab, repo: str, folder: Path) -> None:
    if lab.target.tls:
        pytest.skip("a proxy cannot stand in for a server with TLS")
    with CuttingProxy(lab.target.address) as proxy:
        for pfs in client(lab, fast(60), port=proxy.port):
            proxy.cut_after(300_000, times=2)
            push(pfs, repo, folder)
            assert proxy.cuts == 2
    assert len(lab.commits(repo)) == 1
    assert lab.files(repo) == expected(folder)


# Races


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
    assert [(commit.commit_set, commit.finished) for commit in pfs.list_commits(repo)] == [(later.commit_set, True)]


def test_parallel_pushes_make_one_commit_each(lab: Lab, repo: str, folder: Path) -> None:
    pfs = PfsClient(Server(lab.hook.connection, retry=fast(60)))

    def one(number: int) -> PushResult:
        return push(pfs, repo, [SourceFile(f"/{number}.jpg", str(folder / f"{number}.jpg"))], key=f"k{number}")

    with ThreadPoolExecutor(6) as pool:
        made = {result.commit_set for result in pool.map(one, range(6))}
    pfs.server.close()
    assert (len(made), set(lab.commits(repo))) == (6, made)
    assert set(lab.files(repo)) == {f"/{number}.jpg" for number in range(6)}


def test_somebody_elses_open_commit_is_waited_for(pfs: PfsClient, repo: str, folder: Path) -> None:
    other = pfs.start_commit_once(repo, "master", "by hand")
    with logged("airflow_pachyderm.client.push", "Waiting for commit") as waiting:
        pushing = InThread(push, pfs, repo, folder)
        assert waiting.wait(60)
    pfs.finish_commit(other)
    pushed = pushing.result()
    assert [commit.commit_set for commit in pfs.list_commits(repo)] == [pushed.commit_set, other.commit_set]


def test_one_that_stays_open_is_named_and_left_alone(pfs: PfsClient, repo: str, folder: Path) -> None:
    other = pfs.start_commit_once(repo, "master", "by hand")
    with pytest.raises(PachydermConflictError, match=rf"{other.commit_set} .*is open for more than 0 s \(description: by hand\)"):
        push(pfs, repo, folder, branch_timeout=0.1)
    assert [(commit.commit_set, commit.finished) for commit in pfs.list_commits(repo)] == [(other.commit_set, False)]


def test_one_whose_owner_is_gone_is_dropped(pfs: PfsClient, repo: str, folder: Path) -> None:
    class Gone(Owner):
        def is_gone(self, commit: Commit) -> bool:
            return commit.description.endswith("by a/b/c/-1")

    pfs.start_commit_once(repo, "master", "[airflow:a/b/c/-1#0123456789abcdef] 1 files, try 0123abcd by a/b/c/-1")
    pushed = push(pfs, repo, folder, owner=Gone("d/e/f/-1"), branch_timeout=0.1)
    (commit,) = pfs.list_commits(repo)
    assert (commit.commit_set, commit.description.endswith(" by d/e/f/-1")) == (pushed.commit_set, True)
