"""The small process between a worker and its user code: it makes ``/pfs``, starts the command, and leaves no process behind.

Each worker has one, for its whole life. It runs as ``python -I -S launcher.py FD VIEW``, where ``VIEW`` is JSON: the arguments of
:func:`isolate`, or null for none of that. It talks over the inherited socket ``FD``: messages are JSON behind a 4-byte big-endian length.
Reasons for a process of its own:

- the mount namespace that puts the worker's directory at ``/pfs`` belongs to a process, and one per datum would cost more than most datums;
- a fork from a small single-threaded process is fast and safe, one from the server is neither;
- when the server dies, by SIGKILL too, the socket closes, and everything that user code started is killed.

It imports the standard library only, and nothing of minipachd.
"""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_SLAVE, MS_RELATIME = 0x1, 0x20, 0x1000, 0x2000, 0x4000, 0x80000, 0x200000
KEPT_FLAGS = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME  # MS_ has the same numbers for these
PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 24, 36
CAP_LINUX_IMMUTABLE, CAP_SYS_MODULE, CAP_SYS_ADMIN, CAP_SYS_BOOT = 9, 16, 21, 22
DYING_SECONDS = 0.001
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = kind.encode() if kind else None
    _check(_libc.mount(source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), None), f"mount {source} on {target}")


def isolate(pfs_root: str, secrets: list[tuple[str, str]], hidden: list[str], staging: str) -> None:
    """Give this process and its children a view of the machine's files of their own. Nothing on the machine changes for that.

    :param pfs_root: To be seen at ``/pfs``.
    :param secrets: Directories, and where they are to be seen, unchangeable.
    :param hidden: Directories that are to look empty.
    :param staging: An empty directory.
    :raises OSError: The system does not allow it; this process then sees the files as they were, or some of them.
    """
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _check(_libc.unshare(CLONE_NEWNS), "unshare")
    else:
        _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWUSER), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _mount("none", "/", None, MS_REC | MS_SLAVE)  # what is unmounted on the machine is unmounted here, and never the other way round
    for source, target in [(pfs_root, "/pfs"), *secrets]:
        _make_directory(target, staging)
        _mount(source, target, None, MS_BIND)
    for _, target in secrets:
        flags = os.statvfs(target).f_flag  # those that the file system has already may not be taken away
        kept = flags & KEPT_FLAGS | (MS_RELATIME if flags & os.ST_RELATIME else 0)
        _mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept)
    for directory in hidden:
        _mount("tmpfs", directory, "tmpfs", 0)


def _make_directory(path: str, staging: str) -> None:
    """Have a directory at ``path``, in our view of the files: the nearest one above it that exists is replaced by a new one, put together
    from bind mounts of its entries."""
    above = Path(path)
    while not above.exists():
        above = above.parent
    if above == Path(path):
        return
    root = Path(staging)
    _mount("tmpfs", staging, "tmpfs", 0)
    for entry in os.scandir(above):
        target = root / entry.name
        if entry.is_symlink():
            target.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            target.mkdir()
            _mount(entry.path, str(target), None, MS_BIND | MS_REC)
        else:
            target.touch()
            _mount(entry.path, str(target), None, MS_BIND)
    (root / Path(path).relative_to(above)).mkdir(parents=True)
    if above == Path("/"):
        os.chdir(root)
        _mount(staging, "/", None, MS_MOVE)
        os.chroot(".")
        os.chdir("/")
    else:
        _mount(staging, str(above), None, MS_MOVE)


def forgo_rights() -> None:
    """Take from the commands that we start what no datum needs and what would outlive it: to mount, to make files unchangeable, to load
    modules, to stop the machine. Without root nobody had these rights."""
    for capability in (CAP_LINUX_IMMUTABLE, CAP_SYS_MODULE, CAP_SYS_ADMIN, CAP_SYS_BOOT):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails where we have no right to, and then there is none to lose


class Launcher:
    """Runs one command at a time on request of the server at the other end of ``control``.

    :param out: The output directory as commands see it.
    """

    def __init__(self, control: socket.socket, out: str) -> None:
        self._out = out
        self._control = control
        self._child: subprocess.Popen[bytes] | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = wake_read
        self._selector.register(wake_read, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal: the server decides
        signal.set_wakeup_fd(wake_write)
        _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans come to us, however they try to get away

    def serve(self) -> None:
        """Until the server closes its end."""
        while True:
            for key, _ in self._selector.select():
                if key.fd == self._wake:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                    self._reap()
                elif not self._handle_request():
                    self._kill_everything()
                    return

    def send(self, **message: object) -> None:
        data = json.dumps(message).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server is gone: serve() sees the end next
            self._control.sendall(struct.pack(">I", len(data)) + data)

    def _handle_request(self) -> bool:
        """:return: False when the server is gone."""
        try:
            return self._next_request()
        except ConnectionResetError:  # it was killed before it had read all that we sent
            return False

    def _next_request(self) -> bool:
        header, descriptors, _, _ = socket.recv_fds(self._control, 4, 2)
        if not header:
            return False
        while len(header) < 4:
            header += self._control.recv(4 - len(header))
        size = struct.unpack(">I", header)[0]
        body = bytearray()
        while len(body) < size:
            piece = self._control.recv(min(size - len(body), 1 << 20))
            if not piece:
                return False
            body += piece
        request = json.loads(body)
        if request["op"] == "start":
            self._start(request, *descriptors)
        elif self._child is not None:
            with contextlib.suppress(ProcessLookupError):  # not Popen.kill, which might collect the exit status that _reap waits for
                os.kill(self._child.pid, signal.SIGKILL)
        return True

    def _start(self, request: dict[str, Any], stdin: int, output: int) -> None:
        try:
            self._child = subprocess.Popen(
                request["argv"],
                stdin=stdin,
                stdout=output,
                stderr=output,
                cwd=request["cwd"],
                env=request["env"],
                user=request["user"],
                group=request["group"],
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            self.send(start_error=f"{exc}")
        finally:
            os.close(stdin)
            os.close(output)

    def _reap(self) -> None:
        """Collect the dead. When the command itself is among them, end all that it left running, then report."""
        status: int | None = None
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self._child is not None and pid == self._child.pid:
                status = os.waitstatus_to_exitcode(code)
                self._child.returncode = status
        if status is not None:
            self._kill_everything()
            self._child = None
            self.send(exit=status, out=_identity(self._out))

    def _kill_everything(self) -> None:
        """SIGKILL the command's process group, then whoever still descends from it: a killed parent's children become ours.

        The kernel's list of children may lack some while others are dying, so it is read again until nobody is left.
        """
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
        while True:
            for pid in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                time.sleep(DYING_SECONDS)


def _identity(path: str) -> list[int] | None:
    """Which directory lies at a path."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino]


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN: the process group alone has been killed
        return []


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    view = json.loads(sys.argv[2])
    isolated, reason = False, "switched off"
    if view is not None:
        try:
            isolate(**view)
            isolated, reason = True, ""
        except OSError as exc:
            reason = str(exc)
    forgo_rights()
    launcher = Launcher(control, "/pfs/out" if isolated else "pfs/out")
    launcher.send(isolated=isolated, reason=reason)
    launcher.serve()


if __name__ == "__main__":
    main()
