"""The whole stack of one machine: minipachd and Airflow's four components, started in order, stopped in order."""

import contextlib
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from laptop.airflow import COMPONENTS, Airflow, AirflowSettings, environment
from laptop.database import migrate, own_database, take_over
from laptop.errors import StartError
from laptop.layout import Layout, free_port
from laptop.postgres import Postgres, clean_environment
from laptop.processes import Process, boot_id, start, stop
from laptop.sockets import SocketFolder

log = logging.getLogger(__name__)

PACHD_PORT = 30650
AIRFLOW_PORT = 8080
PACHD_START_SECONDS = 60.0
AIRFLOW_START_SECONDS = 300.0


@dataclass
class Stack:
    """What runs. :func:`start_stack` makes one, :meth:`save` and :meth:`load` carry it from ``make up`` to ``make down``.

    :ivar env: Environment of Airflow's components; kept in memory only, since it holds secrets.
    """

    layout: Layout
    airflow: AirflowSettings
    pachd_address: str = ""
    processes: dict[str, Process] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)

    def client(self) -> Airflow:
        """A logged-in REST client; close it, or use it as a context manager."""
        client = Airflow(self.airflow)
        client.login()
        return client

    def start_pachd(self) -> None:
        """Start minipachd on the data of earlier runs, and return when its port answers.

        :raises StartError: It ended or did not answer; the message holds its log's end.
        """
        port = int(self.pachd_address.rpartition(":")[2] or 0) or free_port(PACHD_PORT)
        command = [sys.executable, "-m", "minipachd", "--data", str(self.layout.pachd_data), "--listen", f"127.0.0.1:{port}"]
        process, output = start("minipachd", command, env=os.environ, log_file=self.layout.logs / "minipachd.log", stdout=subprocess.PIPE)
        self.processes["minipachd"] = process
        self.save()
        ready, _, address = _first_line(output, PACHD_START_SECONDS).partition(" ")
        if ready != "ready":
            self._give_up("minipachd did not start", process)
        self.pachd_address = address
        self.save()

    def start_database(self) -> None:
        """Start PostgreSQL, unless ``TUSKWATCH_DATABASE`` names another one, and return when it takes connections.

        :raises StartError: See the message.
        """
        if own_database(os.environ) is not None:
            return
        postgres = Postgres.of(self.layout)
        postgres.initialize()
        env = clean_environment(os.environ)
        process, _ = start("postgres", postgres.command(), env=env, log_file=self.layout.logs / "postgres.log")
        self.processes["postgres"] = process
        self.save()
        postgres.wait_ready(lambda: process.alive, process.log_tail)

    def start_component(self, name: str) -> None:
        """Start one of Airflow's components. It is not ready yet when this returns."""
        # Logs are read from disk on one machine; the log servers of scheduler and triggerer would listen on every interface.
        flags = ["--skip-serve-logs"] if name in {"scheduler", "triggerer"} else []
        command = [sys.executable, "-m", "airflow", name, *flags]
        self.processes[name], _ = start(name, command, env=self.env, log_file=self.layout.logs / f"{name}.log")
        self.save()

    def start_airflow(self, *, extra: Mapping[str, str]) -> None:
        """Migrate Airflow's database, start the four components, and return when all are healthy.

        :raises StartError: See the message.
        """
        self.layout.airflow_home.mkdir(parents=True, exist_ok=True)
        _write_private(self.layout.airflow_home / "passwords.json", {"admin": self.airflow.password, "viewer": secrets.token_urlsafe(16)})
        own = own_database(os.environ)
        base, database = (os.environ, own) if own is not None else (clean_environment(os.environ), Postgres.of(self.layout).url)
        self.env = environment(base, self.layout, self.airflow, database=database, pachd_address=self.pachd_address, extra=extra)
        migrate(self.env)
        take_over(self.layout, self.env)
        for name in COMPONENTS:
            self.start_component(name)
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Return when all four components are healthy.

        :raises StartError: One of them ended, or they are not healthy in time.
        """
        deadline = time.monotonic() + AIRFLOW_START_SECONDS
        with Airflow(self.airflow) as client:
            while not (client.healthy() and client.is_ours()):
                for name in COMPONENTS:
                    if not self.processes[name].alive:
                        self._give_up(f"Airflow's {name} ended", self.processes[name])
                if time.monotonic() > deadline:
                    self._give_up(f"Airflow was not healthy within {AIRFLOW_START_SECONDS:.0f} s", self.processes["api-server"])
                time.sleep(0.25)

    def stop(self) -> None:
        """Stop every process, Airflow before minipachd. Data stays. It cannot be interrupted, and takes a minute at most."""
        last = ("minipachd", "postgres")
        with _uninterrupted():
            stop([process for name, process in self.processes.items() if name not in last])
            for name in last:
                stop([self.processes[name]] if name in self.processes else [])
            SocketFolder.of(self.layout).remove()
            self.processes.clear()
            self.layout.state.unlink(missing_ok=True)

    def save(self) -> None:
        """Remember the processes on disk, so that another command can stop them, also after this one was killed."""
        state = {
            "pachd_address": self.pachd_address,
            "airflow": asdict(self.airflow),
            "boot": boot_id(),
            "processes": [{"name": p.name, "pid": p.pid, "created": p.created, "log": str(p.log)} for p in self.processes.values()],
        }
        _write_private(self.layout.state, state)

    @classmethod
    def load(cls, layout: Layout) -> "Stack | None":
        """The stack that an earlier command left, or None."""
        try:
            state: dict[str, Any] = json.loads(layout.state.read_text())
        except FileNotFoundError:
            return None
        known = state["processes"] if state.get("boot") == boot_id() else []  # none outlives the machine's restart
        processes = {p["name"]: Process(p["name"], p["pid"], p["created"], Path(p["log"])) for p in known}
        return cls(layout, AirflowSettings(**state["airflow"]), state["pachd_address"], processes)

    def _give_up(self, what: str, process: Process) -> None:
        msg = f"{what}; the end of {process.log}:\n{process.log_tail()}"
        raise StartError(msg)


@contextlib.contextmanager
def running_stack(layout: Layout, *, extra: Mapping[str, str]) -> Iterator[Stack]:
    """A started stack that is stopped on the way out, whatever happens in between."""
    stack = new_stack(layout)
    try:
        start_stack(stack, extra=extra)
        yield stack
    finally:
        stack.stop()


def new_stack(layout: Layout) -> Stack:
    """A stack that is not started yet. What an earlier command left running on the same folder is stopped first."""
    if (earlier := Stack.load(layout)) is not None:
        if any(process.alive for process in earlier.processes.values()):
            log.warning("stopping what an earlier command left running in %s", layout.root)
        earlier.stop()
    layout.root.mkdir(parents=True, exist_ok=True)
    settings = AirflowSettings(
        port=free_port(AIRFLOW_PORT),
        password=secrets.token_urlsafe(16),
        jwt_secret=secrets.token_urlsafe(64),
        secret_key=secrets.token_urlsafe(32),
    )
    return Stack(layout, settings)


def start_stack(stack: Stack, *, extra: Mapping[str, str]) -> None:
    """Start minipachd, PostgreSQL, then Airflow; say how long each took."""
    for name, begin in (
        ("minipachd", stack.start_pachd),
        ("PostgreSQL", stack.start_database),
        ("Airflow", lambda: stack.start_airflow(extra=extra)),
    ):
        started = time.monotonic()
        log.info("starting %s", name)
        begin()
        log.info("%s is up after %.1f s", name, time.monotonic() - started)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C, pressed again by somebody who cannot wait, and the other signals to end do nothing meanwhile."""
    if threading.current_thread() is not threading.main_thread():  # only that one gets signals, and may say what they do
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_line(stream: IO[str] | None, timeout: float) -> str:
    """The first line that a process prints; empty when it ended or printed nothing within ``timeout`` seconds."""
    assert stream is not None  # noqa: S101 - asked for with PIPE
    line: list[str] = []

    def read() -> None:
        with stream:
            line.append(stream.readline().strip())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout)
    return line[0] if line else ""


def _write_private(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
    temporary.replace(path)
