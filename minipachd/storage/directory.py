"""The data directory: its layout, its lock, its format version."""

import fcntl
import logging
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from minipachd.errors import DataDirError, InUseError

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the directory's layout. The database has versions of its own (:mod:`minipachd.storage.database`)."""

TOKEN_NAME = "token"  # noqa: S105 - a file's name


class DataDirectory:
    """A directory that this process alone serves from.

    ``packs/`` holds bytes, ``metadata.db`` everything else, ``logs/`` what user code printed; ``work/`` and ``tmp/`` outlive no process.

    :param root: Created with its parents when missing.
    :raises DataDirError: Another server holds it, a newer minipachd wrote it, or it cannot be written to. Nothing was changed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.packs, self.logs, self.tmp = self.root / "packs", self.root / "logs", self.root / "tmp"
        self.secrets, self.work = self.root / "secrets", self.root / "work"
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise DataDirError(f"data directory {self.root} cannot be used: {exc.strerror}; give a writable one with --data") from exc
        try:
            self._lock()
            self._check_database()
            self._check_format()
            folders = (self.packs, self.logs, self.tmp, self.work, self.secrets)
            for folder in folders:
                folder.mkdir(mode=0o700, exist_ok=True)
            _make_private(self.root, *folders)
        except OSError as exc:
            self.close()
            raise DataDirError(f"data directory {self.root} cannot be used: {exc.strerror}; give a writable one with --data") from exc
        except DataDirError:
            self.close()
            raise

    @property
    def database(self) -> Path:
        return self.root / "metadata.db"

    @property
    def token(self) -> Path:
        """Where the token of callers lies, unless the server is told otherwise."""
        return self.root / TOKEN_NAME

    def publish(self, address: str) -> None:
        """Say where this process serves the directory: others who find it locked read it."""
        os.truncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n{address}\n".encode(), 0)

    def close(self) -> None:
        """Let another server have the directory."""
        os.close(self._lock_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder, address, *_ = [*os.pread(self._lock_fd, 256, 0).decode(errors="replace").split(), "", ""]
            raise InUseError(
                f"data directory {self.root} is in use by another minipachd (process {holder or 'unknown'}); "
                "stop it, or give another one with --data",
                address,
            ) from None
        os.truncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def _check_database(self) -> None:
        """To a new database every pack would be what a killed server left behind, and be removed."""
        if self.database.exists() and self.database.stat().st_size > 0:
            return
        if any(self.packs.glob("*.pack")):
            raise DataDirError(
                f"data directory {self.root} holds content but no database: {self.database.name} is missing or empty; "
                "restore it from a backup or give another directory"
            )

    def _check_format(self) -> None:
        marker = self.root / "format"
        text = marker.read_text(errors="replace").strip() if marker.exists() else ""
        if not text and not self.database.exists():  # new, or its first start was cut short
            with marker.open("w") as file:
                file.write(f"{FORMAT}\n")
                file.flush()
                os.fsync(file.fileno())
            fsync_directory(self.root)
            return
        if not marker.exists():
            raise DataDirError(
                f"data directory {self.root} holds a database but no format file; restore the file or give another directory"
            )
        if not text.isdigit():
            raise DataDirError(f"{marker} says {text[:40]!r} where a format number belongs; restore the file or give another directory")
        if int(text) > FORMAT:
            raise DataDirError(
                f"data directory {self.root} was written by a newer minipachd (format {text}, this one knows {FORMAT}); upgrade minipachd"
            )


def _make_private(root: Path, *folders: Path) -> None:
    """Nobody else may enter: whatever the umask is, and whatever an earlier version left."""
    wide = [path for path in (root, *folders) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if not wide:
        return
    mode = stat.S_IMODE(root.stat().st_mode)
    try:
        for path in wide:
            path.chmod(0o700)
    except PermissionError as exc:
        log.warning("data directory %s can be read by other users (mode %o), and cannot be closed to them: %s", root, mode, exc.strerror)
        return
    log.warning("data directory %s, or a part of it, could be read by other users (mode %o); it is its owner's alone now", root, mode)


def check_present(root: Path) -> None:
    """:raises DataDirError: This is no data directory."""
    if not (root / "format").is_file():
        raise DataDirError(f"{root} is no data directory of minipachd: it has no file named format; give another one with --data")


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
