"""The SQLite database: one writer at a time, any number of readers that each see one consistent state."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from minipachd.errors import DataDirError
from minipachd.storage import limits

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schema:
    """The tables of one part of the engine.

    :ivar component: Its name, also the prefix of its tables where others might clash.
    :ivar migrations: SQL scripts; the n-th brings the component from version n-1 to n. Add to the end, never change what was released.
    """

    component: str
    migrations: tuple[str, ...]


class Database:
    """One SQLite file in WAL mode at ``synchronous=FULL``: a transaction that returned survives a power cut.

    :param read_only: Look at a database that another process may be writing to; its tables must be of this version.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path, self._read_only = path, read_only
        self._write_lock = threading.RLock()
        self._writer_thread: int | None = None
        self._idle_readers: list[sqlite3.Connection] = []
        self._snapshots: set[object] = set()
        self._snapshot_ended = threading.Condition()
        try:
            self._writer = self._connect()
            with _closed_on_error(self._writer):
                if read_only:
                    self._writer.execute("SELECT 1 FROM sqlite_master")
                    return
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute("CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        except sqlite3.DatabaseError as exc:
            raise DataDirError(f"database {path} cannot be opened: {exc}; restore it from a backup or give another directory") from exc

    def install(self, schema: Schema) -> None:
        """Create or migrate the tables of a component, in one transaction.

        :raises DataDirError: A newer minipachd made them, or an older one and this is read-only. Nothing was changed.
        """
        if self._read_only:
            self._check_version(schema)
            return
        with self.transaction() as connection:
            row = connection.execute("SELECT version FROM schema_versions WHERE component = ?", (schema.component,)).fetchone()
            version = row[0] if row else 0
            if version > len(schema.migrations):
                raise DataDirError(
                    f"database {self._path}: the {schema.component} tables were made by a newer minipachd "
                    f"(version {version}, this one knows {len(schema.migrations)}); upgrade minipachd"
                )
            for script in schema.migrations[version:]:
                for statement in _statements(script):
                    connection.execute(statement)
            connection.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (schema.component, len(schema.migrations)))

    def _check_version(self, schema: Schema) -> None:
        with self.reading() as connection:
            row = connection.execute("SELECT version FROM schema_versions WHERE component = ?", (schema.component,)).fetchone()
        if row is None or row[0] != len(schema.migrations):
            raise DataDirError(
                f"database {self._path}: the {schema.component} tables have version {row[0] if row else 0}, this minipachd knows "
                f"{len(schema.migrations)}; use the minipachd that wrote it, or serve it once with a newer one, which migrates it"
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The one write transaction: committed and durable when the block ends, undone when it raises.

        :raises StorageFullError: The disk is full; nothing was kept.
        """
        with self._write_lock:
            if self._writer_thread is not None:
                msg = "a write transaction inside a write transaction of the same thread"
                raise RuntimeError(msg)
            self._writer_thread = threading.get_ident()
            try:
                with _translated(self._path):
                    self._writer.execute("BEGIN IMMEDIATE")
                    try:
                        yield self._writer
                        self._writer.execute("COMMIT")
                    except BaseException:
                        with suppress(sqlite3.OperationalError):  # a full disk may have rolled it back already
                            self._writer.execute("ROLLBACK")
                        raise
            finally:
                self._writer_thread = None

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the state of one moment until the block ends. Keep it short: it holds back the WAL's checkpoint."""
        token = object()
        with self._snapshot_ended:
            self._snapshots.add(token)
        try:
            with self._reader() as connection, _translated(self._path):
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    connection.execute("ROLLBACK")
        finally:
            with self._snapshot_ended:
                self._snapshots.remove(token)
                self._snapshot_ended.notify_all()

    def outlast_snapshots(self, timeout_seconds: float) -> bool:
        """Block until every snapshot that is open now has ended.

        :return: False when the time ran out first.
        """
        with self._snapshot_ended:
            before = set(self._snapshots)
            return self._snapshot_ended.wait_for(lambda: before.isdisjoint(self._snapshots), timeout_seconds)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for single reads: the open write transaction's when this thread has one, else one that sees what is committed."""
        if self._writer_thread == threading.get_ident():
            yield self._writer
            return
        with self._reader() as connection, _translated(self._path):
            yield connection

    def in_transaction(self) -> bool:
        """Whether the calling thread is inside :meth:`transaction`."""
        return self._writer_thread == threading.get_ident()

    def close(self) -> None:
        """Close every connection. Call when no thread uses the database any more."""
        with self._write_lock:
            while self._idle_readers:
                self._idle_readers.pop().close()
            self._writer.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle_readers.pop()
        except IndexError:
            with _translated(self._path):
                connection = self._connect()
                connection.execute("PRAGMA query_only = 1")
        try:
            yield connection
        finally:
            self._idle_readers.append(connection)

    def _connect(self) -> sqlite3.Connection:
        name = f"{self._path.absolute().as_uri()}?mode={'ro' if self._read_only else 'rwc'}"
        connection = sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=60, cached_statements=256)
        with _closed_on_error(connection):
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        return connection


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Give SQLite's errors of the system and of the disk their names."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        error = limits.named(exc, f"cannot use database {path}")
        if error is None:
            raise
        raise error from exc


def _statements(script: str) -> Iterator[str]:
    """Split a script at the semicolons that end statements (``executescript`` would commit the transaction)."""
    statement = ""
    for part in script.split(";")[:-1]:
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
