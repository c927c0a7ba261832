"""Files on their way out of the store: to a directory of this machine, or to any object store that fsspec knows."""

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from minipachd.errors import MinipachdError
from minipachd.pfs.sources import filesystem_of
from minipachd.pfs.types import FileEntry

_PARALLEL = 8
"""Object stores answer in tens of milliseconds, however small the file."""

WriteTo = Callable[[FileEntry, Path], None]
"""Writes an entry's verified bytes to a file: see :meth:`minipachd.pfs.Pfs.write_to`."""


class TargetError(MinipachdError):
    """A URL could not be written to."""

    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(
            f"error writing to {url}: {type(cause).__name__}: {cause}"
        )  # every backend has its own errors: what they say helps
        self.url = url


@dataclass(frozen=True, slots=True)
class Copied:
    """How much was written, and whether that is all."""

    files: int
    size_bytes: int
    complete: bool


def copy_to_url(url: str, entries: Iterable[FileEntry], write_to: WriteTo, *, tmp: Path, cancelled: Callable[[], bool]) -> Copied:
    """Write files below a URL, under their paths. Files that are there already are replaced, others are left alone.

    Every file is read and verified as a whole before its first byte leaves: the writers of object stores make whatever they were given,
    also before an error, into an object.

    :param tmp: Directory for the files on their way.
    :param cancelled: Asked before each file.
    :raises InvalidError: It is no URL. :raises UnsupportedError: Nothing here knows its scheme.
    :raises TargetError: A file could not be written; some may be there. :raises CorruptError: A file is damaged in the store.
    """
    filesystem, root = filesystem_of(url)
    made: set[str] = set()
    files = size = 0
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="egress") as pool:
        waiting = iter(entries)
        running: set[Future[int]] = set()
        try:
            while not cancelled():
                for entry in islice(waiting, _PARALLEL - len(running)):
                    _make_parent(filesystem, url, root, entry.path, made)
                    running.add(pool.submit(_copy, filesystem, url, root.rstrip("/") + entry.path, entry, write_to, tmp))
                if not running:
                    return Copied(files, size, complete=True)
                done, running = wait(running, return_when=FIRST_COMPLETED)
                files += len(done)
                size += sum(future.result() for future in done)
        finally:
            for future in running:
                future.cancel()
    return Copied(files, size, complete=False)


def _copy(filesystem: Any, url: str, target: str, entry: FileEntry, write_to: WriteTo, tmp: Path) -> int:
    with tempfile.TemporaryDirectory(dir=tmp) as folder:
        source = Path(folder) / "file"
        write_to(entry, source)
        try:
            filesystem.put_file(str(source), target)
        except Exception as exc:
            raise TargetError(url, exc) from exc
    return entry.size


def _make_parent(filesystem: Any, url: str, root: str, path: str, made: set[str]) -> None:
    """Make the directory of a file. Object stores have none, and some would make a missing bucket instead."""
    parent = (root.rstrip("/") + path).rpartition("/")[0]
    if parent in made:
        return
    made.add(parent)
    if "file" in filesystem.protocol:
        try:
            filesystem.makedirs(parent, exist_ok=True)
        except Exception as exc:
            raise TargetError(url, exc) from exc
