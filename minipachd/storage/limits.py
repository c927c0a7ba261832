"""What the system refuses, by its name: limits are not damage, and a read-only file system is not a full one."""

import errno
import os
import resource
import sqlite3
from pathlib import Path

from minipachd.errors import CorruptError, LimitError, MinipachdError, ReadOnlyError, StorageFullError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def named(error: BaseException, what: str) -> MinipachdError | None:
    """An error of the system in our words; None for one that says nothing about the system.

    :param what: What was tried, such as ``cannot write to /data/packs``.
    """
    if isinstance(error, MemoryError):
        return _limit(errno.ENOMEM, what)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return LimitError(f"{what}: the system gives this process no more threads (ulimit -u, or pids.max of its cgroup); raise the limit")
    if isinstance(error, OSError):
        return _of_number(error.errno, what)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, what)
    return None


def _of_number(number: int | None, what: str) -> MinipachdError | None:
    if number in _FULL:
        return StorageFullError(f"{what}: {os.strerror(number)}; free some space and repeat the call, nothing of it was kept")
    if number == errno.EROFS:
        return ReadOnlyError(f"{what}: the file system is read-only; mount it writable, and look why it is not (an error of the disk?)")
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return _limit(number, what)
    return None


def _limit(number: int, what: str) -> LimitError:
    if number == errno.ENOMEM:
        return LimitError(f"{what}: the system gives this process no more memory; repeat the call, with less at once or with more memory")
    if number == errno.ENFILE:
        return LimitError(f"{what}: this machine has too many open files (sysctl fs.file-max); raise the limit, and repeat the call")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return LimitError(
        f"{what}: this process has too many open files, {limit} are allowed (ulimit -n); raise the limit, and repeat the call"
    )


def _of_sqlite(error: sqlite3.Error, what: str) -> MinipachdError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return _of_number(errno.ENOSPC, what)
        case sqlite3.SQLITE_READONLY:
            return _of_number(errno.EROFS, what)
        case sqlite3.SQLITE_NOMEM:
            return _limit(errno.ENOMEM, what)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return CorruptError(f"{what}: it is damaged: {error}; restore it from a backup")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_IOERR:
            if code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC):
                return StorageFullError(f"{what}: {error}; free some space and repeat the call, nothing of it was kept")
            return _probed(what)  # SQLite does not hand on the system's number
    return None


def _probed(what: str) -> MinipachdError | None:
    try:
        os.close(os.open(Path("/dev/null"), os.O_RDONLY | os.O_CLOEXEC))
    except OSError as exc:
        return _of_number(exc.errno, what)
    return None
