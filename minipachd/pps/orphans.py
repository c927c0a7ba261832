"""Processes that user code left behind when it killed the launcher that looks after them.

They become the server's children, since it asked for that, and are told from its own by their session: a command never runs in the
server's.
"""

import contextlib
import ctypes
import os
import signal
import threading
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TRIES, _PAUSE_SECONDS = 100, 0.01

LOCK = threading.Lock()
"""Held while a launcher is started and written down."""
known: set[int] = set()
"""The launchers that run."""
_adopted = threading.Event()


def adopt() -> None:
    """Become the parent of what is left behind by a launcher that was killed."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _adopted.set()


def kill() -> None:
    """SIGKILL whoever was left behind, until nobody is: a killed parent's children become ours. Nothing happens before :func:`adopt`."""
    if not _adopted.is_set():
        return
    for _ in range(_TRIES):
        with LOCK:
            left = _orphans()
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        if not left:
            return
        time.sleep(_PAUSE_SECONDS)


def _orphans() -> list[int]:
    """Children of ours that are neither launchers nor in our session."""
    ours, found = os.getsid(0), []
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in (thread / "children").read_text().split()]
    orphans = []
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            if pid not in known and os.getsid(pid) != ours:
                orphans.append(pid)
    return orphans
