import http.server
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop.airflow import COMPONENTS, AirflowSettings
from laptop.errors import StartError
from laptop.layout import Layout
from laptop.processes import start
from laptop.stack import Stack

HEALTH = {key: {"status": "healthy"} for key in ("metadatabase", "scheduler", "triggerer", "dag_processor")}


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


def test_the_state_with_its_password_is_for_its_owner_only(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s")).save()

    assert layout.state.stat().st_mode & 0o777 == 0o600
