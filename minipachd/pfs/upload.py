"""Bringing bytes in: content becomes chunks in a pack before any transaction names it."""

import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from minipachd.errors import CorruptError
from minipachd.pfs.types import Commit, FileEntry
from minipachd.storage import CHUNK_BYTES, CHUNK_ID_BYTES, ChunkStore, ChunkWriter


class Upload:
    """Content on its way in; used by one thread at a time, as a context manager.

    What no transaction recorded (:meth:`Txn.write_files`) is removed when the block ends.
    """

    def __init__(self, chunks: ChunkStore) -> None:
        self._store = chunks
        self._writer: ChunkWriter = chunks.writer()

    def add_bytes(self, path: str, data: bytes | Iterable[bytes], *, tag: str) -> FileEntry:
        """Bring in one file's content.

        :param data: Whole, or in pieces of any size.
        :raises StorageFullError: The disk is full.
        """
        content = Content(self._writer)
        for piece in [data] if isinstance(data, bytes) else data:
            content.append(piece)
        return content.entry(path, tag)

    def content(self, start: FileEntry | None = None) -> "Content":
        """Something to append to, empty or with what a file holds already."""
        content = Content(self._writer)
        if start is not None:
            content.append_stored(start)
        return content

    def seal(self) -> None:
        """Make the bytes durable; call before the transaction that records them.

        :raises StorageFullError: The disk is full.
        """
        self._writer.seal()

    def holds(self, chunk: bytes) -> bool:
        """Whether a chunk came in with this upload, or was there and cannot go away while it lives."""
        return self._writer.holds(chunk)

    def record(self, connection: sqlite3.Connection) -> None:
        """Part of the transaction that names the bytes."""
        self._writer.record(connection)

    def kept(self) -> None:
        """The transaction was committed."""
        self._writer.kept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.__exit__(kind, error, trace)


class Content:
    """One file's content while it grows: full chunks are in the pack, what is behind the last cut is in memory until it is flushed."""

    __slots__ = ("_chunks", "_flushed", "_tail", "_writer", "size")

    def __init__(self, writer: ChunkWriter) -> None:
        self._writer = writer
        self._chunks = bytearray()
        self._tail: bytes | bytearray = b""
        self._flushed = False  # the last chunk is a part of one, and _tail is empty
        self.size = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes held in memory."""
        return len(self._tail)

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        if self._flushed:
            self._tail = self._writer.read(bytes(self._chunks[-CHUNK_ID_BYTES:]))
            del self._chunks[-CHUNK_ID_BYTES:]
            self._flushed = False
        self.size += len(data)
        if len(self._tail) + len(data) < CHUNK_BYTES:
            self._hold(data)
            return
        view = memoryview(data)
        head = CHUNK_BYTES - len(self._tail)
        self._chunks += self._writer.add(view[:head] if head == CHUNK_BYTES else b"".join((self._tail, view[:head])))
        self._tail = b""
        for at in range(head, len(data), CHUNK_BYTES):
            piece = view[at : at + CHUNK_BYTES]
            if len(piece) < CHUNK_BYTES:
                self._hold(bytes(piece))
            else:
                self._chunks += self._writer.add(piece)

    def _hold(self, data: bytes) -> None:
        if not self._tail:
            self._tail = data  # not copied: most files come in one piece
            return
        if not isinstance(self._tail, bytearray):
            self._tail = bytearray(self._tail)
        self._tail += data

    def append_stored(self, entry: FileEntry) -> None:
        """Add a stored file at the end; its whole chunks are shared when the cuts fall at the same places.

        :raises ConflictError: It was deleted meanwhile, and its bytes are gone.
        """
        regular = len(entry.chunks) // CHUNK_ID_BYTES == -(-entry.size // CHUNK_BYTES)
        if self.size % CHUNK_BYTES == 0 and not self._tail and regular:
            self._writer.share_all(entry.chunks)
            self._chunks += entry.chunks
            self.size += entry.size
            self._flushed = entry.size % CHUNK_BYTES != 0
            return
        for at in range(0, len(entry.chunks), CHUNK_ID_BYTES):
            self.append(self._writer.read(entry.chunks[at : at + CHUNK_ID_BYTES]))

    def flush(self) -> None:
        """Put what is in memory into the pack."""
        if self._tail:
            self._chunks += self._writer.add(bytes(self._tail))
            self._tail = b""
            self._flushed = True

    def entry(self, path: str, tag: str) -> FileEntry:
        """The file as it is now; one may go on appending."""
        self.flush()
        return FileEntry(path, tag, self.size, bytes(self._chunks))


def read_entry(chunks: ChunkStore, entry: FileEntry, *, offset: int = 0, commit: Commit | None = None) -> Iterator[bytes]:
    """The file's bytes from ``offset`` on, in pieces of at most 1 MiB, each verified.

    :raises CorruptError: Names the file and, when given, the commit.
    """
    skip, left = offset, entry.size
    for at in range(0, len(entry.chunks), CHUNK_ID_BYTES):
        chunk = entry.chunks[at : at + CHUNK_ID_BYTES]
        try:
            # Asked for, not computed: the parts of a file that several datums wrote end anywhere.
            if skip and skip >= (size := chunks.size(chunk)):
                skip, left = skip - size, left - size
                continue
            data = chunks.read(chunk)
        except CorruptError as exc:
            where = f" of commit {commit}" if commit else ""
            raise CorruptError(
                f"file {entry.path}{where} is damaged: {exc}; restore the data directory from a backup, or put the file again"
            ) from exc
        left -= len(data)
        if skip:
            data, skip = data[skip:], max(0, skip - len(data))
        if data:
            yield data
    if left > 0:
        raise CorruptError(f"file {entry.path} is {left} bytes short; put it again")
