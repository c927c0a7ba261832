"""Triggers with a cron spec, and clocks that go on after an error."""

import queue
import time
from types import SimpleNamespace

import pytest

from minipachd.pfs import BranchKey, Pfs, RepoKey, Trigger, commits
from minipachd.pfs import clock as clocks
from minipachd.pfs.clock import Clock, trigger_clock
from minipachd.storage import DataDirectory

REPO = RepoKey("default", "in")
MASTER, SLOW = BranchKey(REPO, "master"), BranchKey(REPO, "slow")
BELOW = BranchKey(RepoKey("default", "below"), "master")


@pytest.fixture
def pfs(tmp_path):
    with DataDirectory(tmp_path) as directory:
        pfs = Pfs(directory)
        yield pfs
        pfs.close()


def test_a_branch_follows_at_the_next_tick_and_downstream_follows_it(pfs):
    clock = trigger_clock(pfs)
    clock.start()
    with pfs.transaction() as txn:
        txn.create_repo(REPO)
        txn.create_repo(BELOW.repo)
        txn.create_branch(SLOW, trigger=Trigger("master", cron_spec="* * * * * */1"))  # every second
        txn.create_branch(BELOW, provenance=[SLOW])
    seen = pfs.changes.version
    with pfs.transaction() as txn:
        commit = txn.start_commit(MASTER)
        assert txn.head(SLOW).id != commit.id
        txn.finish_commit(commit.key)
    while True:
        with pfs.snapshot() as view:
            if view.head(SLOW).id == commit.id:
                break
        assert pfs.changes.wait(seen, 20)
        seen = pfs.changes.version
    with pfs.snapshot() as view:
        below = view.head(BELOW)
        assert [found.id for found in below.direct_provenance] == [commit.id]
        assert below.id != commit.id
    clock.stop()


def test_a_clock_goes_on_after_any_error(pfs, monkeypatch, caplog):
    monkeypatch.setattr(clocks, "RETRY_NS", 1)
    answers = iter([RuntimeError("no such thing"), OSError("disk"), None])
    acted = queue.Queue()

    def act():
        answer = next(answers)
        acted.put(answer)
        if answer is not None:
            raise answer

    clock = Clock("a clock", pfs, act)
    clock.start()
    assert [type(acted.get(timeout=20)) for _ in range(3)] == [RuntimeError, OSError, type(None)]
    clock.stop()
    assert [record.message for record in caplog.records] == ["a clock failed, next try in a minute"] * 2


def test_a_clock_that_is_set_forward_or_slept_through_is_noticed(pfs, monkeypatch):
    """Waiting is done on a clock that knows of neither."""
    monkeypatch.setattr(clocks, "_LONGEST_WAIT_SECONDS", 0.01, raising=False)
    acted = queue.Queue()

    def act():
        acted.put(None)
        return time.time_ns() + 3600 * 10**9

    clock = Clock("a clock", pfs, act)
    clock.start()
    for _ in range(3):
        acted.get(timeout=10)
    clock.stop()


def test_a_branch_follows_after_the_clock_was_set_back(pfs, monkeypatch):
    ahead_ns = 4 * 10**18  # the year 2096: a machine that starts without knowing the time
    monkeypatch.setattr(clocks, "time", SimpleNamespace(time_ns=lambda: ahead_ns))
    clock = trigger_clock(pfs)
    monkeypatch.undo()
    clock.start()
    with pfs.transaction() as txn:
        txn.create_repo(REPO)
        txn.create_branch(SLOW, trigger=Trigger("master", cron_spec="* * * * * */1"))
    with pfs.transaction() as txn:
        commit = txn.start_commit(MASTER)
        txn.finish_commit(commit.key)
    while True:
        seen = pfs.changes.version
        with pfs.snapshot() as view:
            if view.head(SLOW).id == commit.id:
                break
        assert pfs.changes.wait(seen, 10), "it never follows"
    clock.stop()


def test_a_limited_branch_follows_after_the_clock_was_set_back(pfs, monkeypatch):
    with pfs.transaction() as txn:
        txn.create_repo(REPO)
        txn.create_branch(SLOW, trigger=Trigger("master", rate_limit_spec="* * * * *"))
    monkeypatch.setattr(commits, "time", SimpleNamespace(time_ns=lambda: 4 * 10**18))
    put(pfs)
    monkeypatch.undo()
    commit = put(pfs)
    with pfs.snapshot() as view:
        assert view.head(SLOW).id == commit.id
    put(pfs)
    with pfs.snapshot() as view:
        assert view.head(SLOW).id == commit.id, "once a minute"


def put(pfs):
    with pfs.transaction() as txn:
        return txn.finish_commit(txn.start_commit(MASTER).key)
