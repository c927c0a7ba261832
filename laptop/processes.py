"""Long-running child processes: started with a log file each, remembered by id, stopped without leaving anything behind."""

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

log = logging.getLogger(__name__)

STOP_SECONDS = 30.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Process:
    """One started component.

    :ivar created: Start time in seconds since the machine booted, since the clock may be set meanwhile: with ``pid`` it names the process
        even after the number was given to another one.
    """

    name: str
    pid: int
    created: float
    log: Path

    @property
    def alive(self) -> bool:
        return self._find() is not None

    def _find(self) -> psutil.Process | None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(_created(process) - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def session(self) -> list[psutil.Process]:
        """What runs of the component and of all that it started, also after it ended itself: a task has a process group of its own."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            if abs(_created(psutil.Process(self.pid)) - self.created) >= 1:
                return []  # the number is another's, which it cannot be while our session has anybody
        for pid in psutil.pids():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
                if os.getsid(pid) == self.pid and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def signal(self, number: signal.Signals) -> None:
        if (process := self._find()) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the process wrote."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError as error:
            return f"(no log: {error})"


def of_pid(name: str, pid: int, log_file: Path) -> Process | None:
    """A process that somebody else started; None where it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return Process(name, pid, _created(psutil.Process(pid)), log_file)
    return None


def start(
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log_file: Path,
    stdout: int | None = None,
    cwd: Path | None = None,
) -> tuple[Process, IO[str] | None]:
    """Start a component in a session of its own, so that Ctrl-C in the terminal reaches us alone and we stop it in order.

    :param stdout: ``subprocess.PIPE`` to read what it prints; otherwise that goes to the log as well.
    :param cwd: The folder to start it in.
    :return: The process, and its standard output where it was asked for.
    """
    _reap()
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as sink:
        child = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink if stdout is None else stdout,
            stderr=sink,
            start_new_session=True,
            umask=0o077,
            cwd=cwd,
            text=True,
        )
    _children[child.pid] = child
    return Process(name, child.pid, _created(psutil.Process(child.pid)), log_file), child.stdout


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Return when it is so, or after ``seconds``: whether it is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def boot_id() -> str:
    """Names the time since the machine booted; empty where the system does not tell."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def _created(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()  # psutil has added the one to what the kernel says


_children: dict[int, subprocess.Popen[str]] = {}  # held until they are reaped, so that none is left a zombie


def _reap() -> None:
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]


def stop(processes: Iterable[Process], *, timeout: float = STOP_SECONDS) -> list[Process]:
    """SIGTERM to each component alone, then SIGKILL to what is still there of its session when it has ended, or after ``timeout`` seconds.

    Airflow's scheduler can hang for a long time when its workers get the signal too: hence only the component first.

    :param processes: Also those that ended before: what they started may still run.
    :return: Those that had to be killed.
    """
    processes = list(processes)
    running = [process for process in processes if process.alive]
    for process in running:
        process.signal(signal.SIGTERM)
    found = [found for process in running if (found := process._find()) is not None]  # noqa: SLF001 - our own class
    psutil.wait_procs(found, timeout=timeout)
    stubborn = [process for process in running if process.alive]
    for process in processes:
        if process in stubborn:
            log.warning("%s (pid %d) did not stop within %.0f s and is killed", process.name, process.pid, timeout)
        _kill_session(process)
        if (child := _children.get(process.pid)) is not None:
            child.wait(timeout=timeout)
    _reap()
    return stubborn


def _kill_session(process: Process) -> None:
    for _ in range(5):  # something may be forked meanwhile
        if not (left := process.session()):
            return
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=1)
