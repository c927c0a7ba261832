"""A worker's hold on its user code: one launcher process, and below it one command at a time."""

import contextlib
import enum
import json
import logging
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from minipachd.errors import MinipachdError
from minipachd.pps import launcher, orphans

log = logging.getLogger(__name__)

READ_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 16


class ProcessStartError(MinipachdError):
    """A command could not be started: not found, not executable, no such working directory."""


class LauncherDiedError(MinipachdError):
    """The launcher ended, which it never does by itself: killed from outside, or out of memory."""


class HiddenOutputError(LauncherDiedError):
    """The command saw another output directory than we do: nothing else can run in there."""


class Wake(enum.Enum):
    """Why :meth:`Sandbox.wait` returned."""

    EXITED = enum.auto()
    POKED = enum.auto()
    TIMED_OUT = enum.auto()


class Sandbox:
    """Runs commands that see ``work_dir/pfs`` at ``/pfs``, where the system allows it, and leaves none of their processes behind.

    All methods but :meth:`poke` belong to the one thread that uses it.

    :param work_dir: Exists; ``pfs`` is made in it.
    :param on_lines: Gets the lines that the command prints, without their newlines, some at a time.
    :param namespace: False leaves ``/pfs`` alone even where it could be made.
    :param secrets: Directories that cannot be written to, by where the commands are to see them.
    :param hidden: Directories that are to look empty to them.
    """

    def __init__(
        self,
        work_dir: Path,
        *,
        on_lines: Callable[[Sequence[bytes]], None],
        namespace: bool = True,
        secrets: Mapping[str, Path] = MappingProxyType({}),
        hidden: Sequence[Path] = (),
    ) -> None:
        self.work_dir, self.pfs_root = work_dir, work_dir / "pfs"
        self.pfs_root.mkdir(exist_ok=True)
        self.pfs_root.chmod(0o755)  # whatever the umask is: commands may run as another user
        self._out = str(self.pfs_root / "out")
        staging = work_dir / "root"
        staging.mkdir(exist_ok=True)
        self._on_lines = on_lines
        self._poke_read, self._poke_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._output: int | None = None
        self._partial = b""
        self._running = False
        self._exit_status = 0
        self._poke_lock = threading.Lock()
        self._closed = False
        ours, theirs = socket.socketpair()
        self._control = ours
        view = {
            "pfs_root": str(self.pfs_root),
            "secrets": [(str(source), target) for target, source in secrets.items()],
            "hidden": [str(path) for path in hidden],
            "staging": str(staging),
        }
        with orphans.LOCK:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", launcher.__file__, str(theirs.fileno()), json.dumps(view if namespace else None)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={},
                cwd=work_dir,
            )
            orphans.known.add(self._process.pid)
        theirs.close()
        hello = self._receive()
        self.isolated: bool = hello["isolated"]
        self.isolation_error: str = hello["reason"]

    @property
    def mount_point(self) -> Path:
        """Where the command finds its ``pfs`` directory."""
        return Path("/pfs") if self.isolated else self.pfs_root

    @property
    def default_cwd(self) -> Path:
        """A directory in which ``pfs/...`` works as it does in ``/``."""
        return self.work_dir

    @property
    def running(self) -> bool:
        return self._running

    @property
    def exit_status(self) -> int:
        """Of the last command, once it is not :attr:`running`; a negative number is the signal that ended it."""
        return self._exit_status

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: bytes = b"", user: tuple[int, int] | None = None
    ) -> None:
        """Start a command in a session of its own; its output goes to ``on_lines`` while this thread is in :meth:`wait`.

        :param user: Ids of the user and group to become; only root can.
        :raises ProcessStartError: Nothing runs.
        """
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        source = os.memfd_create("stdin", os.MFD_CLOEXEC)
        uid, gid = user if user is not None else (None, None)
        request = {"op": "start", "argv": list(argv), "env": dict(env), "cwd": str(cwd), "user": uid, "group": gid}
        try:
            with os.fdopen(os.dup(source), "wb") as file:
                file.write(stdin)
            os.lseek(source, 0, os.SEEK_SET)
            self._send(request, [source, write_end])
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(source)
            os.close(write_end)
        self._output, self._partial, self._running = read_end, b"", True

    def wait(self, *, deadline: float | None = None) -> Wake:
        """Pass output on until the command ended with all its processes, :meth:`poke` was called, or the time is over.

        :param deadline: On the clock of ``time.monotonic``.
        :raises ProcessStartError: The command that :meth:`start` asked for could not be started.
        """
        while self._running:
            poller = select.poll()
            poller.register(self._control, select.POLLIN)
            poller.register(self._poke_read, select.POLLIN)
            if self._output is not None:
                poller.register(self._output, select.POLLIN)
            timeout = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = {descriptor for descriptor, _ in poller.poll(timeout)}
            if not ready:
                return Wake.TIMED_OUT
            if self._output in ready:
                self._read_output()
            if self._poke_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._poke_read, 4096)
                self._drain_output()
                return Wake.POKED
            if self._control.fileno() in ready:
                self._finish(self._receive())
        return Wake.EXITED

    def kill(self) -> None:
        """End the command and everything it started, and wait for that."""
        if not self._running:
            return
        self._send({"op": "kill"}, [])
        with contextlib.suppress(ProcessStartError):
            while self._running:
                self._finish(self._receive())

    def poke(self) -> None:
        """Make :meth:`wait` return; from any thread."""
        with self._poke_lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._poke_write, b"x")

    def close(self) -> None:
        """End everything. The launcher kills what runs when its socket closes."""
        with self._poke_lock:
            if self._closed:
                return
            self._closed = True
            os.close(self._poke_read)
            os.close(self._poke_write)
        self._control.close()
        status = self._process.wait()
        with orphans.LOCK:
            orphans.known.discard(self._process.pid)
        if status != 0:  # it was killed: what it looked after is ours
            orphans.kill()
        self._close_output()
        self._running = False

    def _finish(self, message: dict[str, Any]) -> None:
        self._running = False
        try:
            self._drain_output()
        finally:
            self._close_output()
        if "start_error" in message:
            raise ProcessStartError(str(message["start_error"]))
        self._exit_status = int(message["exit"])
        self._check_out(message["out"])

    def _check_out(self, seen: list[int] | None) -> None:
        """Whether the command's output directory was the one that we collect from: what it wrote elsewhere is not its output."""
        if not self.isolated or seen is None:
            return  # a missing one fails when it is collected
        try:
            ours = os.stat(self._out)  # noqa: PTH116 - once for each datum
        except OSError:
            return
        if ours.st_ino != seen[1] or ours.st_dev != seen[0]:
            raise HiddenOutputError("something was mounted over /pfs/out: what was written there is not in the datum's output")

    def _drain_output(self) -> None:
        while self._output is not None and self._read_output():
            pass

    def _read_output(self) -> bool:
        """Pass on one read's worth of lines; False when there is nothing to read now."""
        if self._output is None:
            return False
        try:
            data = os.read(self._output, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close_output()
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        if lines:
            self._on_lines(lines)
        if len(self._partial) >= MAX_LINE_BYTES:  # a program that never ends its line must not fill our memory
            self._on_lines([self._partial])
            self._partial = b""
        return True

    def _close_output(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None
        if self._partial:
            self._on_lines([self._partial])
            self._partial = b""

    def _send(self, message: Mapping[str, object], descriptors: list[int]) -> None:
        data = json.dumps(message).encode()
        try:
            socket.send_fds(self._control, [struct.pack(">I", len(data))], descriptors)
            self._control.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as exc:
            raise LauncherDiedError(f"launcher {self._process.pid} of {self.work_dir} is gone") from exc

    def _receive(self) -> dict[str, Any]:
        (size,) = struct.unpack(">I", self._receive_exactly(4))
        message: dict[str, Any] = json.loads(self._receive_exactly(size))
        return message

    def _receive_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._control.recv(size - len(data))
            if not piece:
                self._running = False
                raise LauncherDiedError(f"launcher {self._process.pid} of {self.work_dir} is gone")
            data += piece
        return data
