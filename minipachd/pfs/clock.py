"""Clocks: threads that act when something is due, and outlive every error."""

import logging
import threading
import time
from collections.abc import Callable

from minipachd.pfs.engine import Pfs
from minipachd.pfs.triggers import next_tick, tick

log = logging.getLogger(__name__)

RETRY_NS = 60 * 10**9
_LONGEST_WAIT_SECONDS = 60.0
"""Waiting does not notice that the machine's clock was set, nor that the machine slept: so it is looked at now and then."""


class Clock:
    """A thread that acts, waits until something is due or has changed, and acts again.

    :param act: Does what is due and says when the next thing is, in nanoseconds since the epoch; None when nothing is to come.
        Whatever it raises is logged, and it is called again in a minute.
    """

    def __init__(self, name: str, pfs: Pfs, act: Callable[[], int | None]) -> None:
        self._changes, self._act = pfs.changes, act
        self._stopping = False
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._changes.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        while True:
            seen = self._changes.version
            if self._stopping:
                return
            try:
                due_ns = self._act()
            except Exception:  # the edge of this thread: what is due later must come all the same
                log.exception("%s failed, next try in a minute", self._thread.name)
                due_ns = time.time_ns() + RETRY_NS
            self._changes.wait(seen, None if due_ns is None else min(_LONGEST_WAIT_SECONDS, max(0.0, (due_ns - time.time_ns()) / 1e9)))


def trigger_clock(pfs: Pfs) -> Clock:
    """Moves branches when their cron spec says so. What came due while no server ran is not made up for."""
    done_ns = time.time_ns()

    def act() -> int | None:
        nonlocal done_ns
        now_ns = time.time_ns()
        done_ns = min(done_ns, now_ns)  # the clock may have been set back
        with pfs.snapshot() as view:
            due_ns = next_tick(view, done_ns)
        if due_ns is None or due_ns > now_ns:
            return due_ns
        with pfs.transaction() as txn:
            tick(txn, done_ns, now_ns)
        done_ns = now_ns
        with pfs.snapshot() as view:
            return next_tick(view, done_ns)

    return Clock("trigger clock", pfs, act)
