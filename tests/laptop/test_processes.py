import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from laptop.processes import Process, start, stop

IGNORES_SIGTERM = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); signal.pause()"
# As Airflow does: the child is a task, in a process group of its own.
LEAVES_A_TASK = (
    "import subprocess, sys, signal; child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], process_group=0);"
    " print(child.pid, flush=True); signal.pause()"
)
LEAVES_A_CHILD = (
    "import subprocess, sys, signal; child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
    " print(child.pid, flush=True); signal.pause()"
)


def started(tmp_path: Path, code: str) -> tuple[Process, str]:
    process, output = start(
        "sample", [sys.executable, "-c", code], env=os.environ, log_file=tmp_path / "sample.log", stdout=subprocess.PIPE
    )
    assert output is not None
    with output:
        return process, output.readline().strip()


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process, _ = started(tmp_path, IGNORES_SIGTERM)

    assert stop([process], timeout=0.5) == [process]

    assert not process.alive


@pytest.mark.parametrize("code", [LEAVES_A_CHILD, LEAVES_A_TASK], ids=["child", "task"])
@pytest.mark.parametrize("died", [False, True], ids=["stopped", "died before"])
def test_stopping_takes_the_children_that_a_component_leaves_behind(tmp_path: Path, code: str, died: bool) -> None:
    process, child = started(tmp_path, code)
    if died:  # as the kernel kills what takes too much memory
        process.signal(signal.SIGKILL)
        psutil.wait_procs([psutil.Process(process.pid)], timeout=10)

    assert stop([process], timeout=10) == []

    psutil.wait_procs([psutil.Process(int(child))] if psutil.pid_exists(int(child)) else [], timeout=10)
    assert not psutil.pid_exists(int(child)) or psutil.Process(int(child)).status() == psutil.STATUS_ZOMBIE


def test_a_process_is_found_after_the_clock_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system reckons start times from when it booted by the present clock."""
    process, _ = started(tmp_path, LEAVES_A_CHILD)
    booted = psutil.boot_time()
    for module in (psutil, psutil._psplatform):
        monkeypatch.setattr(module, "boot_time", lambda: booted + 90)

    assert process.alive
    stop([process], timeout=10)

    assert not process.alive


def test_a_process_is_not_taken_for_another_that_was_given_its_number(tmp_path: Path) -> None:
    mine = Process("somebody else", os.getpid(), created=1.0, log=tmp_path / "none.log")

    assert not mine.alive
    mine.signal(signal.SIGKILL)  # would end this test run


def test_the_log_holds_what_the_process_wrote(tmp_path: Path) -> None:
    process, _ = started(tmp_path, "import sys; print('ready', flush=True); print('a\\nlast words', file=sys.stderr)")

    psutil.wait_procs([psutil.Process(process.pid)], timeout=10) if process.alive else None
    stop([process])

    assert process.log_tail(1) == "last words"
