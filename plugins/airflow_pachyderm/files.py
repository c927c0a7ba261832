"""Files to push: listing a folder, manifests that hold a batch, and reading them ahead in bounded memory.

A URL is anything fsspec opens: a path, ``file://``, ``gs://bucket/…``; ``gs://conn_id@bucket/…`` takes an Airflow connection's credentials.
"""

import contextlib
import errno
import fnmatch
import functools
import hashlib
import json
import logging
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Final, NamedTuple

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError

log = logging.getLogger(__name__)

BLOCK_BYTES: Final = 1 << 20
_READERS: Final = 8

# Pachyderm refuses these in paths; % joins them so that the escaped form can be told from a name that holds one.
_REFUSED: Final = re.compile(r"[^\x20-\x7e]|[*?\[\]{}!()@+^%]")


@dataclass(frozen=True)
class SourceFile:
    """One file to push.

    :ivar path: Where it goes in the repo, from ``/``.
    :ivar url: Where it lies.
    :ivar size_bytes: Its size when it was listed, or None when nobody looked; a file that has another size when it is read is not pushed.
    :ivar within: Real path of a folder of this machine. A file that lies elsewhere once it is open, after all links, is not read.
    """

    path: str
    url: str
    size_bytes: int | None = None
    within: str = ""


@dataclass(frozen=True)
class Batch:
    """What one commit changes.

    :ivar files: To put; each replaces the file of its path.
    :ivar deletes: Paths or Pachyderm globs to delete first. With a trailing slash they mean directories with all that is in them, without
        one files; ``/`` means everything.
    :ivar missing_ok: One of them may match nothing.
    :ivar server_side: The server fetches the files' URLs itself, see :func:`server_url`: nothing passes through this process, and no size
        is checked.
    """

    files: Sequence[SourceFile] = ()
    deletes: Sequence[str] = ()
    missing_ok: bool = True
    server_side: bool = False

    def __str__(self) -> str:
        return f"{len(self.files)} files" + (f", {len(self.deletes)} deletions" if self.deletes else "")

    @property
    def digest(self) -> str:
        """16 hex digits that tell one batch from another: over paths, URLs and sizes, not over contents."""
        hasher = hashlib.sha256()
        for path in self.deletes:
            hasher.update(json.dumps([path]).encode() + b"\n")
        for file in self.files:
            hasher.update(json.dumps([file.path, file.url, file.size_bytes]).encode() + b"\n")
        return hasher.hexdigest()[:16]


@dataclass
class Block:
    """A piece of a file, up to :data:`BLOCK_BYTES`. A file's first one may be empty."""

    file: SourceFile
    data: bytes
    first: bool


def repo_path(name: str) -> str:
    """A path in a repo for any file name.

    What Pachyderm does not allow in paths is percent-encoded: ``IMG (1).jpg`` becomes ``/IMG %281%29.jpg``.
    """
    return "/" + _REFUSED.sub(lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogateescape")), name)


def files_from(value: Mapping[str, str] | Sequence[str]) -> list[SourceFile]:
    """The files that an operator's argument names.

    :param value: URL by path in the repo, or just URLs, whose last part becomes the path.
    :raises PachydermInvalidError: Two of them would have the same path, or it is a text, as a template gives it.
    """
    if isinstance(value, str):
        raise PachydermInvalidError(f"files is the text {value[:80]!r}, whose letters would be files; give a list or a mapping")
    if isinstance(value, Mapping):
        return [SourceFile(path if path.startswith("/") else f"/{path}", url) for path, url in value.items()]
    files = [SourceFile(repo_path(PurePosixPath(url).name), url) for url in value]
    by_path: dict[str, str] = {}
    for file in files:
        if by_path.setdefault(file.path, file.url) != file.url:
            raise PachydermInvalidError(
                f"{by_path[file.path]} and {file.url} would both become {file.path}; give a mapping from path to URL"
            )
    return files


Odd = Callable[[str, str], None]
"""Told of what is passed over: its path or URL, and why."""


def list_folder(folder: str, pattern: str = "*", *, odd: Odd | None = None) -> Iterator[SourceFile]:
    """The files of a folder, in order of their names, one directory in memory at a time.

    One odd thing on a disk does not cost the rest: a link that leads nowhere, in a circle or to a folder above it, what is neither a file
    nor a folder, a subfolder that cannot be read.

    :param folder: Path or URL.
    :param pattern: Glob that a file's path below the folder must match. ``*`` matches within a directory; only with ``**`` in it are
        subdirectories entered.
    :param odd: Told of each such thing that the pattern takes in; by default they are logged as warnings.
    :raises PachydermSourceError: The folder is missing, is no folder, or cannot be read.
    """
    filesystem, root = open_filesystem(folder)
    base = folder.rstrip("/") if "://" in folder else f"file://{root.rstrip('/')}"
    parts = [part for part in pattern.split("/") if part]
    if not parts:
        raise PachydermInvalidError(f"{pattern!r} is no glob; give for example *.jpg, or **/*.jpg to look into subfolders")
    there = is_folder(folder)
    try:
        if there:
            for names, size in _Walk(filesystem, parts, odd or _log_odd).files(root.rstrip("/"), (), _identity(filesystem, root)):
                relative = "/".join(names)
                yield SourceFile(repo_path(relative), f"{base}/{relative}", size)
            return
        why = "is a file" if filesystem.exists(root) else "does not exist"
    except Exception as exc:
        raise PachydermSourceError(f"Cannot list {folder}: {exc}; check the path and who may read it", url=folder) from exc
    raise PachydermSourceError(f"Folder {folder} {why} where this task runs; give a folder that it can read", url=folder)


def is_folder(url: str) -> bool:
    """Whether there is a folder.

    :raises PachydermSourceError: Nobody can tell: it must not be looked at, or nothing answers. fsspec's ``isdir`` says no to that too.
    """
    filesystem, path = open_filesystem(url)
    try:
        return bool(filesystem.isdir(path)) or filesystem.info(path)["type"] == "directory"
    except (FileNotFoundError, NotADirectoryError):
        return False
    except Exception as exc:
        raise PachydermSourceError(f"Cannot list {url}: {exc}; check the path and who may read it", url=url) from exc


def _identity(filesystem: Any, root: str) -> tuple[tuple[int, int], ...]:
    if "file" not in filesystem.protocol:
        return ()
    status = os.stat(root or "/")  # noqa: PTH116 - a string of fsspec's
    return ((status.st_dev, status.st_ino),)


def _log_odd(path: str, why: str) -> None:
    log.warning("Passing over %s: %s", path, why)


class _Entry(NamedTuple):
    """What lies in a folder.

    :ivar odd: Why it is passed over, or empty.
    :ivar identity: Of a folder on a disk, whatever path leads there.
    """

    name: str
    is_folder: bool
    size_bytes: int | None = None
    odd: str = ""
    identity: tuple[int, int] | None = None


@dataclass
class _Walk:
    """One listing: the file system, the glob split at slashes, and whom to tell of oddities."""

    filesystem: Any
    parts: Sequence[str]
    odd: Odd

    def files(self, root: str, below: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[tuple[tuple[str, ...], int | None]]:
        """The files of a folder and of those in it that the glob reaches.

        :param below: Its path from where the listing began.
        :param above: The folders that it lies in, and itself.
        """
        deeper = "**" in self.parts or len(below) + 1 < len(self.parts)
        folders = []
        for entry in sorted(_entries(self.filesystem, root or "/"), key=lambda entry: entry.name):
            names = (*below, entry.name)
            if entry.odd:
                if deeper or _matches(names, self.parts):
                    self.odd(f"{root}/{entry.name}", entry.odd)
            elif entry.is_folder:
                folders.append(entry)
            elif _matches(names, self.parts):
                yield names, entry.size_bytes
        for entry in folders if deeper else ():
            path = f"{root}/{entry.name}"
            if entry.identity is not None and entry.identity in above:
                self.odd(path, "it is a link to a folder that it lies in")
                continue
            try:
                yield from self.files(path, (*below, entry.name), (*above, *([entry.identity] if entry.identity else ())))
            except PermissionError as exc:
                self.odd(path, f"it cannot be read ({exc.strerror})")


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path matches a glob, both split at slashes. As in a shell, a leading dot must be spelled out."""
    if not parts:
        return not names
    if parts[0] == "**":
        return any(_matches(names[skip:], parts[1:] or ["*"]) for skip in range(len(names)))
    if not names or (names[0].startswith(".") and not parts[0].startswith(".")):
        return False
    return fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])


def _entries(filesystem: Any, root: str) -> Iterator[_Entry]:
    if "file" in filesystem.protocol:  # fsspec makes a dictionary of fifteen fields for each file
        with os.scandir(root) as entries:
            yield from map(_entry_on_disk, entries)
        return
    for info in filesystem.ls(root, detail=True):
        name = info["name"].rstrip("/").rpartition("/")[2]
        if name and info["name"].strip("/") != root.strip("/"):  # object stores list a folder's own marker object
            yield _Entry(name, info["type"] == "directory", info.get("size"))


def _entry_on_disk(entry: "os.DirEntry[str]") -> _Entry:
    try:
        if entry.is_file():
            return _Entry(entry.name, is_folder=False, size_bytes=entry.stat().st_size)
        if entry.is_dir():
            status = entry.stat()
            return _Entry(entry.name, is_folder=True, identity=(status.st_dev, status.st_ino))
        why = "it is a link that leads nowhere" if entry.is_symlink() else "it is neither a file nor a folder"
    except OSError as exc:
        why = f"it cannot be looked at ({exc.strerror})"
    return _Entry(entry.name, is_folder=False, odd=why)


@functools.cache
def _filesystem_of(scheme: str, authority: str) -> Any:
    if "@" in authority:
        from airflow.sdk import ObjectStoragePath

        return ObjectStoragePath(f"{scheme}://{authority}/").fs
    import fsspec

    return fsspec.filesystem(scheme)


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system that a URL is of, and its path there.

    :raises PachydermSourceError: No file system is installed for it, or its Airflow connection is missing.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "file", os.path.abspath(url)  # noqa: PTH100 - keeps a trailing name as it is, follows no links
    authority, _, path = rest.partition("/")
    try:
        filesystem = _filesystem_of(scheme, authority if "@" in authority else "")
    except Exception as exc:
        raise PachydermSourceError(f"Cannot open {url}: {exc}; install the package for {scheme}:// or correct the URL", url=url) from exc
    if scheme in ("file", "local"):
        return filesystem, rest
    if scheme in ("http", "https"):
        return filesystem, url
    return filesystem, f"{authority.rpartition('@')[2]}/{path}" if authority else path


def server_url(url: str) -> str:
    """A URL for the server to fetch: a plain path becomes ``file://``, and the name of an Airflow connection is left out.

    The server cannot know that; it reads object stores with credentials of its own.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return f"file://{os.path.abspath(url)}"  # noqa: PTH100 - as in open_filesystem
    if scheme in ("http", "https"):  # what stands before an @ there is part of the address
        return url
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


@contextlib.contextmanager
def replacing(url: str) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of what is at the URL when it is complete. After an error nothing of it is left."""
    filesystem, path = open_filesystem(url)
    filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    # An object store shows an object when it is complete; a disk shows a file at once, so it gets its name at the end.
    partial = f"{path}.part" if "file" in filesystem.protocol else path
    try:
        with filesystem.open(partial, "wb") as stream:
            yield stream
    except BaseException:
        # Half a file must not look like one. A target that cannot even be removed is for the cause to explain.
        if filesystem.exists(partial):
            filesystem.rm(partial)
        raise
    if partial != path:
        os.replace(partial, path)  # noqa: PTH105 - both are strings of fsspec's


# Manifests: one batch of files, a JSON line each


def write_manifest(url: str, files: Iterable[SourceFile]) -> None:
    """Write a batch for a later task to push; an existing manifest is replaced."""
    with replacing(url) as stream:
        for file in files:
            fields = (file.path, file.url, file.size_bytes, *([file.within] if file.within else []))
            stream.write(json.dumps(fields).encode() + b"\n")


def read_manifest(url: str) -> list[SourceFile]:
    """Read what :func:`write_manifest` wrote.

    :raises PachydermSourceError: It is missing or damaged.
    """
    return list(read_manifest_lines(url))


def read_manifest_lines(url: str) -> Iterator[SourceFile]:
    """As :func:`read_manifest`, one file at a time."""
    filesystem, path = open_filesystem(url)
    try:
        with filesystem.open(path, "rb") as stream:
            for line in stream:
                yield SourceFile(*json.loads(line))
    except (OSError, ValueError, TypeError) as exc:
        raise PachydermSourceError(f"Cannot read manifest {url}: {exc}; clear the task that wrote it", url=url) from exc


# Reading


def read_ahead(files: Iterable[SourceFile], *, readers: int = _READERS) -> Iterator[Block]:
    """The content of the files in their order, in blocks.

    Threads open the next files while one is being sent, since object stores answer slowly and in parallel. At most ``2 * readers`` first
    blocks are in memory.

    :param files: What to read.
    :param readers: Threads. Closing the iterator does not wait for them.
    :raises PachydermSourceError: A file cannot be read, or has another size than when it was listed.
    """
    waiting: deque[tuple[SourceFile, Future[tuple[bytes, IO[bytes] | None]]]] = deque()
    pool = ThreadPoolExecutor(readers, thread_name_prefix="pachyderm-read")
    try:
        for file in files:
            waiting.append((file, pool.submit(_open, file)))
            if len(waiting) >= 2 * readers:
                yield from _blocks(*waiting.popleft())
        while waiting:
            yield from _blocks(*waiting.popleft())
    finally:
        # Nothing is waited for: given up halfway, this runs where the garbage collector does, and a file may stall for minutes.
        for _, future in waiting:
            if not future.cancel():
                future.add_done_callback(_close)
        pool.shutdown(wait=False)


def _close(opened: Future[tuple[bytes, IO[bytes] | None]]) -> None:
    """Close a file that was opened ahead and that nobody wants any more."""
    if not opened.exception() and (stream := opened.result()[1]):
        stream.close()


def open_source(file: SourceFile) -> IO[bytes]:
    """Open a file to be read. On a disk only regular files are: what a device or a pipe holds is no file's content.

    :raises PachydermSourceError: It is none, or lies outside :attr:`SourceFile.within`.
    """
    filesystem, path = open_filesystem(file.url)
    if "file" not in filesystem.protocol:
        stream: IO[bytes] = filesystem.open(path, "rb")
        return stream
    local = filesystem._strip_protocol(path)  # noqa: SLF001 - fsspec's own way from URL to path
    descriptor = os.open(local, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer would be waited for
    if (refusal := _refusal(file, descriptor, local)) is not None:
        os.close(descriptor)
        raise refusal
    return os.fdopen(descriptor, "rb")


def _refusal(file: SourceFile, descriptor: int, path: str) -> Exception | None:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        return PachydermSourceError(f"{file.url} is no file but a device, a pipe or a socket: it is not read", url=file.url)
    if file.within and not _lies_within(descriptor, path, file.within):
        return PachydermSourceError(f"{file.url} leads out of {file.within} since it was listed, by a link: it is not read", url=file.url)
    return None


def _lies_within(descriptor: int, path: str, folder: str) -> bool:
    try:  # of what is open: the path may lead elsewhere a moment later
        real = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - no path of a file
    except OSError:  # no Linux
        real = os.path.realpath(path)
    return real.startswith(f"{folder.rstrip('/')}/")


def _open(file: SourceFile) -> tuple[bytes, IO[bytes] | None]:
    """A file's first block, and the stream of the rest where there is one."""
    stream = open_source(file)
    data = _read_block(stream)
    if len(data) < BLOCK_BYTES:
        stream.close()
        return data, None
    return data, stream


def _read_block(stream: IO[bytes]) -> bytes:
    data = stream.read(BLOCK_BYTES)
    while 0 < len(data) < BLOCK_BYTES and (more := stream.read(BLOCK_BYTES - len(data))):  # a socket may give less than asked
        data += more
    return data


def _blocks(file: SourceFile, opened: Future[tuple[bytes, IO[bytes] | None]]) -> Iterator[Block]:
    size = 0
    try:
        data, stream = opened.result()
        with stream or contextlib.nullcontext():
            yield Block(file, data, first=True)
            size += len(data)
            while stream and (data := _read_block(stream)):
                yield Block(file, data, first=False)
                size += len(data)
    except PachydermSourceError:
        raise
    except Exception as exc:
        raise PachydermSourceError(f"Cannot read {file.url}: {exc}; nothing of its batch is pushed", url=file.url) from exc
    if file.size_bytes is not None and size != file.size_bytes:
        raise PachydermSourceError(
            f"{file.url} has {size} bytes but had {file.size_bytes} when it was listed: it is still being written, or was cut short; "
            "list the folder again when it is complete",
            url=file.url,
        )
