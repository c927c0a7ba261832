import contextlib
import http.server
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from laptop.__main__ import _parser
from laptop.airflow import COMPONENTS, Airflow, AirflowSettings, environment
from laptop.errors import LaptopError, StartError
from laptop.files import write_private
from laptop.layout import REPOSITORY, Layout
from laptop.part import Part
from laptop.processes import Process, boot_id, start
from laptop.stack import Stack

HEALTH = {key: {"status": "healthy"} for key in ("metadatabase", "scheduler", "triggerer", "dag_processor")}


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Squatter:
    """A healthy Airflow that is not ours, and what it was sent."""

    port: int = 0
    posted: list[bytes] = field(default_factory=list)


@pytest.fixture
def other_airflow() -> Iterator[Squatter]:
    squatter = Squatter()

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, HEALTH)

        def do_POST(self) -> None:
            squatter.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(201, {"access_token": "ours now"})

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
    squatter.port = server.server_port
    yield squatter
    server.shutdown()
    thread.join()
    server.server_close()


def test_who_took_our_port_is_not_sent_the_password(other_airflow: Squatter, tmp_path: Path) -> None:
    settings = AirflowSettings(port=other_airflow.port, password="ours", jwt_secret="j", secret_key="s")
    stack = Stack(Layout(tmp_path), settings)
    # ours cannot bind: it says so and ends
    cannot = Part([sys.executable, "-c", "import sys; sys.exit('address already in use')"], {}, "/")
    stack.process = stack.supervisor.start(dict.fromkeys(COMPONENTS, cannot), group=frozenset(COMPONENTS))
    try:
        for name in COMPONENTS:
            stack.start_component(name)
        with pytest.raises(StartError, match="address already in use"):
            stack.wait_healthy()
    finally:
        stack.stop()

    assert other_airflow.posted == []


@contextlib.contextmanager
def starts_again(calls: list[str], *, seconds: float = 0.0) -> Iterator[Airflow]:
    """A client of a server that is there from the second call on.

    :param calls: Gets the method of each call.
    :param seconds: What the first answer takes.
    """

    class StartsAgain(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            calls.append(self.command)
            time.sleep(seconds if len(calls) == 1 else 0)
            self.send_response(503 if len(calls) == 1 else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_GET(self) -> None:
            self.answer()

        def do_PATCH(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), StartsAgain) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with Airflow(AirflowSettings(port=server.server_port, password="p", jwt_secret="j", secret_key="s")) as client:
                yield client
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("method", "asked"), [("GET", 2), ("PATCH", 2), ("POST", 1)])
def test_a_server_that_starts_again_is_asked_again_unless_that_would_do_it_twice(method: str, asked: int) -> None:
    calls: list[str] = []
    with starts_again(calls) as client, contextlib.suppress(LaptopError):
        client.call(method, "/api/v2/anything", {})

    assert calls == [method] * asked


def test_a_first_answer_that_takes_longer_than_our_patience_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a very busy machine."""
    monkeypatch.setattr("laptop.airflow._PATIENCE_SECONDS", 0.1)
    calls: list[str] = []
    with starts_again(calls, seconds=0.2) as client:
        assert client.call("GET", "/api/v2/anything") == {}


@pytest.mark.parametrize("exempt", [{}, {"no_proxy": "site.example"}, {"NO_PROXY": "site.example"}], ids=["none", "lower", "upper"])
def test_tasks_reach_airflow_past_a_proxy(
    other_airflow: Squatter, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exempt: dict[str, str]
) -> None:
    """Airflow's tasks call its server with a client that heeds the environment's proxy."""
    settings = AirflowSettings(port=other_airflow.port, password="p", jwt_secret="j", secret_key="s")
    base = {"HTTP_PROXY": f"http://127.0.0.1:{free_port}", "http_proxy": f"http://127.0.0.1:{free_port}", **exempt}
    env = environment(base, Layout(tmp_path), settings, database="postgresql://", pachd_address="127.0.0.1:1", extra={})
    for name in ("NO_PROXY", "no_proxy", *base):
        monkeypatch.setenv(name, env.get(name, ""))

    assert httpx.get(f"{settings.url}/api/v2/monitor/health").json() == HEALTH
    assert ("site.example" in env["no_proxy"]) == bool(exempt)


def test_what_an_earlier_command_started_can_be_stopped_by_another(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    stack = Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"))
    process, _ = start("supervisor", [sys.executable, "-c", "import signal; signal.pause()"], env={}, log_file=tmp_path / "m.log")
    stack.process = process
    stack.save()

    loaded = Stack.load(layout)
    assert loaded is not None
    loaded.stop()

    assert not process.alive
    assert Stack.load(layout) is None
    assert layout.state.exists() is False


def test_what_a_version_without_a_supervisor_left_running_is_stopped(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    process, _ = start("minipachd", [sys.executable, "-c", "import signal; signal.pause()"], env={}, log_file=tmp_path / "m.log")
    known = {"name": process.name, "pid": process.pid, "created": process.created, "log": str(process.log)}
    airflow = {"port": 1, "password": "p", "jwt_secret": "j", "secret_key": "s", "parallelism": 4}
    write_private(layout.state, {"pachd_address": "h:1", "airflow": airflow, "boot": boot_id(), "processes": [known]})

    loaded = Stack.load(layout)
    assert loaded is not None
    assert loaded.alive
    loaded.stop()

    assert not process.alive
    assert Stack.load(layout) is None


def test_processes_of_before_a_restart_of_the_machine_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers, and those of their sessions, are other processes' by now."""
    layout = Layout(tmp_path)
    stack = Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"))
    process, _ = start("supervisor", [sys.executable, "-c", "import signal; signal.pause()"], env={}, log_file=tmp_path / "m.log")
    stack.process = process
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
    command = [sys.executable, "-c", HURRIES_ITS_PARENT]
    process, output = start("supervisor", command, env={}, log_file=tmp_path / "supervisor.log", stdout=subprocess.PIPE)
    assert output is not None
    with output:
        output.readline()
    stack.process = process
    stack.save()

    try:
        stack.stop()
    except KeyboardInterrupt:
        pytest.fail("stopping was interrupted")

    assert not process.alive
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
    variables = ["KEEP=file", "PARTS=load", "MODEL=m.pb", "IMAGES=folder", "PORT=8090"]
    command = ["make", "-n", "--no-print-directory", target, *variables]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of the make that runs the tests
    printed = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True).stdout
    _, _, arguments = printed.splitlines()[-1].partition(" -m laptop ")

    options = _parser().parse_args(shlex.split(arguments))

    assert (options.command, str(options.model), str(options.images)) == (target, "m.pb", "folder")
    assert getattr(options, "port", None) == (8090 if target == "up" else None)


def test_the_state_with_its_password_is_for_its_owner_only(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    stack = Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"))
    stack.process = Process("supervisor", 1, 0.0, tmp_path / "log")
    stack.save()

    assert layout.state.stat().st_mode & 0o777 == 0o600
