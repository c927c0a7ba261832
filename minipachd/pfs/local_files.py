"""Files of this machine that the server may read and write for whoever asks: none, unless the person who started it named directories."""

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from minipachd.errors import ForbiddenError, InvalidError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalFiles:
    """What ``file://`` may reach.

    Everything is looked at after it was opened, so that nobody can put a link in its place in between.

    :param roots: Directories; what is below them may be read and written.
    :param never: A directory that may not, also below a root: where the server keeps its own data.
    :raises InvalidError: A root is no directory.
    """

    def __init__(self, roots: Sequence[Path] = (), *, never: Path | None = None) -> None:
        for root in roots:
            if not root.is_dir():
                raise InvalidError(f"{root} cannot be opened to file:// URLs: it is no directory; give one that exists with --allow-files")
        self._roots = {Path(os.path.abspath(root)): Path(os.path.realpath(root)) for root in roots}  # noqa: PTH100 - links are kept
        self._never = None if never is None else Path(os.path.realpath(never))

    def open(self, path: str) -> BinaryIO:
        """Open a regular file to read it.

        :raises ForbiddenError: It is not below a root, or no regular file. :raises OSError: It cannot be read.
        """
        self._check(path, os.path.realpath(path))
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb", buffering=0)
        try:
            self._check(path, os.readlink(f"/proc/self/fd/{file.fileno()}"))  # noqa: PTH115 - what was opened, whatever the path means now
            _check_regular(path, file)
        except BaseException:
            file.close()
            raise
        return file

    def find(self, directory: str) -> Iterator[str]:
        """All files below a directory, in order. Links to directories are not followed, and special files are left out.

        :raises ForbiddenError: It is not below a root. :raises OSError: A directory cannot be read.
        """
        self._check(directory, os.path.realpath(directory))
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                if self._never is None or Path(os.path.realpath(entry.path)) != self._never:
                    yield from self.find(entry.path)
            elif entry.is_file():
                yield entry.path

    def save(self, source: Path, path: str) -> None:
        """Copy a file to a path, whose directories are made. What is there is replaced as a whole; links on the way are not followed.

        :raises ForbiddenError: It is not below a root. :raises OSError: It cannot be written.
        """
        parts, at = self._start(path)
        try:
            for part in parts[:-1]:
                inner = _enter(at, part)
                os.close(at)
                at = inner
                self._check(path, os.readlink(f"/proc/self/fd/{at}"))  # noqa: PTH115
            temporary = f".minipachd-{uuid.uuid4().hex}"
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=at)
            try:
                with os.fdopen(fd, "wb") as target, source.open("rb") as file:
                    shutil.copyfileobj(file, target, 1 << 20)
                os.replace(temporary, parts[-1], src_dir_fd=at, dst_dir_fd=at)
            except BaseException:
                os.unlink(temporary, dir_fd=at)
                raise
        finally:
            os.close(at)

    def check_writable(self, path: str) -> None:
        """:raises ForbiddenError: Nothing may be written there."""
        _, at = self._start(path)
        os.close(at)

    def _start(self, path: str) -> tuple[list[str], int]:
        """The way to a path from the root that it lies below, and that root, open."""
        wanted = Path(os.path.normpath(path))
        for root, resolved in self._roots.items():
            for known in (root, resolved):
                if wanted.is_relative_to(known) and wanted != known:
                    self._check(path, str(resolved / wanted.relative_to(known)))
                    return list(wanted.relative_to(known).parts), os.open(resolved, _DIRECTORY)
        raise self._forbidden(path)

    def _check(self, shown: str, resolved: str) -> None:
        path = Path(resolved)
        if self._never is not None and path.is_relative_to(self._never):
            raise ForbiddenError(f"{shown} is in the server's own data directory: nobody may read or write there")
        if not any(path.is_relative_to(root) for root in self._roots.values()):
            raise self._forbidden(shown)

    def _forbidden(self, shown: str) -> ForbiddenError:
        allowed = f"only below {', '.join(map(str, self._roots))}" if self._roots else "off"
        return ForbiddenError(
            f"{shown} is not open to file:// URLs, which are {allowed}: start minipachd with --allow-files DIRECTORY "
            "(or MINIPACHD_ALLOW_FILES=DIRECTORY), or send the content instead of a URL"
        )


def _check_regular(path: str, file: BinaryIO) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise ForbiddenError(f"{path} is no regular file: the server reads nothing else")


def _enter(directory: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.mkdir(name, dir_fd=directory)
        return os.open(name, _DIRECTORY, dir_fd=directory)
