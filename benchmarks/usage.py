"""What the processes that a benchmark has started cost: wall time, CPU seconds, and the most memory at once."""

import contextlib
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

_LEAST_PAUSE_SECONDS: Final = 0.25
_SHARE: Final = 10  # a look may take up to a tenth of one core


class Usage:
    """A context manager around work that is done by the descendants of this process; this process itself is not counted.

    :ivar wall_seconds: From enter to exit.
    :ivar cpu_seconds: User and system time of all descendants, also of those that ended and were waited for by their parents.
    :ivar peak_mib: The most memory that they held together at one look, memory that they share counted once (PSS).
    """

    wall_seconds = 0.0
    cpu_seconds = 0.0
    peak_mib = 0.0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._cpu = cpu_seconds()
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wall_seconds = time.perf_counter() - self._started
        self.cpu_seconds = cpu_seconds() - self._cpu
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            started = time.perf_counter()
            self.peak_mib = max(self.peak_mib, memory_mib())
            pause = max(_LEAST_PAUSE_SECONDS, _SHARE * (time.perf_counter() - started))


def cpu_seconds() -> float:
    """CPU time of all descendants of this process so far."""
    mine = psutil.Process().cpu_times()
    total = mine.children_user + mine.children_system
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return float(total)


def memory_mib() -> float:
    """Memory of all descendants of this process now."""
    return sum(_pss_bytes(process) for process in psutil.Process().children(recursive=True)) / 2**20


def _pss_bytes(process: psutil.Process) -> int:
    """Its memory, where shared pages count in parts; the resident size where the system does not let us look closer."""
    try:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        with contextlib.suppress(psutil.Error):
            return int(process.memory_info().rss)
    return 0
