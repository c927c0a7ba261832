"""The files of one commit: lookups, listings, globs and differences over a storage tree."""

from collections.abc import Iterator
from itertools import groupby

from minipachd.pfs import paths
from minipachd.pfs.globs import Glob
from minipachd.pfs.types import DEFAULT_TAG, FileEntry, FileInfo, FileKind
from minipachd.storage import Entry, Tree

_BEHIND_ROOT = paths.pieces_range(paths.ROOT)[1]


class FileTree:
    """An immutable set of files. Directories are implied by the paths of files; the order is that of the paths' bytes.

    What was written to ``/`` is kept, makes the root exist, and is no file: Pachyderm takes such a put, and shows a directory.

    Usable from any thread, and after the view that it came from has ended.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    @property
    def root(self) -> bytes:
        """Names the content: equal roots, equal files."""
        return self.tree.root

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return self.tree.aggregate().weight

    def get(self, path: str) -> FileEntry | None:
        """The file at a path; of one that several wrote, the pieces behind each other in the order of their tags."""
        path = paths.clean(path)
        return None if path == paths.ROOT else _joined([decode_entry(entry) for entry in self.tree.scan(*paths.pieces_range(path))])

    def info(self, path: str) -> FileInfo | None:
        """The file or directory at a path; slashes at its end do not count."""
        path = paths.clean(path)
        file = self.get(path)
        return self._directory(path) if file is None else _file_info(file)

    def pieces(self, under: str = "/") -> Iterator[FileEntry]:
        """Every piece of content of a file, or below a directory."""
        under = paths.clean(under)
        if under != "/":
            yield from map(decode_entry, self.tree.scan(*paths.pieces_range(under)))
        yield from map(decode_entry, self.tree.scan(*paths.directory_range(under)))

    def entries(self, under: str = "/") -> Iterator[FileEntry]:
        """Every file below a directory, or the file itself; see :meth:`get` for files in several pieces."""
        return _grouped(piece for piece in self.pieces(under) if piece.path != paths.ROOT)

    def list(self, path: str, *, after: str | None = None, reverse: bool = False) -> Iterator[FileInfo]:
        """The direct children of a directory, or the file itself.

        :param after: Go on behind this path (before it when ``reverse``).
        """
        path = paths.clean(path)
        file = None if path == "/" else self.get(path)
        if file is not None:
            yield _file_info(file)
            return
        for child in self._children(path, after, reverse=reverse):
            yield self._shown(child)

    def walk(self, path: str, *, after: str | None = None) -> Iterator[FileInfo]:
        """The file or directory itself, then everything below it."""
        path = paths.clean(path)
        file = None if path == "/" else self.get(path)
        if file is not None:
            if after is None or path > after:
                yield _file_info(file)
            return
        start, stop = paths.directory_range(path)
        if after is not None:
            start = max(start, _behind(after) if not after.endswith("/") else after.encode())
        for found in self._with_directories(start, stop, paths.as_directory(path)):
            if after is None or (found if isinstance(found, str) else found.path) > after:
                yield self._shown(found)

    def glob(self, pattern: str | Glob) -> Iterator[FileInfo]:
        """Files and directories whose path matches.

        :raises GlobError: The pattern is malformed.
        """
        glob = pattern if isinstance(pattern, Glob) else Glob(pattern)
        for found in self._candidates(glob):
            if glob.matches(found if isinstance(found, str) else found.path):
                yield self._shown(found)

    def diff(self, old: "FileTree", under: str = "/") -> Iterator[tuple[FileEntry | None, FileEntry | None]]:
        """Pieces that differ from ``old``, as (old, new). Costs about the number of changes."""
        under = paths.clean(under)
        file_start, file_stop = paths.pieces_range(under)
        start, stop = paths.directory_range(under)
        for key, before, after in self.tree.diff(old.tree):
            if start <= key < stop or file_start <= key < file_stop:
                yield (decode_entry(before) if before else None, decode_entry(after) if after else None)

    def _candidates(self, glob: Glob) -> Iterator["FileEntry | str"]:
        if glob.pattern == "/":
            if self.root:
                yield "/"
        elif glob.depth is not None:
            yield from self._level(glob, "/", 1)
        else:
            # The prefix may end inside a name: read everything that begins with it.
            start = glob.prefix.encode()
            yield from self._with_directories(start, start[:-1] + bytes([start[-1] + 1]), "/")

    def _level(self, glob: Glob, directory: str, depth: int) -> Iterator["FileEntry | str"]:
        """Everything at the glob's depth, without looking into directories that its prefix rules out."""
        start, stop = paths.directory_range(paths.clean(directory))
        if glob.prefix.startswith(directory):
            head, slash, _ = glob.prefix[len(directory) :].partition("/")  # with its slash, a name is whole
            wanted = (directory + head + slash).encode()
            start, stop = max(start, wanted), min(stop, wanted[:-1] + bytes([wanted[-1] + 1]))
        for child in self._children_between(start, stop, directory):
            if glob.depth == depth:
                yield child
            elif isinstance(child, str):
                yield from self._level(glob, child, depth + 1)

    def _children(self, path: str, after: str | None, *, reverse: bool) -> Iterator["FileEntry | str"]:
        start, stop = paths.directory_range(path)
        if after is not None and reverse:
            stop = min(stop, after.encode())
        elif after is not None:
            start = max(start, _behind(after))
        return self._children_between(start, stop, paths.as_directory(path), reverse=reverse)

    def _children_between(self, start: bytes, stop: bytes, directory: str, *, reverse: bool = False) -> Iterator["FileEntry | str"]:
        """Direct children with keys in a range: files as entries, directories as paths. Subdirectories are stepped over, not read."""
        length = len(directory.encode())
        start = max(start, _BEHIND_ROOT)
        while True:
            pending: list[Entry] = []
            subdirectory, name = None, b""
            for entry in self.tree.scan(start, stop, reverse=reverse):
                key = entry.key
                end = key.index(b"\0")
                slash = key.find(b"/", length, end)
                if slash >= 0:
                    subdirectory = key[: slash + 1]
                    break
                if pending and key[:end] != name:
                    yield _file(pending)
                    pending = [entry]
                else:
                    pending.append(entry)
                name = key[:end]
            if pending:
                yield _file(pending)
            if subdirectory is None:
                return
            yield subdirectory.decode()
            if reverse:
                stop = subdirectory
            else:
                start = subdirectory[:-1] + b"0"

    def _with_directories(self, start: bytes, stop: bytes, top: str) -> Iterator["FileEntry | str"]:
        """Files in a key range, and before them the directories that hold them, from ``top`` on."""
        opened: list[str] = []
        if start < _BEHIND_ROOT and self.tree.first(start, _BEHIND_ROOT):
            opened.append(top)
            yield top
        for file in _grouped(map(decode_entry, self.tree.scan(max(start, _BEHIND_ROOT), stop))):
            while opened and not file.path.startswith(opened[-1]):
                opened.pop()
            if not opened:
                opened.append(top)
                yield top
            begin = len(opened[-1])
            while (slash := file.path.find("/", begin)) >= 0:
                opened.append(file.path[: slash + 1])
                yield opened[-1]
                begin = slash + 1
            yield file

    def _shown(self, found: "FileEntry | str") -> FileInfo:
        if isinstance(found, FileEntry):
            return _file_info(found)
        info = self._directory(paths.clean(found))
        return info if info is not None else FileInfo("/", FileKind.DIR, 0, bytes(32), "")

    def _directory(self, path: str) -> FileInfo | None:
        sums = self.tree.aggregate(*paths.directory_range(path))
        if path == paths.ROOT and sums.count and self.tree.first(None, _BEHIND_ROOT):
            below = self.tree.aggregate(_BEHIND_ROOT, None)
            return FileInfo(path, FileKind.DIR, below.weight, below.hash if below.count else bytes(32), DEFAULT_TAG)
        return FileInfo(paths.as_directory(path), FileKind.DIR, sums.weight, sums.hash, "") if sums.count else None


def encode_entry(file: FileEntry) -> Entry:
    """A file's piece as the tree keeps it."""
    return Entry(paths.key(file.path, file.tag), file.chunks, file.size)


def decode_entry(entry: Entry) -> FileEntry:
    """The reverse of :func:`encode_entry`."""
    path, tag = paths.split_key(entry.key)
    return FileEntry(path, tag, entry.weight, entry.value)


def _file(pieces: list[Entry]) -> FileEntry:
    if len(pieces) == 1:
        return decode_entry(pieces[0])
    joined = _joined(sorted(map(decode_entry, pieces), key=lambda piece: piece.tag))
    assert joined is not None  # noqa: S101 - callers give at least one piece
    return joined


def _joined(pieces: list[FileEntry]) -> FileEntry | None:
    if len(pieces) <= 1:
        return pieces[0] if pieces else None
    size, chunks = sum(piece.size for piece in pieces), b"".join(piece.chunks for piece in pieces)
    return FileEntry(pieces[0].path, pieces[0].tag, size, chunks)


def _grouped(pieces: Iterator[FileEntry]) -> Iterator[FileEntry]:
    for _, same in groupby(pieces, key=lambda piece: piece.path):
        joined = _joined(list(same))
        if joined is not None:
            yield joined


def _file_info(file: FileEntry) -> FileInfo:
    return FileInfo(file.path, FileKind.FILE, file.size, file.hash, file.tag)


def _behind(path: str) -> bytes:
    """The first key behind a file or, with a slash at the path's end, behind a directory and all that it holds."""
    return path[:-1].encode() + b"0" if path.endswith("/") else path.encode() + b"\x01"
