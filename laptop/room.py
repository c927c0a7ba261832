"""Room on the disk: asked for before the stack starts, and looked at while it works, since a full disk makes everything wait."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laptop.errors import LaptopError

MIB: Final = 1024 * 1024
UP_BYTES: Final = 300 * MIB  # PostgreSQL's data and log of changes, and Airflow's logs of a while
DEMO_BYTES: Final = UP_BYTES + 100 * MIB  # and what the demo makes
_LEAST_BYTES: Final = 16 * MIB  # below it PostgreSQL stops taking changes
_LEAST_FILES: Final = 200


@dataclass(frozen=True)
class Room:
    """The disk below a folder, which need not be there yet; and the one for temporary files."""

    folder: Path

    def check(self, *, needed: int = _LEAST_BYTES) -> None:
        """Return when there is room.

        :param needed: Bytes on the folder's disk.
        :raises LaptopError: There is not; the message names the disk, what is free and what is needed.
        """
        for folder, wanted in ((self.folder, needed), (Path(tempfile.gettempdir()), _LEAST_BYTES)):
            there = next(path for path in (folder, *folder.parents) if path.exists())
            found = os.statvfs(there)
            free = found.f_bavail * found.f_frsize
            where = f"on {mount_of(there)}"
            if free < wanted:
                msg = f"disk full: {free // MIB} MiB free {where}, needed {-(-wanted // MIB)} MiB for {folder}; make room, then start again"
                raise LaptopError(msg)
            if found.f_files and found.f_favail < _LEAST_FILES:
                msg = f"disk full: {found.f_favail} more files fit {where}, needed {_LEAST_FILES} for {folder}; remove some"
                raise LaptopError(msg)


def mount_of(path: Path) -> Path:
    """The top of the file system that a path lies on."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.is_mount())
