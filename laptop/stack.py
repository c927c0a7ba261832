"""The whole stack of one machine: PostgreSQL, minipachd and Airflow's four components below a supervisor, started and stopped in order."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from laptop.airflow import COMPONENTS, Airflow, AirflowSettings, environment
from laptop.database import migrate, own_database, take_over
from laptop.errors import StartError
from laptop.files import read_json, write_private
from laptop.keys import keys, pachd_token, write_passwords
from laptop.layout import REPOSITORY, Layout, free_port
from laptop.part import FILE, Part
from laptop.postgres import Postgres, clean_environment
from laptop.processes import Process, boot_id, of_pid, stop
from laptop.sockets import SocketFolder
from laptop.supervisor import Supervisor

log = logging.getLogger(__name__)

PACHD_PORT = 30650
AIRFLOW_PORT = 8080
PACHD_START_SECONDS = 180.0
AIRFLOW_START_SECONDS = 900.0  # a part that ends is told at once: this is for slow and busy machines
_STOP_SECONDS = 75.0  # the supervisor stops Airflow's parts together, then minipachd, then PostgreSQL
_DATABASE = "postgres"
_PACHD = "minipachd"
_SUPERVISOR = "supervisor"


@dataclass
class Stack:
    """What runs. :func:`start_stack` makes one, :meth:`save` and :meth:`load` carry it from ``make up`` to ``make down``.

    :ivar process: The supervisor.
    :ivar env: Environment of Airflow's components; kept in memory only, since it holds secrets.
    :ivar older: What a version without a supervisor left running.
    """

    layout: Layout
    airflow: AirflowSettings
    pachd_address: str = ""
    process: Process | None = None
    env: dict[str, str] = field(default_factory=dict)
    older: list[Process] = field(default_factory=list)
    _read: int = 0

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.layout)

    @property
    def processes(self) -> dict[str, Process]:
        """The parts that run at this moment, by name."""
        running = {name: state.pid for name, state in self.supervisor.states().items() if state.pid}
        found = {name: of_pid(name, pid, self.layout.logs / f"{name}.log") for name, pid in running.items()}
        return {name: process for name, process in found.items() if process is not None}

    @property
    def pachd_token(self) -> str:
        """What minipachd's callers must show."""
        return pachd_token(self.layout)

    def client(self) -> Airflow:
        """A logged-in REST client; close it, or use it as a context manager."""
        client = Airflow(self.airflow)
        client.login()
        return client

    def start(self, *, extra: Mapping[str, str]) -> None:
        """Start everything in order; return when all of Airflow is healthy.

        :param extra: More environment of Airflow.
        :raises StartError: See the message.
        """
        own = own_database(os.environ)
        base, database = (os.environ, own) if own is not None else (clean_environment(os.environ), Postgres.of(self.layout).url)
        if not self.pachd_address:
            self.pachd_address = f"127.0.0.1:{free_port(PACHD_PORT)}"
        pachd = {"pachd_address": self.pachd_address, "pachd_token": self.pachd_token}
        self.env = environment(base, self.layout, self.airflow, database=database, **pachd, extra=extra)
        if own is None:
            Postgres.of(self.layout).initialize()
        self.process = self.supervisor.start(self._parts(embedded=own is None), group=frozenset(COMPONENTS))
        self.save()
        self._begin_pachd()
        if own is None:
            self._start_database()
        self.layout.airflow_home.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_passwords(self.layout, self.airflow)
        migrate(self.env)
        take_over(self.layout, self.env)
        for name in COMPONENTS:
            self.start_component(name)
        self._wait_pachd()
        self.wait_healthy()

    def _parts(self, *, embedded: bool) -> dict[str, Part]:
        listen = ["--listen", self.pachd_address, "--token-file", str(self.layout.pachd_token)]
        pachd = [sys.executable, "-m", "minipachd", "--data", str(self.layout.pachd_data), *listen]
        folder = str(REPOSITORY)
        parts = {}
        if embedded:  # ended by SIGINT it closes its connections; by SIGTERM it would wait for the clients to do so
            env = clean_environment(os.environ)
            parts[_DATABASE] = Part(Postgres.of(self.layout).command(), env, "/", stop="INT")
        parts[_PACHD] = Part(pachd, dict(os.environ), folder, umask="022")
        for name in COMPONENTS:
            # Logs are read from disk on one machine; the log servers of scheduler and triggerer would listen on every interface.
            flags = ["--skip-serve-logs"] if name in {"scheduler", "triggerer"} else []
            # -P: the repository is on the path once, by the environment; found twice, its plugin is an import error on Airflow's home page
            parts[name] = Part([sys.executable, "-P", "-m", "airflow", name, *flags], self.env, folder)
        return parts

    def start_pachd(self) -> None:
        """Start minipachd on the data of earlier runs, and return when it serves.

        :raises StartError: It ended or did not answer; the message holds its log's end.
        """
        self._begin_pachd()
        self._wait_pachd()

    def _begin_pachd(self) -> None:
        log_file = self.layout.logs / f"{_PACHD}.log"
        self._read = log_file.stat().st_size if log_file.exists() else 0
        self.supervisor.start_part(_PACHD)

    def _wait_pachd(self) -> None:
        log_file = self.layout.logs / f"{_PACHD}.log"
        deadline = time.monotonic() + PACHD_START_SECONDS
        while f"ready {self.pachd_address}" not in _read_from(log_file, self._read):
            if self.supervisor.states()[_PACHD].down or time.monotonic() > deadline:
                self._give_up("minipachd did not start", _PACHD)
            time.sleep(0.1)

    def _start_database(self) -> None:
        self.supervisor.start_part(_DATABASE)
        log_file = self.layout.logs / f"{_DATABASE}.log"
        Postgres.of(self.layout).wait_ready(lambda: not self.supervisor.states()[_DATABASE].down, lambda: _end_of(log_file))

    def start_component(self, name: str) -> None:
        """Start one of Airflow's components, unless it runs. It is not ready yet when this returns."""
        self.supervisor.start_part(name)

    def stop_part(self, name: str) -> None:
        """Stop a part; nobody starts it again until :meth:`start_pachd` or :meth:`start_component` does."""
        self.supervisor.stop_part(name)

    def wait_healthy(self) -> None:
        """Return when all four components are healthy.

        :raises StartError: One of them ended, or they are not healthy in time.
        """
        deadline = time.monotonic() + AIRFLOW_START_SECONDS
        with Airflow(self.airflow) as client:
            while not (self._serves() and client.healthy()):
                states = self.supervisor.states()
                for name in COMPONENTS:
                    if states[name].down:
                        self._give_up(f"Airflow's {name} ended", name)
                if time.monotonic() > deadline:
                    self._give_up(f"Airflow was not healthy within {AIRFLOW_START_SECONDS:.0f} s", "api-server")
                time.sleep(0.25)

    def _serves(self) -> bool:
        """Whether it is our own process that listens on the port: whoever else took it must not be sent the password."""
        pid = self.supervisor.states()["api-server"].pid
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            family = (found := psutil.Process(pid), *found.children(recursive=True)) if pid else ()
            sockets = [socket for process in family for socket in process.net_connections("tcp4")]
            return any(socket.status == psutil.CONN_LISTEN and socket.laddr.port == self.airflow.port for socket in sockets)
        return False

    def stop(self) -> None:
        """Stop every process, Airflow before what it uses. Data stays. It cannot be interrupted, and takes a minute and a half at most."""
        with _uninterrupted():
            stop(self.older)
            stop([self.process] if self.process is not None else [], timeout=_STOP_SECONDS)
            SocketFolder.of(self.layout).remove()
            self.process = None
            (self.layout.run / FILE).unlink(missing_ok=True)
            self.layout.state.unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """Whether it runs: its supervisor does, which starts everything else again."""
        return (self.process is not None and self.process.alive) or any(process.alive for process in self.older)

    def save(self) -> None:
        """Remember the supervisor on disk, so that another command can stop it, also after this one was killed."""
        assert self.process is not None  # noqa: S101 - started before
        mine = self.process
        state = {
            "pachd_address": self.pachd_address,
            "airflow": asdict(self.airflow),
            "boot": boot_id(),
            "processes": [{"name": mine.name, "pid": mine.pid, "created": mine.created, "log": str(mine.log)}],
        }
        write_private(self.layout.state, state)

    @classmethod
    def load(cls, layout: Layout) -> "Stack | None":
        """The stack that an earlier command left, or None."""
        state = read_json(layout.state)
        if state is None:
            return None
        here = state.get("boot") == boot_id()  # no process outlives the machine's restart
        known = [Process(**{**found, "log": Path(found["log"])}) for found in state["processes"]] if here else []
        supervisor = next((process for process in known if process.name == _SUPERVISOR), None)
        older = [process for process in known if process is not supervisor]
        return cls(layout, AirflowSettings(**state["airflow"]), state["pachd_address"], supervisor, older=older)

    def _give_up(self, what: str, name: str) -> None:
        log_file = self.layout.logs / f"{name}.log"
        msg = f"{what}; the end of {log_file}:\n{_end_of(log_file)}"
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


def new_stack(layout: Layout, *, port: int | None = None) -> Stack:
    """A stack that is not started yet. What an earlier command left running on the same folder is stopped first.

    :param port: Of Airflow; by default 8080, or a free one where somebody else has that.
    :raises StartError: The port is taken.
    """
    if (earlier := Stack.load(layout)) is not None:
        if earlier.alive:
            log.warning("stopping what an earlier command left running in %s", layout.root)
        earlier.stop()
    try:
        for mended in layout.make_private():
            log.warning(mended)
    except OSError as error:
        msg = f"cannot keep data in {layout.root}: {error}; start as the user who owns it, or name another folder: TUSKWATCH_LOCAL=folder"
        raise StartError(msg) from error
    chosen = free_port(AIRFLOW_PORT if port is None else port)
    if port is not None and chosen != port:
        msg = f"port {port} of 127.0.0.1 is taken by another program: choose another one, such as make up PORT={port + 1}"
        raise StartError(msg)
    kept = keys(layout)
    settings = AirflowSettings(
        port=chosen,
        password=kept["password"],
        jwt_secret=kept["jwt_secret"],
        secret_key=kept["secret_key"],
        viewer_password=kept["viewer_password"],
    )
    return Stack(layout, settings)


def start_stack(stack: Stack, *, extra: Mapping[str, str]) -> None:
    """Start everything; say how long it took."""
    started = time.monotonic()
    log.info("starting PostgreSQL, minipachd and Airflow")
    stack.start(extra=extra)
    log.info("all of it is up after %.1f s", time.monotonic() - started)


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


def _read_from(path: Path, offset: int) -> str:
    """What was written to a log since; all of it, when it was begun anew meanwhile."""
    try:
        with path.open("rb") as file:
            file.seek(offset if path.stat().st_size >= offset else 0)
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _end_of(path: Path, lines: int = 20) -> str:
    return "\n".join(_read_from(path, 0).splitlines()[-lines:])
