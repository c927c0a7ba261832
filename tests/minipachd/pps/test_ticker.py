"""Cron inputs tick whatever befalls the others, and whatever happens to the machine's clock."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minipachd.errors import InvalidError
from minipachd.pfs import BranchKey, Pfs, RepoKey, View
from minipachd.pps import Pps
from minipachd.pps.cron import tick_path
from minipachd.pps.spec import CronInput, PipelineKey, PipelineSpec, Transform
from minipachd.pps.ticker import ticker, write_tick
from minipachd.storage import DataDirectory

IN_2100_NS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 10**9


@pytest.fixture
def pfs(tmp_path: Path) -> Iterator[Pfs]:
    with DataDirectory(tmp_path) as directory:
        pfs = Pfs(directory)
        pfs.pps = Pps(pfs, directory)
        yield pfs
        pfs.close()


def cron(pfs: Pfs, name: str, spec: str = "@every 1s", *, overwrite: bool = False, start_ns: int = 1) -> CronInput:
    """A pipeline with nothing but a cron input, which has ticked last when the epoch began."""
    leaf = CronInput(name="tick", project="default", repo=f"{name}_tick", spec=spec, overwrite=overwrite, start_ns=start_ns)
    draft = PipelineSpec(pipeline=PipelineKey("default", name), transform=Transform(cmd=("true",)), input=leaf, salt="")
    with pfs.transaction() as txn:
        pfs.pps.create_pipeline(txn, draft)
    return leaf


def ticks(view: View, leaf: CronInput) -> list[str]:
    head = view.head(BranchKey(RepoKey(leaf.project, leaf.repo), "master"))
    return [file.path for file in view.files(head).list("/")]


def wait_for(pfs: Pfs, look: Callable[[View], bool]) -> None:
    while True:
        seen = pfs.changes.version
        with pfs.snapshot() as view:
            if look(view):
                return
        assert pfs.changes.wait(seen, 10), "nothing ticks any more"


def test_an_input_that_cannot_tick_does_not_keep_the_others_from_it(pfs: Pfs, caplog: pytest.LogCaptureFixture) -> None:
    well, stuck = cron(pfs, "well"), cron(pfs, "stuck")
    with pfs.transaction() as txn:
        open_commit = txn.start_commit(BranchKey(RepoKey("default", stuck.repo), "master"))
    clock = ticker(pfs)
    clock.start()

    wait_for(pfs, lambda view: len(ticks(view, well)) >= 2)

    assert "cron input tick of repo default/stuck_tick cannot tick" in caplog.text
    with pfs.transaction() as txn:
        txn.finish_commit(open_commit.key)
    wait_for(pfs, lambda view: len(ticks(view, stuck)) >= 1)
    clock.stop()


@pytest.mark.parametrize("overwrite", [False, True])
def test_ticks_of_a_clock_that_was_ahead_do_not_keep_off_those_that_come_first(pfs: Pfs, overwrite: bool) -> None:
    leaf = cron(pfs, "ahead", overwrite=overwrite)
    with pfs.transaction() as txn:
        write_tick(txn, leaf, IN_2100_NS)
    clock = ticker(pfs)
    clock.start()

    wait_for(pfs, lambda view: any(not path.startswith("/2100") for path in ticks(view, leaf)))

    clock.stop()


@pytest.mark.parametrize("spec", ["@every 24h", "@daily", "0 0 1 1 *"])
def test_a_clock_that_was_hours_ahead_costs_no_tick(pfs: Pfs, spec: str) -> None:
    """Less than the schedule's next tick away, a wrong one looked right."""
    leaf = cron(pfs, "ahead", spec)
    ahead_ns = time.time_ns() + 20 * 3600 * 10**9
    with pfs.transaction() as txn:
        write_tick(txn, leaf, ahead_ns)
    clock = ticker(pfs)
    clock.start()

    wait_for(pfs, lambda view: any(path < tick_path(ahead_ns) for path in ticks(view, leaf)))

    clock.stop()


def test_a_pipeline_that_was_made_while_the_clock_was_ahead_ticks_by_the_right_one(pfs: Pfs, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: right() + 20 * 3600 * 10**9)
        leaf = cron(pfs, "ahead", "@every 1s", start_ns=0)
    clock = ticker(pfs)
    clock.start()

    wait_for(pfs, lambda view: len(ticks(view, leaf)) >= 2)

    clock.stop()


def test_a_date_that_never_comes_is_refused(pfs: Pfs) -> None:
    with pytest.raises(InvalidError, match="error parsing cron-spec: '0 0 30 2"):
        cron(pfs, "february", "0 0 30 2 *")
