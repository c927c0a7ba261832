"""PFS as one object: where transactions, snapshots and uploads come from."""

import logging
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minipachd.errors import ConflictError
from minipachd.pfs.changes import Changes
from minipachd.pfs.filetree import FileTree
from minipachd.pfs.local_files import LocalFiles
from minipachd.pfs.modification import Modification
from minipachd.pfs.schema import SCHEMA
from minipachd.pfs.txn import Txn
from minipachd.pfs.types import DEFAULT_PROJECT, Commit, CommitSetId, FileEntry
from minipachd.pfs.upload import Upload, read_entry
from minipachd.pfs.view import View
from minipachd.pfs.writing import CommitObserver
from minipachd.settings import Settings
from minipachd.storage import ChunkStore, Database, DataDirectory, NodeStore, Tree

log = logging.getLogger(__name__)

DEFAULT_SETTINGS = Settings()


class Pfs:
    """The file system of a data directory. Every method may be called from any thread.

    :ivar local_files: What of this machine URLs may reach.
    :ivar url_seconds: How long the server may read from, or write to, one URL for one caller.
    :raises InvalidError: The settings name a directory that there is not.
    :ivar changes: Tells when something changed.
    :ivar database: Where PPS installs its own tables.
    :ivar tmp: For files on their way; emptied at the start.
    :ivar nodes: Where PPS keeps its own trees.
    """

    def __init__(self, directory: DataDirectory, *, settings: Settings = DEFAULT_SETTINGS) -> None:
        self.url_seconds = settings.url_seconds
        self.local_files = LocalFiles(settings.allow_files, never=directory.root)
        self.database = Database(directory.database)
        self.chunks = ChunkStore(self.database, directory.packs)
        self.nodes = NodeStore(self.database)
        self.changes = Changes()
        self.tmp = directory.tmp
        self._observer: CommitObserver | None = None
        for left_behind in self.tmp.iterdir():  # by a server that was killed
            shutil.rmtree(left_behind, ignore_errors=True)
        self.database.install(SCHEMA)
        self.chunks.remove_orphans()
        with self.database.transaction() as connection:
            if not connection.execute("SELECT 1 FROM cluster WHERE name = 'id'").fetchone():
                connection.executemany("INSERT INTO cluster VALUES (?, ?)", (("id", uuid.uuid4().hex), ("deployment_id", uuid.uuid4().hex)))
                Txn(connection, self.nodes, self.chunks, set_id=None, observer=None).create_project(DEFAULT_PROJECT)

    def set_observer(self, observer: CommitObserver) -> None:
        """Let the layer above take part in every transaction from now on."""
        self._observer = observer

    @contextmanager
    def transaction(self, *, set_id: CommitSetId | None = None) -> Iterator[Txn]:
        """Change things: all of it when the block ends, nothing when it raises.

        :param set_id: Of the commits that are made; a fresh one by default.
        """
        with self._transaction(set_id) as (txn, before):
            yield txn
            txn.conclude()
        changed = txn.db.total_changes != before
        if changed:
            self.changes.notify()

    @contextmanager
    def rehearsal(self, *, set_id: CommitSetId | None = None) -> Iterator[Txn]:
        """A transaction that is always undone: what would happen, and whether it may."""
        try:
            with self._transaction(set_id) as (txn, _):
                yield txn
                txn.conclude()
                _undo()
        except _UndoneError:
            return

    @contextmanager
    def snapshot(self) -> Iterator[View]:
        """Read one consistent state. Keep the block short; file trees that come from it may be read after it."""
        with self.database.snapshot() as connection:
            yield View(connection, self.nodes)

    def upload(self) -> Upload:
        """Bring bytes in: a context manager that leaves nothing behind what no transaction recorded."""
        return Upload(self.chunks)

    def modification(self) -> Modification:
        """Gather the operations of a ModifyFile stream: a context manager, too."""
        return Modification(self.upload())

    def files(self, root: bytes) -> FileTree:
        """The files under a root."""
        return FileTree(Tree(self.nodes, root))

    def read(self, entry: FileEntry, *, offset: int = 0, commit: Commit | None = None) -> Iterator[bytes]:
        """A file's bytes from ``offset`` on, in pieces of at most 1 MiB.

        :param commit: Named in the error when the bytes are damaged.
        :raises CorruptError: They are not those that were written; none of the damaged ones has been given out.
        """
        return read_entry(self.chunks, entry, offset=offset, commit=commit)

    def write_to(self, entry: FileEntry, path: Path, *, commit: Commit | None = None) -> None:
        """Write a file's content to the local file system; its directory must exist.

        :raises CorruptError: See :meth:`read`. The file is removed.
        """
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            for piece in self.read(entry, commit=commit):
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def cluster_id(self, name: str = "id") -> str:
        """A stable identifier: ``id`` or ``deployment_id``."""
        with self.database.reading() as connection:
            return str(connection.execute("SELECT value FROM cluster WHERE name = ?", (name,)).fetchone()[0])

    def close(self) -> None:
        """Let go of the database. Call when nobody uses this object any more."""
        self.database.close()

    @contextmanager
    def _transaction(self, set_id: CommitSetId | None) -> Iterator[tuple[Txn, int]]:
        txn: Txn | None = None
        kept = False
        try:
            with self.database.transaction() as connection:
                txn = Txn(connection, self.nodes, self.chunks, set_id=set_id, observer=self._observer)
                yield txn, connection.total_changes
            kept = True
        finally:
            if txn is not None:
                txn.close(kept=kept)


class _UndoneError(ConflictError):
    """Ends a rehearsal."""


def _undo() -> None:
    raise _UndoneError
