"""Room on the disk: user code that fills it is stopped before the store and everybody else's work meet its end."""

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from minipachd.errors import StorageFullError

_KEEP_FREE_BYTES, _KEEP_FREE_SHARE = 256 << 20, 20
_SUSPECT_BYTES = 16 << 20
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Space:
    """The disk below the workers' directories.

    :ivar keep_free: Bytes that user code is not to have.
    """

    work_root: Path
    keep_free: int

    @classmethod
    def of(cls, work_root: Path, keep_free: int | None) -> Self:
        """:param keep_free: None for 256 MiB, or a twentieth of a small disk."""
        if keep_free is None:
            disk = os.statvfs(work_root)
            keep_free = min(_KEEP_FREE_BYTES, disk.f_blocks * disk.f_frsize // _KEEP_FREE_SHARE)
        return cls(work_root, keep_free)

    def free(self) -> int:
        """Bytes that may be written still."""
        disk = os.statvfs(self.work_root)
        return disk.f_bavail * disk.f_frsize

    @property
    def short(self) -> bool:
        return self.free() < self.keep_free

    def culprit(self, directory: Path) -> str:
        """Why the user code of a worker is to be stopped; empty when it is not.

        :param directory: The worker's. Of all of them the one with most in it goes first.
        """
        if not self.short:
            return ""
        used = _used(directory)
        if used < _SUSPECT_BYTES or any(_used(other) > used for other in self.work_root.glob("*/*/*") if other != directory):
            return ""
        return (
            f"the disk is nearly full ({self.free() >> 20} MiB left), and this datum has written most: {used >> 20} MiB; give it more space"
        )

    def await_room(self, cancelled: Callable[[], bool]) -> bool:
        """Wait a while until there is room again.

        :return: Whether there is.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.short and not cancelled() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return not self.short


def is_full(error: Exception) -> bool:
    """Whether an error says that the disk is full."""
    return isinstance(error, StorageFullError) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))


def _used(directory: Path) -> int:
    """Bytes on the disk below a directory; what vanishes meanwhile does not count."""
    total, pending = 0, [str(directory)]
    while pending:  # os.walk follows them down by recursion, and user code may nest them without end
        with contextlib.suppress(OSError):
            for entry in os.scandir(pending.pop()):
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
