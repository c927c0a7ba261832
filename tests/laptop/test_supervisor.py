"""The supervisor with small parts: real processes that end."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from laptop.airflow import AirflowSettings
from laptop.commands import up
from laptop.layout import Layout
from laptop.part import Part
from laptop.processes import wait_until
from laptop.stack import Stack
from laptop.supervisor import restarts
from laptop.upkeep import status

WAITS = "import os, signal; print('at work', os.environ.get('KEY'), flush=True); signal.pause()"
FAILS = "import sys; sys.exit('no such table: things')"
LEAVES_A_TASK = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAITS!r}], process_group=0); {WAITS}"


def part(code: str, **env: str) -> Part:
    return Part([sys.executable, "-c", code], env, "/")


@contextmanager
def supervised(root: Path, **parts: Part) -> Iterator[Stack]:
    stack = Stack(Layout(root), AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"), "127.0.0.1:2")
    try:
        stack.process = stack.supervisor.start(parts, group=frozenset({"steady"} & parts.keys()))
        stack.save()
        for name in parts:
            stack.supervisor.start_part(name)
        yield stack
    finally:
        stack.stop()


def log_of(stack: Stack, name: str) -> str:
    path = stack.layout.logs / f"{name}.log"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("name", ["plain", "a ;#'\"%d", "d" * 100])
def test_a_killed_part_is_started_again_and_the_status_says_so(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with supervised(tmp_path / name, steady=part(WAITS), other=part(WAITS)) as stack:
        assert wait_until(lambda: all("at work" in log_of(stack, name) for name in ("steady", "other")), seconds=30)
        before = {name: process.pid for name, process in stack.processes.items()}

        os.kill(before["other"], signal.SIGKILL)
        assert wait_until(lambda: "other" in (now := stack.processes) and now["other"].pid != before["other"], seconds=30)
        assert wait_until(lambda: bool(restarts(stack.layout)), seconds=30)
        fine = status(stack.layout)

        assert stack.processes["steady"].pid == before["steady"]
        (noted,) = restarts(stack.layout)
        assert (noted["part"], noted["how"]) == ("other", "terminated by SIGKILL")
        assert set(noted["log"]) == {"at work None"}  # on a busy machine that of the next start too
        session = stack.process.session() if stack.process else []
        assert len(session) >= 4  # the supervisor, its listener, two parts
    said = capsys.readouterr().out
    assert fine
    assert "other ended (terminated by SIGKILL) and was started again" in said
    assert "started again 1 times" in said
    assert "    at work None" in said
    assert not [process for process in session if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_part_that_cannot_start_is_tried_again_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with supervised(tmp_path, hopeless=part(FAILS)) as stack:
        assert wait_until(lambda: len(restarts(stack.layout)) >= 3, seconds=60)
        assert stack.supervisor.states()["hopeless"].state in ("BACKOFF", "STARTING")
        status(stack.layout)

    assert {(entry["how"], entry["log"][-1]) for entry in restarts(Layout(tmp_path))} == {("exit status 1", "no such table: things")}
    assert "no such table: things" in capsys.readouterr().out


def test_a_part_that_was_stopped_stays_so(tmp_path: Path) -> None:
    with supervised(tmp_path, steady=part(WAITS)) as stack:
        stack.stop_part("steady")
        assert stack.processes == {}
        assert restarts(stack.layout) == []

        stack.start_component("steady")
        assert list(stack.processes) == ["steady"]


def test_stopping_takes_what_parts_have_started(tmp_path: Path) -> None:
    with supervised(tmp_path, steady=part(LEAVES_A_TASK)) as stack:
        assert wait_until(lambda: log_of(stack, "steady").count("at work") == 2, seconds=30)
        assert stack.process is not None
        session = stack.process.session()

    assert len(session) == 4
    assert not [process for process in session if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_a_secret_reaches_its_part_alone(tmp_path: Path) -> None:
    with supervised(tmp_path, steady=part(WAITS, KEY="hidden"), other=part(WAITS)) as stack:
        assert wait_until(lambda: "at work hidden" in log_of(stack, "steady"), seconds=30)
        assert wait_until(lambda: "at work None" in log_of(stack, "other"), seconds=30)
        assert "hidden" not in (stack.layout.run / "supervisord.conf").read_text()
        assert {path.stat().st_mode & 0o077 for path in (stack.layout.run, stack.layout.run / "parts.json", stack.layout.logs)} == {0}

    assert not (stack.layout.run / "parts.json").exists()


def test_up_while_it_runs_says_where_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with supervised(tmp_path, steady=part(WAITS)) as stack:
        before = (stack.layout.state.read_bytes(), {name: process.pid for name, process in stack.processes.items()})

        up(stack.layout, model=tmp_path / "another.pb", images=None, port=9)

        assert before == (stack.layout.state.read_bytes(), {name: process.pid for name, process in stack.processes.items()})
    said = capsys.readouterr().out
    assert "it runs already" in said
    assert "http://127.0.0.1:1 " in said


def test_the_status_says_that_nobody_starts_anything_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not status(Layout(tmp_path))
    with supervised(tmp_path, steady=part(WAITS)) as stack:
        assert stack.process is not None
        stack.process.signal(signal.SIGKILL)
        assert wait_until(lambda: not stack.alive, seconds=30)
        assert not status(stack.layout)

    said = capsys.readouterr().out
    assert "nothing runs" in said
    assert "the supervisor of" in said
