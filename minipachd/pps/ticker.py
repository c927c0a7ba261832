"""The clock of cron inputs: adds a file to their repos when a tick is due."""

import logging
import time
from functools import partial

from minipachd.errors import MinipachdError
from minipachd.pfs import DEFAULT_TAG, BranchKey, FileEntry, Pfs, Txn, View
from minipachd.pfs.clock import RETRY_NS, Clock
from minipachd.pps import records
from minipachd.pps.cron import parse_schedule, tick_path, tick_time
from minipachd.pps.plan import leaf_repo
from minipachd.pps.spec import CronInput, leaves

log = logging.getLogger(__name__)

_SLACK_NS = 60 * 10**9  # clocks are put right by seconds all the time


def ticker(pfs: Pfs) -> Clock:
    """Ticks for every pipeline that is not stopped. After a time when the server was down, one tick stands for all that were missed."""
    return Clock("cron ticker", pfs, partial(_write_due_ticks, pfs))


def _write_due_ticks(pfs: Pfs) -> int | None:
    """:return: When the next tick is due; None when there is none to come."""
    with pfs.snapshot() as view:
        running = [pipeline for pipeline in records.list_pipelines(view.db) if not pipeline.stopped]
    made_ns = {leaf: pipeline.created_ns for pipeline in running for leaf in leaves(pipeline.spec.input) if isinstance(leaf, CronInput)}
    upcoming = []
    for leaf, created_ns in made_ns.items():
        try:
            upcoming.append(_write_due_tick(pfs, leaf, created_ns))
        except Exception as exc:  # somebody holds its commit open, say: the others tick all the same
            trace = not isinstance(exc, MinipachdError)
            log.warning("cron input %s of repo %s cannot tick, next try in a minute: %s", leaf.name, leaf_repo(leaf), exc, exc_info=trace)
            upcoming.append(time.time_ns() + RETRY_NS)
    return min((due_ns for due_ns in upcoming if due_ns is not None), default=None)


def _write_due_tick(pfs: Pfs, leaf: CronInput, made_ns: int) -> int | None:
    """:return: When the input's next tick is due; None for never."""
    following, now_ns = parse_schedule(leaf.spec), time.time_ns()
    with pfs.snapshot() as view:
        due_ns = following(_last_tick(view, leaf, made_ns, latest_ns=now_ns + _SLACK_NS))
    if due_ns is not None and due_ns <= now_ns:
        after_ns = following(due_ns)
        tick_ns = now_ns if after_ns is not None and after_ns <= now_ns else due_ns
        with pfs.transaction() as txn:
            write_tick(txn, leaf, tick_ns)
        due_ns = following(tick_ns)
    return due_ns


def write_tick(txn: Txn, leaf: CronInput, tick_ns: int) -> None:
    """Commit one tick: an empty file named by its time, alone when the input says ``overwrite``."""
    repo = leaf_repo(leaf)
    commit = txn.start_commit(BranchKey(repo, "master"))
    delete = [("/", DEFAULT_TAG)] if leaf.overwrite else []
    txn.write_files(commit.key, delete=delete, put=[FileEntry(tick_path(tick_ns), DEFAULT_TAG, 0, b"")])
    txn.finish_commit(commit.key)


def _last_tick(view: View, leaf: CronInput, made_ns: int, *, latest_ns: int) -> int:
    """When the input ticked last; its start before that.

    :param made_ns: When its pipeline was made.
    :param latest_ns: Later moments are of a clock that was ahead, and do not count: they would keep off all that come first.
    """
    files = view.files(view.commit(view.branch(BranchKey(leaf_repo(leaf), "master")).head))
    ticks = [moment for info in files.list("/") if (moment := tick_time(info.path)) is not None and moment <= latest_ns]
    started_ahead = leaf.start_ns <= made_ns and made_ns > latest_ns  # one that is to come only because the clock was wrong
    return max([0 if started_ahead else leaf.start_ns, *ticks])
