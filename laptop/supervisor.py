"""What starts the stack's parts again: ``supervisord``, with settings that we write, spoken to over its socket."""

import json
import os
import sys
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from supervisor.xmlrpc import SupervisorTransport

from laptop.errors import StartError
from laptop.files import write_private
from laptop.layout import Layout
from laptop.listener import SUPERVISOR_LOG
from laptop.part import FILE, Part
from laptop.processes import Process, start, wait_until
from laptop.sockets import SocketFolder

AIRFLOW: Final = "airflow"  # group of Airflow's parts: they stop together, before what they use
_SOCKET: Final = "s"
_START_SECONDS: Final = 60.0
_STEADY_SECONDS: Final = 20  # who ends before has failed to start: the pause before the next try grows by a second each time
_DOWN: Final = frozenset({"BACKOFF", "EXITED", "FATAL"})

# The paths are relative to the stack's folder, in which the supervisor runs: they need no quoting, whatever that folder is called.
_HEAD: Final = f"""\
[supervisord]
nodaemon=true
logfile=logs/{SUPERVISOR_LOG}
logfile_maxbytes=5MB
logfile_backups=1
pidfile=run/supervisord.pid
childlogdir=logs
minfds=256
minprocs=16
umask=077
{{user}}
[unix_http_server]
file={{socket}}
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[eventlistener:listener]
command=/bin/sh -c 'exec "$TUSKWATCH_PYTHON" -P -m laptop.listener'
events=PROCESS_STATE_EXITED,PROCESS_STATE_BACKOFF
stderr_logfile=logs/listener.log
stderr_logfile_maxbytes=1MB
stderr_logfile_backups=0
"""
_PROGRAM: Final = """\
[program:{name}]
command=/bin/sh -c 'exec "$TUSKWATCH_PYTHON" -P -m laptop.part {name}'
priority={priority}
autostart=false
autorestart=true
startsecs={steady}
startretries=1000000
stopsignal={stop}
stopwaitsecs={seconds}
killasgroup=true
umask={umask}
redirect_stderr=true
stdout_logfile=logs/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


@dataclass(frozen=True)
class PartState:
    """How a part is.

    :ivar state: The supervisor's word: ``STOPPED``, ``STARTING``, ``RUNNING``, ``BACKOFF``, …
    :ivar since: Seconds since the epoch of its last start, or end where it does not run; 0 where it was never started.
    """

    name: str
    group: str
    state: str
    pid: int
    since: int

    @property
    def down(self) -> bool:
        """Whether it ended unasked and is not started again yet."""
        return self.state in _DOWN


class Supervisor:
    """The supervisor of one stack, running or not.

    :raises StartError: From every call, when it does not answer.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sockets = SocketFolder.of(layout)

    @property
    def log(self) -> Path:
        return self._layout.logs / SUPERVISOR_LOG

    def start(self, parts: Mapping[str, Part], *, group: frozenset[str]) -> Process:
        """Start the supervisor; it starts no part yet.

        :param parts: By name, in the order of starting; they are stopped in the opposite one.
        :param group: Names of those that are stopped together.
        """
        layout = self._layout
        layout.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.restarts.unlink(missing_ok=True)
        write_private(layout.run / FILE, {name: asdict(part) for name, part in parts.items()})
        (layout.run / "supervisord.conf").write_text(self._settings(parts, group), encoding="utf-8")
        env = {**os.environ, "TUSKWATCH_PYTHON": sys.executable}
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", "run/supervisord.conf"]
        process, _ = start("supervisor", command, env=env, log_file=layout.logs / "supervisor.out", cwd=layout.root)
        wait_until(lambda: self.answers() or not process.alive, seconds=_START_SECONDS)
        if not self.answers():
            msg = f"the supervisor did not start; the end of {process.log}:\n{process.log_tail()}"
            raise StartError(msg)
        return process

    def _settings(self, parts: Mapping[str, Part], group: frozenset[str]) -> str:
        socket = self._sockets.path / _SOCKET
        named = socket.relative_to(self._layout.root) if socket.is_relative_to(self._layout.root) else socket
        text = [_HEAD.format(socket=named, user="user=root" if os.geteuid() == 0 else "")]
        for number, (name, part) in enumerate(parts.items()):
            program = {"steady": _STEADY_SECONDS, "stop": part.stop, "seconds": part.stop_seconds, "umask": part.umask}
            text.append(_PROGRAM.format(name=name, priority=10 + number, **program))
        if group:
            text.append(f"[group:{AIRFLOW}]\nprograms={','.join(name for name in parts if name in group)}\npriority=900\n")
        return "".join(text)

    def answers(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except StartError:
            return False

    def states(self) -> dict[str, PartState]:
        """How each part is, by name."""
        found = [info for info in self._call("getAllProcessInfo") if info["group"] != "listener"]
        return {
            one["name"]: PartState(one["name"], one["group"], one["statename"], one["pid"], one["start"] if one["pid"] else one["stop"])
            for one in found
        }

    def start_part(self, name: str) -> None:
        """Start a part; it need not be ready yet when this returns. One that runs already goes on."""
        if self.states()[name].state not in ("STARTING", "RUNNING"):
            self._call("startProcess", self._full(name), False)

    def stop_part(self, name: str) -> None:
        """Stop a part; it stays down until it is started."""
        wait_until(lambda: self.states()[name].state != "EXITED", seconds=_START_SECONDS)  # which lasts until it is started again
        if self.states()[name].state not in ("STOPPED", "FATAL"):
            self._call("stopProcess", self._full(name), True)

    def _full(self, name: str) -> str:
        return f"{self.states()[name].group}:{name}"

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._sockets.path / _SOCKET}")
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, xmlrpc.client.Error) as error:
            msg = f"the supervisor of {self._layout.root} does not answer {method}: {error}; see {self.log}, and make up starts it"
            raise StartError(msg) from error


def restarts(layout: Layout) -> list[dict[str, Any]]:
    """What ended unasked since the start, the oldest first: part, time, how, log."""
    path = layout.restarts
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
