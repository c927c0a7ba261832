"""Content as chunks: cut at fixed offsets, named by their hash, kept once, appended to packs.

Order of a write, which is the guarantee: the pack's bytes, its fsync, its directory's fsync, and only then the SQLite transaction that
names its chunks. A pack that no transaction names is an orphan, removed at the next start. Every chunk is hashed again before its bytes are
served.
"""

import logging
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self
from weakref import WeakSet

from minipachd.errors import ConflictError, CorruptError, UnreadableError
from minipachd.storage import limits
from minipachd.storage.database import Database, Schema
from minipachd.storage.directory import fsync_directory

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
"""Content is cut at multiples of this, so that the same bytes always give the same chunks."""
CHUNK_ID_BYTES = 32
_PACK_BYTES = 256 << 20  # a longer upload goes on in another pack, so that space is given back in parts of this size
_WRITE_BUFFER_BYTES = 1 << 20
_SYNC_THREADS = 2

SCHEMA = Schema(
    "chunks",
    (
        """
        CREATE TABLE packs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER NOT NULL);
        CREATE TABLE chunks (id BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL) WITHOUT ROWID;
        """,
    ),
)


def chunk_id(data: bytes | memoryview) -> bytes:
    """The name of these bytes: BLAKE2b-256."""
    return blake2b(data, digest_size=CHUNK_ID_BYTES).digest()


class PackUse(NamedTuple):
    """How much of a pack is named by chunks, in bytes."""

    id: int
    name: str
    size: int
    used: int


class _Place(NamedTuple):
    pack: str
    offset: int
    length: int


class ChunkStore:
    """All chunks of a data directory."""

    def __init__(self, database: Database, packs: Path) -> None:
        self._database, self._packs = database, packs
        self._sharing = threading.Lock()
        self._writers: WeakSet[ChunkWriter] = WeakSet()
        self.background = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="pack sync")
        database.install(SCHEMA)

    def remove_orphans(self) -> int:
        """Delete packs that no transaction names: what a killed server left behind. Call before anything is written.

        :return: How many there were.
        """
        with self._database.reading() as connection:
            known = {f"{name}.pack" for (name,) in connection.execute("SELECT name FROM packs")}
        orphans = [path for path in self._packs.glob("*.pack") if path.name not in known]
        for path in orphans:
            path.unlink()
        if orphans:
            log.info("removed %d packs of unfinished uploads", len(orphans))
        return len(orphans)

    def writer(self) -> "ChunkWriter":
        """Start an upload; a context manager."""
        writer = ChunkWriter(self, self._packs)
        with self._sharing:
            self._writers.add(writer)
        return writer

    def share(self, chunk: bytes, shared: set[bytes]) -> bool:
        """Add a chunk to what an upload counts on, if it is there."""
        with self._sharing:
            if chunk not in self:
                return False
            shared.add(chunk)
            return True

    @contextmanager
    def sweeping(self) -> Iterator[set[bytes]]:
        """A write transaction in which no upload begins to share a chunk; gives the chunks that running uploads count on."""
        held = False
        try:
            with self._database.transaction():
                held = self._sharing.acquire()  # behind the write lock, as in uploads; until the commit is done
                yield set().union(*(writer.shared for writer in self._writers))
        finally:
            if held:
                self._sharing.release()

    def all_ids(self, start: bytes = b"", stop: bytes = b"") -> Iterator[bytes]:
        """Every chunk, or those with ``start <= id < stop``; an empty ``stop`` is no bound."""
        with self._database.reading() as connection:
            for (chunk,) in connection.execute("SELECT id FROM chunks WHERE id >= ? AND (? = x'' OR id < ?)", (start, stop, stop)):
                yield chunk

    def forget(self, chunks: Iterable[bytes]) -> None:
        """Remove chunks from the index; part of the calling thread's write transaction. Only a garbage collection knows which."""
        with self._database.reading() as connection:
            connection.executemany("DELETE FROM chunks WHERE id = ?", ((chunk,) for chunk in chunks))

    def usage(self) -> list[PackUse]:
        """Every pack."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT id, name, size, coalesce(used, 0) FROM packs LEFT JOIN (SELECT pack, sum(length) AS used FROM chunks GROUP BY pack)"
                " ON pack = id ORDER BY id"
            )
            return [PackUse(*row) for row in rows]

    def drop_unused_packs(self) -> list[int]:
        """Delete the packs in which no chunk lies. Killed in between, they are orphans.

        :return: Their sizes in bytes.
        """
        with self._database.transaction() as connection:
            dropped = connection.execute(
                "DELETE FROM packs WHERE id IN (SELECT id FROM packs EXCEPT SELECT pack FROM chunks) RETURNING name, size"
            ).fetchall()
        for name, _ in dropped:
            (self._packs / f"{name}.pack").unlink(missing_ok=True)
        return [size for _, size in dropped]

    def rewrite(self, pack: PackUse) -> int:
        """Move the chunks of a pack to a new one without gaps, and delete it.

        :return: The new pack's size in bytes.
        :raises CorruptError: One of them is damaged; the pack stays as it is.
        :raises StorageFullError: There is no room for the copy; the pack stays as it is.
        """
        with self._database.reading() as connection:
            rows = connection.execute("SELECT id, offset, length FROM chunks WHERE pack = ? ORDER BY offset", (pack.id,)).fetchall()
        old = self._packs / f"{pack.name}.pack"
        with ChunkWriter(self, self._packs) as writer:
            for chunk, offset, length in rows:
                writer.write(chunk, read_verified(old, chunk, offset=offset, length=length))
            writer.seal()
            with self._database.transaction() as connection:
                connection.executemany("DELETE FROM chunks WHERE id = ? AND pack = ?", ((chunk, pack.id) for chunk, _, _ in rows))
                connection.execute("DELETE FROM packs WHERE id = ?", (pack.id,))
                writer.record(connection)
            writer.kept()
        old.unlink(missing_ok=True)
        return pack.used

    def __contains__(self, chunk: bytes) -> bool:
        with self._database.reading() as connection:
            return connection.execute("SELECT 1 FROM chunks WHERE id = ?", (chunk,)).fetchone() is not None

    def missing_packs(self) -> dict[int, str]:
        """Packs that are named but are not there, or too short: what is wrong, by the pack's number."""
        problems: dict[int, str] = {}
        with self._database.reading() as connection:
            for pack, name, size in connection.execute("SELECT id, name, size FROM packs").fetchall():
                path = self._packs / f"{name}.pack"
                if not path.exists():
                    problems[pack] = f"pack {path.name} is missing"
                elif path.stat().st_size < size:
                    problems[pack] = f"pack {path.name} has {path.stat().st_size} bytes of {size}"
        return problems

    def problem(self, chunk: bytes, missing_packs: dict[int, str]) -> str | None:
        """What keeps a chunk from being read, without reading it.

        :param missing_packs: From :meth:`missing_packs`.
        """
        with self._database.reading() as connection:
            row = connection.execute("SELECT pack FROM chunks WHERE id = ?", (chunk,)).fetchone()
        return f"chunk {chunk.hex()} is in no pack" if row is None else missing_packs.get(row[0])

    def read(self, chunk: bytes) -> bytes:
        """The bytes of a chunk.

        :raises CorruptError: They are missing, or are not those that were written.
        :raises UnreadableError: The disk does not say. :raises LimitError: The system gives us no more files, or memory.
        """
        place = self._place(chunk)
        while True:
            try:
                return read_verified(self._packs / f"{place.pack}.pack", chunk, offset=place.offset, length=place.length)
            except CorruptError:
                before, place = place, self._place(chunk)
                if place == before:
                    raise
                # A garbage collection moved it in between.

    def size(self, chunk: bytes) -> int:
        """How many bytes a chunk has.

        :raises CorruptError: It is in no pack.
        """
        return self._place(chunk).length

    def _place(self, chunk: bytes) -> _Place:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT packs.name, chunks.offset, chunks.length FROM chunks JOIN packs ON packs.id = chunks.pack WHERE chunks.id = ?",
                (chunk,),
            ).fetchone()
        if row is None:
            raise CorruptError(f"chunk {chunk.hex()} is in no pack")
        return _Place(*row)


def read_verified(path: Path, chunk: bytes, *, offset: int, length: int) -> bytes:
    """Read one chunk of a pack and hash it.

    :raises CorruptError: See :meth:`ChunkStore.read`. :raises UnreadableError: Nobody knows.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, length, offset)
        finally:
            os.close(fd)
    except FileNotFoundError as exc:
        raise CorruptError(f"pack {path.name} is missing") from exc
    except OSError as exc:
        reason = f"pack {path.name} cannot be read"
        raise limits.named(exc, reason) or UnreadableError(f"{reason}: {exc.strerror}; look at the disk, and repeat the call") from exc
    if chunk_id(data) != chunk:
        raise CorruptError(f"pack {path.name} is damaged at byte {offset}: chunk {chunk.hex()} does not have its hash")
    return data


class ChunkWriter:
    """Writes the new chunks of one upload; used by one thread at a time.

    Nothing is kept unless :meth:`record` ran in a transaction that was committed; leaving the block without it removes the bytes.

    :ivar shared: Chunks of the store that this upload counts on: no garbage collection takes them while it lives.
    """

    def __init__(self, store: ChunkStore, packs: Path) -> None:
        self._store, self._folder = store, packs
        self._packs: list[Path] = []
        self._sizes: list[int] = []
        self._file: BinaryIO | None = None
        self._syncing: list[Future[None]] = []  # full packs on their way to the disk
        self._lost: OSError | None = None  # kept: of a lost write the kernel tells once, and the next fsync succeeds
        self._placed: dict[bytes, tuple[int, int, int]] = {}  # id -> (index of the pack, offset, length)
        self._sealed = self._recorded = False
        self.shared: set[bytes] = set()

    def add(self, data: bytes | memoryview) -> bytes:
        """Keep a chunk, unless it is there already.

        :param data: At most :data:`CHUNK_BYTES`.
        :return: Its id.
        :raises StorageFullError: The disk is full.
        """
        chunk = chunk_id(data)
        if not self.share(chunk):
            self.write(chunk, data)
        return chunk

    def share(self, chunk: bytes) -> bool:
        """Count on a chunk that is there already.

        :return: Whether it is.
        """
        return chunk in self._placed or chunk in self.shared or self._store.share(chunk, self.shared)

    def holds(self, chunk: bytes) -> bool:
        """Whether a chunk came in with this upload, or is counted on."""
        return chunk in self._placed or chunk in self.shared

    def share_all(self, chunks: bytes) -> None:
        """Count on all chunks of a stored file, given as their ids behind each other.

        :raises ConflictError: One is not there any more.
        """
        for at in range(0, len(chunks), CHUNK_ID_BYTES):
            if not self.share(chunks[at : at + CHUNK_ID_BYTES]):
                raise ConflictError("content that this call shares was deleted while it ran; repeat the call")

    def write(self, chunk: bytes, data: bytes | memoryview) -> None:
        """Put a chunk into the pack, wherever else it may be. :raises StorageFullError: The disk is full."""
        self._sealed = False
        with _Writing(self._folder):
            if self._file is None or self._sizes[-1] + len(data) > _PACK_BYTES:
                self._roll()
            self._open_file().write(data)
        self._placed[chunk] = (len(self._packs) - 1, self._sizes[-1], len(data))
        self._sizes[-1] += len(data)

    def read(self, chunk: bytes) -> bytes:
        """The bytes of a chunk of this upload or of the store.

        :raises CorruptError: See :meth:`ChunkStore.read`.
        """
        placed = self._placed.get(chunk)
        if placed is None:
            return self._store.read(chunk)
        if self._file is not None:
            with _Writing(self._folder):
                self._file.flush()
        pack, offset, length = placed
        return read_verified(self._packs[pack], chunk, offset=offset, length=length)

    def seal(self) -> None:
        """Make the bytes durable. Call before the transaction that names them; it costs nothing when repeated.

        :raises StorageFullError: The disk is full.
        """
        if self._sealed or not self._packs:
            return
        with _Writing(self._folder):
            if self._lost is not None:
                raise self._lost
            try:
                for full in self._syncing:
                    full.result()
                self._syncing.clear()
                if self._file is not None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
                fsync_directory(self._folder)
            except OSError as exc:
                self._lost = exc
                raise
        self._sealed = True

    def record(self, connection: sqlite3.Connection) -> None:
        """Name the chunks in a transaction. Only sealed bytes may be named."""
        if not self._packs:
            return
        if not self._sealed:
            msg = "an upload must be sealed before it is recorded"
            raise RuntimeError(msg)
        pack_ids = [
            connection.execute("INSERT INTO packs (name, size) VALUES (?, ?)", (path.stem, size)).lastrowid
            for path, size in zip(self._packs, self._sizes, strict=True)
        ]
        connection.executemany(
            "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?)",  # another upload may have brought the same bytes meanwhile
            ((chunk, pack_ids[pack], offset, length) for chunk, (pack, offset, length) in sorted(self._placed.items())),
        )
        self._recorded = True

    def kept(self) -> None:
        """Say that the transaction was committed: the next chunks begin a new pack."""
        if self._recorded:
            self._close_file()
            self._packs, self._sizes, self._placed = [], [], {}
            self._sealed = self._recorded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(OSError):  # what its buffer holds is not wanted any more, and on a full disk cannot be written
            self._close_file()
        for path in self._packs:
            path.unlink(missing_ok=True)
        self.shared.clear()

    def _roll(self) -> None:
        if self._file is not None:
            self._file.flush()
            self._syncing.append(self._store.background.submit(_sync_and_close, self._file))
            self._file = None
        path = self._folder / f"{uuid.uuid4().hex}.pack"
        self._file = path.open("xb", buffering=_WRITE_BUFFER_BYTES)
        self._packs.append(path)
        self._sizes.append(0)

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            self._roll()
        assert self._file is not None  # noqa: S101 - tells mypy what _roll has just done
        return self._file

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _sync_and_close(file: BinaryIO) -> None:
    with file:
        os.fsync(file.fileno())


class _Writing:
    """Give errors of the system their names. :raises StorageFullError: The disk is full; and see :func:`limits.named`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError) and (found := limits.named(error, f"cannot write to {self._folder}")) is not None:
            raise found from error
