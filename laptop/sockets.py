"""A private folder for Unix sockets whose path will do: the kernel takes 107 bytes, and a checkout may lie deep."""

import contextlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from laptop.layout import Layout

LONGEST: Final = 107  # bytes of a socket's path
_LONGEST_NAME: Final = len("/.s.PGSQL.5432")
_FALLBACK: Final = Path("/tmp")  # noqa: S108 - where the machine's own temporary folder is too deep as well; the name below is random


@dataclass(frozen=True)
class SocketFolder:
    """Where the sockets of one stack lie.

    :ivar home: In the stack's folder: used as it is when its path will do, else it holds a link to a folder elsewhere.
    """

    home: Path

    @classmethod
    def of(cls, layout: Layout) -> "SocketFolder":
        return cls(layout.run)

    @property
    def path(self) -> Path:
        """The folder; 0700. Made at the first call, elsewhere under a random name where our own path will not do."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _fits(self.home):
            return self.home
        with contextlib.suppress(OSError):
            if _is_private(found := self._link.readlink()):
                return found
        folder = next((folder for folder in (Path(tempfile.gettempdir()), _FALLBACK) if _fits(folder / "tuskwatch-12345678")), _FALLBACK)
        made = Path(tempfile.mkdtemp(prefix="tuskwatch-", dir=folder))
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(made)
        return made

    def remove(self) -> None:
        """Forget the folder elsewhere, where there is one and nothing is left in it."""
        with contextlib.suppress(OSError):
            if _is_private(found := self._link.readlink()):
                found.rmdir()
            self._link.unlink()

    @property
    def _link(self) -> Path:
        return self.home / "sockets"


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder)) + _LONGEST_NAME <= LONGEST and "," not in str(folder)  # which parts hosts for PostgreSQL's clients


def _is_private(folder: Path) -> bool:
    """Whether it is a folder of ours that nobody else may enter: names in a shared folder can be taken by others."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
