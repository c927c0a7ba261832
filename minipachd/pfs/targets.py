"""Files on their way out of the store: to a directory of this machine, or to any object store that fsspec knows."""

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from minipachd.errors import MinipachdError
from minipachd.pfs import daemons
from minipachd.pfs.local_files import LocalFiles
from minipachd.pfs.sources import check_target, filesystem_of, local_path, shown
from minipachd.pfs.types import FileEntry

_PARALLEL = 8
"""Object stores answer in tens of milliseconds, however small the file."""

_LOOK_SECONDS = 0.2

WriteTo = Callable[[FileEntry, Path], None]
"""Writes an entry's verified bytes to a file: see :meth:`minipachd.pfs.Pfs.write_to`."""


class TargetError(MinipachdError):
    """A URL could not be written to."""

    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(
            f"error writing to {shown(url)}: {type(cause).__name__}: {shown(str(cause))}"
        )  # every backend has its own errors: what they say helps
        self.url = url


@dataclass(frozen=True, slots=True)
class Copied:
    """How much was written, and whether that is all."""

    files: int
    size_bytes: int
    complete: bool


def copy_to_url(
    url: str, entries: Iterable[FileEntry], write_to: WriteTo, *, tmp: Path, local: LocalFiles, cancelled: Callable[[], bool]
) -> Copied:
    """Write files below a URL, under their paths. Files that are there already are replaced, others are left alone.

    Every file is read and verified as a whole before its first byte leaves: the writers of object stores make whatever they were given,
    also before an error, into an object.

    :param tmp: Directory for the files on their way.
    :param local: What of this machine may be written to.
    :param cancelled: Asked a few times a second; what is being written then is left to itself.
    :raises InvalidError: It is no URL. :raises UnsupportedError: Nothing here knows its scheme.
    :raises ForbiddenError: It is a place of this machine that is not open to callers.
    :raises TargetError: A file could not be written; some may be there. :raises CorruptError: A file is damaged in the store.
    """
    check_target(url, local)
    save = _saver(url, local)
    files = size = 0
    waiting = iter(entries)
    running: set[Future[int]] = set()
    while not cancelled():
        for entry in islice(waiting, _PARALLEL - len(running)):
            running.add(daemons.start(partial(_copy, save, url, entry, write_to, tmp), name="egress"))
        if not running:
            return Copied(files, size, complete=True)
        done, running = wait(running, _LOOK_SECONDS, return_when=FIRST_COMPLETED)
        files += len(done)
        size += sum(future.result() for future in done)
    return Copied(files, size, complete=False)


def _saver(url: str, local: LocalFiles) -> Callable[[Path, str], None]:
    """Writes a file below the URL, under its path there."""
    root = local_path(url)
    if root is not None:
        top = root.rstrip("/")
        return lambda source, path: local.save(source, top + path)
    filesystem, base = filesystem_of(url)
    return lambda source, path: filesystem.put_file(str(source), base.rstrip("/") + path)


def _copy(save: Callable[[Path, str], None], url: str, entry: FileEntry, write_to: WriteTo, tmp: Path) -> int:
    with tempfile.TemporaryDirectory(dir=tmp, ignore_cleanup_errors=True) as folder:
        source = Path(folder) / "file"
        write_to(entry, source)
        try:
            save(source, entry.path)
        except MinipachdError:
            raise
        except Exception as exc:
            raise TargetError(url, exc) from exc
    return entry.size
