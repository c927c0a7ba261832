import http.server
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from laptop.__main__ import _parser
from laptop.airflow import COMPONENTS, AirflowSettings, environment
from laptop.errors import StartError
from laptop.layout import REPOSITORY, Layout
from laptop.processes import start
from laptop.stack import Stack

HEALTH = {key: {"status": "healthy"} for key in ("metadatabase", "scheduler", "triggerer", "dag_processor")}


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def other_airflow() -> Iterator[int]:
    """The port of a healthy Airflow that is not ours: it does not know our password."""

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, HEALTH)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(401, {"detail": "Invalid credentials"})

        def answer(self, code: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_airflow_that_took_our_port_is_not_taken_for_ours(other_airflow: int, tmp_path: Path) -> None:
    settings = AirflowSettings(port=other_airflow, password="ours", jwt_secret="j", secret_key="s")
    stack = Stack(Layout(tmp_path), settings)
    for name in COMPONENTS:  # ours cannot bind: it says so and ends
        command = [sys.executable, "-c", "import sys; sys.exit('address already in use')"]
        stack.processes[name], _ = start(name, command, env={}, log_file=tmp_path / f"{name}.log")

    with pytest.raises(StartError, match="address already in use"):
        stack.wait_healthy()

    stack.stop()


@pytest.mark.parametrize("exempt", [{}, {"no_proxy": "site.example"}, {"NO_PROXY": "site.example"}], ids=["none", "lower", "upper"])
def test_tasks_reach_airflow_past_a_proxy(
    other_airflow: int, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exempt: dict[str, str]
) -> None:
    """Airflow's tasks call its server with a client that heeds the environment's proxy."""
    settings = AirflowSettings(port=other_airflow, password="p", jwt_secret="j", secret_key="s")
    base = {"HTTP_PROXY": f"http://127.0.0.1:{free_port}", "http_proxy": f"http://127.0.0.1:{free_port}", **exempt}
    env = environment(base, Layout(tmp_path), settings, database="postgresql://", pachd_address="127.0.0.1:1", extra={})
    for name in ("NO_PROXY", "no_proxy", *base):
        monkeypatch.setenv(name, env.get(name, ""))

    assert httpx.get(f"{settings.url}/api/v2/monitor/health").json() == HEALTH
    assert ("site.example" in env["no_proxy"]) == bool(exempt)


def test_what_an_earlier_command_started_can_be_stopped_by_another(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    stack = Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"))
    process, _ = start("minipachd", [sys.executable, "-c", "import signal; signal.pause()"], env={}, log_file=tmp_path / "m.log")
    stack.processes["minipachd"] = process
    stack.save()

    loaded = Stack.load(layout)
    assert loaded is not None
    loaded.stop()

    assert not process.alive
    assert Stack.load(layout) is None
    assert layout.state.exists() is False


def test_processes_of_before_a_restart_of_the_machine_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers, and those of their sessions, are other processes' by now."""
    layout = Layout(tmp_path)
    stack = Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"))
    process, _ = start("minipachd", [sys.executable, "-c", "import signal; signal.pause()"], env={}, log_file=tmp_path / "m.log")
    stack.processes["minipachd"] = process
    stack.save()

    with monkeypatch.context() as patch:
        patch.setattr("laptop.stack.boot_id", lambda: "another")
        loaded = Stack.load(layout)
        assert loaded is not None
        loaded.stop()

    assert process.alive
    stack.stop()


HURRIES_ITS_PARENT = (
    "import os, signal; signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGINT)); print('on', flush=True);"
    " signal.pause()"
)


def test_a_second_interrupt_leaves_nothing_running(tmp_path: Path) -> None:
    stack = Stack(Layout(tmp_path), AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"))
    for name, code in (("scheduler", HURRIES_ITS_PARENT), ("minipachd", "import signal; print('on', flush=True); signal.pause()")):
        command = [sys.executable, "-c", code]
        stack.processes[name], output = start(name, command, env={}, log_file=tmp_path / f"{name}.log", stdout=subprocess.PIPE)
        assert output is not None
        with output:
            output.readline()
    processes = list(stack.processes.values())
    stack.save()

    try:
        stack.stop()
    except KeyboardInterrupt:
        pytest.fail("stopping was interrupted")

    assert [process.alive for process in processes] == [False, False]
    assert Stack.load(stack.layout) is None


def test_a_terminal_that_is_closed_stops_what_was_started() -> None:
    waits = "import sys, signal, laptop.commands as c, laptop.__main__ as m; c.down = lambda _: (print('on', flush=True), signal.pause())"
    heeds = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # the tests may run under nohup, which this would inherit
    command = [sys.executable, "-c", f"{heeds}; {waits}; sys.exit(m.main(['down']))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGHUP)
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()

    assert (process.returncode, errors) == (130, "\ninterrupted; everything that was started is stopped\n")


@pytest.mark.parametrize("target", ["demo", "up"])
def test_make_gives_the_command_only_what_it_takes(target: str) -> None:
    """KEEP and PARTS are of ``make bench``; they may stand in the environment of who runs it for hours."""
    variables = ["KEEP=file", "PARTS=load", "MODEL=m.pb", "IMAGES=folder"]
    command = ["make", "-n", "--no-print-directory", target, *variables]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of the make that runs the tests
    printed = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True).stdout
    _, _, arguments = printed.splitlines()[-1].partition(" -m laptop ")

    options = _parser().parse_args(shlex.split(arguments))

    assert (options.command, str(options.model), str(options.images)) == (target, "m.pb", "folder")


def test_the_state_with_its_password_is_for_its_owner_only(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s")).save()

    assert layout.state.stat().st_mode & 0o777 == 0o600
