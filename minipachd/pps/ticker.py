"""The clock of cron inputs: a thread that adds a file to their repos when a tick is due."""

import logging
import threading
import time

from minipachd.pfs import DEFAULT_TAG, BranchKey, FileEntry, Pfs, Txn, View
from minipachd.pps import records
from minipachd.pps.cron import parse_schedule, tick_path, tick_time
from minipachd.pps.plan import leaf_repo
from minipachd.pps.spec import CronInput, leaves

log = logging.getLogger(__name__)

_RETRY_NS = 60 * 10**9


class Ticker:
    """Ticks for every pipeline that is not stopped. After a time when the server was down, one tick stands for all that were missed."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="cron ticker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._pfs.changes.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        while True:
            seen = self._pfs.changes.version
            if self._stopping:
                return
            try:
                due_ns = self._write_due_ticks()
            except Exception:  # the edge of this thread: later ticks must come all the same
                log.exception("cron inputs failed, next try in a minute")
                due_ns = time.time_ns() + _RETRY_NS
            self._pfs.changes.wait(seen, None if due_ns is None else max(0.0, (due_ns - time.time_ns()) / 1e9))

    def _write_due_ticks(self) -> int | None:
        """:return: When the next tick is due; None when there is none to come."""
        with self._pfs.snapshot() as view:
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
                with self._pfs.transaction() as txn:
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
