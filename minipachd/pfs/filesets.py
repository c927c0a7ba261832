"""File sets: content outside commits, for a while. A set is a layer: what it takes away from what is below it, and what it appends then.

The repo :data:`~minipachd.pfs.names.FILESET_REPO` shows them to the calls that read: a commit id there is a file set's.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from minipachd.errors import InvalidError, NotFoundError
from minipachd.pfs.filetree import FileTree
from minipachd.pfs.names import FILESET_REPO, new_id
from minipachd.pfs.types import BranchKey, Commit, CommitKey, CommitSetId, FileEntry, Origin, RepoKey
from minipachd.pfs.upload import Upload
from minipachd.storage import EMPTY_ROOT

if TYPE_CHECKING:
    from minipachd.pfs.txn import Txn
    from minipachd.pfs.view import View

DEFAULT_SECONDS, MOST_SECONDS = 600, 1800
_SHARD_FILES, _SHARD_BYTES = 100_000, 1 << 30


@dataclass(frozen=True, slots=True)
class FileSet:
    """:ivar deletes: (path, tag) to remove from what lies below it; directories with a slash at their end.

    :ivar root: Of the files that it then appends.
    """

    id: CommitSetId
    deletes: tuple[tuple[str, str], ...]
    root: bytes
    created_ns: int


class FileSetNotFoundError(NotFoundError):
    """It never was, or its time is over."""

    def __init__(self, file_set: str) -> None:
        super().__init__(f"file set {file_set} not found; they last for {DEFAULT_SECONDS // 60} minutes unless they are renewed")
        self.file_set = file_set


def create(txn: "Txn", *, upload: Upload, deletes: Sequence[tuple[str, str]], appends: Sequence[FileEntry]) -> str:
    """Keep what a stream of operations gave. Returns the set's id."""
    root = txn.edited(EMPTY_ROOT, upload=upload, append=appends).root
    return _insert(txn, deletes, root, DEFAULT_SECONDS)


def of_commit(txn: "Txn", key: CommitKey) -> str:
    """Keep what a commit holds now. Returns the set's id."""
    return _insert(txn, (), txn.commit(key).root, DEFAULT_SECONDS)


def find(view: "View", file_set: str) -> FileSet:
    """:raises FileSetNotFoundError: There is none, or none any more."""
    row = view.db.execute(
        "SELECT id, deletes, root, created_ns FROM filesets WHERE id = ? AND expires_ns > ?", (file_set, time.time_ns())
    ).fetchone()
    if row is None:
        raise FileSetNotFoundError(file_set)
    return FileSet(CommitSetId(row[0]), msgspec.msgpack.decode(row[1], type=tuple[tuple[str, str], ...]), row[2], row[3])


def renew(txn: "Txn", file_set: str, ttl_seconds: int) -> None:
    """Let a set last so long from now. :raises FileSetNotFoundError: See :func:`find`. :raises InvalidError: A bad time."""
    found = find(txn, file_set)
    txn.db.execute("UPDATE filesets SET expires_ns = ? WHERE id = ?", (_expiry(ttl_seconds), found.id))


def add_to_commit(txn: "Txn", key: CommitKey, file_set: str) -> None:
    """Lay a set over an open commit.

    :raises FileSetNotFoundError: See :func:`find`. :raises CommitFinishedError: It is not open.
    """
    layer = find(txn, file_set)
    txn.write_files(key, delete=layer.deletes, append=list(txn.tree(layer.root).pieces()))


def compose(txn: "Txn", file_sets: Sequence[str], ttl_seconds: int) -> str:
    """Lay sets over each other, the first one at the bottom. Returns the new set's id. :raises FileSetNotFoundError: See :func:`find`."""
    root = EMPTY_ROOT
    deletes: dict[tuple[str, str], None] = {}
    for layer in [find(txn, file_set) for file_set in file_sets]:
        root = txn.edited(root, delete=layer.deletes, append=list(txn.tree(layer.root).pieces())).root
        deletes.update(dict.fromkeys(layer.deletes))
    return _insert(txn, list(deletes), root, ttl_seconds or DEFAULT_SECONDS)


def shards(files: FileTree, *, most_files: int = _SHARD_FILES, most_bytes: int = _SHARD_BYTES) -> Iterator[tuple[str, str]]:
    """Ranges of paths (lower included, upper not; empty is no bound) that hold every file, as evenly as the limits ask for."""
    lower, count, size = "", 0, 0
    for entry in files.entries():
        if count and (count >= most_files or size + entry.size > most_bytes):
            yield lower, entry.path
            lower, count, size = entry.path, 0, 0
        count += 1
        size += entry.size
    yield lower, ""


def as_commit(file_set: FileSet, project: str) -> Commit:
    """What reads of :data:`~minipachd.pfs.names.FILESET_REPO` show."""
    repo = RepoKey(project, FILESET_REPO)
    return Commit(
        key=CommitKey(repo, file_set.id),
        branch=BranchKey(repo, ""),
        origin=Origin.USER,
        description="",
        parent=None,
        started_ns=file_set.created_ns,
        finishing_ns=file_set.created_ns,
        finished_ns=file_set.created_ns,
        error="",
        root=file_set.root,
        size=0,
        direct_provenance=(),
    )


def remove_expired(db: sqlite3.Connection, now_ns: int) -> None:
    """Forget the sets whose time is over."""
    db.execute("DELETE FROM filesets WHERE expires_ns <= ?", (now_ns,))


def _insert(txn: "Txn", deletes: Sequence[tuple[str, str]], root: bytes, ttl_seconds: int) -> str:
    now_ns = time.time_ns()
    remove_expired(txn.db, now_ns)
    file_set = new_id()
    txn.db.execute(
        "INSERT INTO filesets (id, deletes, root, created_ns, expires_ns) VALUES (?, ?, ?, ?, ?)",
        (file_set, msgspec.msgpack.encode(deletes), root, now_ns, _expiry(ttl_seconds)),
    )
    return file_set


def _expiry(ttl_seconds: int) -> int:
    if not 1 <= ttl_seconds <= MOST_SECONDS:
        raise InvalidError(f"ttl_seconds must be between 1 and {MOST_SECONDS}, it is {ttl_seconds}")
    return time.time_ns() + ttl_seconds * 10**9
