"""The clock of triggers with a cron spec."""

import logging
import threading
import time

from minipachd.errors import MinipachdError
from minipachd.pfs.engine import Pfs
from minipachd.pfs.triggers import next_tick, tick

log = logging.getLogger(__name__)


class TriggerClock:
    """A thread that moves branches when their cron spec says so. What came due while no server ran is not made up for."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name="trigger clock", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._pfs.changes.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        done_ns = time.time_ns()
        while True:
            seen = self._pfs.changes.version
            if self._stopping:
                return
            with self._pfs.snapshot() as view:
                due_ns = next_tick(view, done_ns)
            now_ns = time.time_ns()
            if due_ns is None or due_ns > now_ns:
                self._pfs.changes.wait(seen, None if due_ns is None else (due_ns - now_ns) / 1e9)
                continue
            try:
                with self._pfs.transaction() as txn:
                    tick(txn, done_ns, now_ns)
            except MinipachdError:
                log.exception("triggers that are due could not fire; they fire again when they are due next")
            done_ns = now_ns
