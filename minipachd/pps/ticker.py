"""The clock of cron inputs: adds a file to their repos when a tick is due."""

import time
from functools import partial

from minipachd.pfs import DEFAULT_TAG, BranchKey, FileEntry, Pfs, Txn, View
from minipachd.pfs.clock import Clock
from minipachd.pps import records
from minipachd.pps.cron import parse_schedule, tick_path, tick_time
from minipachd.pps.plan import leaf_repo
from minipachd.pps.spec import CronInput, leaves


def ticker(pfs: Pfs) -> Clock:
    """Ticks for every pipeline that is not stopped. After a time when the server was down, one tick stands for all that were missed."""
    return Clock("cron ticker", pfs, partial(_write_due_ticks, pfs))


def _write_due_ticks(pfs: Pfs) -> int | None:
    """:return: When the next tick is due; None when there is none to come."""
    with pfs.snapshot() as view:
        lasts = {
            leaf: _last_tick(view, leaf)
            for pipeline in records.list_pipelines(view.db)
            if not pipeline.stopped
            for leaf in leaves(pipeline.spec.input)
            if isinstance(leaf, CronInput)
        }
    upcoming = []
    for leaf, last_ns in lasts.items():
        following = parse_schedule(leaf.spec)
        due_ns, now_ns = following(last_ns), time.time_ns()
        if due_ns is not None and due_ns <= now_ns:
            after = following(due_ns)
            tick_ns = now_ns if after is not None and after <= now_ns else due_ns
            with pfs.transaction() as txn:
                write_tick(txn, leaf, tick_ns)
            due_ns = following(tick_ns)
        if due_ns is not None:
            upcoming.append(due_ns)
    return min(upcoming, default=None)


def write_tick(txn: Txn, leaf: CronInput, tick_ns: int) -> None:
    """Commit one tick: an empty file named by its time, alone when the input says ``overwrite``."""
    repo = leaf_repo(leaf)
    commit = txn.start_commit(BranchKey(repo, "master"))
    delete = [("/", DEFAULT_TAG)] if leaf.overwrite else []
    txn.write_files(commit.key, delete=delete, put=[FileEntry(tick_path(tick_ns), DEFAULT_TAG, 0, b"")])
    txn.finish_commit(commit.key)


def _last_tick(view: View, leaf: CronInput) -> int:
    """When the input ticked last; its start before that."""
    files = view.files(view.commit(view.branch(BranchKey(leaf_repo(leaf), "master")).head))
    ticks = [moment for info in files.list("/") if (moment := tick_time(info.path)) is not None]
    return max([leaf.start_ns, *ticks])
