"""What a change of PFS is made with: the state of a write transaction, and the few things that every function that takes part does."""

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from minipachd.pfs.names import new_id
from minipachd.pfs.types import Commit, CommitSetId, RepoKey
from minipachd.pfs.upload import Upload
from minipachd.pfs.view import View
from minipachd.storage import ChunkStore, NodeStore


class CommitObserver(Protocol):
    """What PFS tells the layer above. Every method runs inside the transaction: an error in it undoes the whole change."""

    def commits_created(self, view: View, commits: Sequence[Commit]) -> None:
        """Open commits made by propagation or on a branch with provenance, in topological order, just before the transaction ends."""

    def commit_finished(self, view: View, commit: Commit) -> None:
        """A commit has just been finished, perhaps with an error."""

    def commits_deleted(self, view: View, commits: Sequence[Commit]) -> None:
        """These commits are about to disappear (squash, drop, deletion of their repo)."""

    def repo_owner(self, view: View, repo: RepoKey) -> str | None:
        """The pipeline whose output, meta or spec repo this is (``project/name``), or None: users may not delete what it owns."""


class Writing(View):
    """A view whose connection may write. The functions of this package take one; :class:`~minipachd.pfs.txn.Txn` is one.

    :ivar set_id: The id of every commit that it makes.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        nodes: NodeStore,
        chunks: ChunkStore,
        *,
        set_id: CommitSetId | None,
        observer: CommitObserver | None,
    ) -> None:
        super().__init__(connection, nodes)
        self.set_id = set_id or new_id()
        self.observer = observer
        self.moved: set[int] = set()
        """Rows of branches whose head moved: their subvenance is looked at in :meth:`conclude`."""
        self.set_anew: set[int] = set()
        """Rows of branches that a client pointed at a commit, be it the one that was their head: everything downstream is made anew."""
        self.created: list[int] = []
        """Rows of open commits made automatically, for the observer."""
        self.finished: list[Commit] = []
        """Commits finished without error, for the triggers."""
        self._chunks = chunks
        self._uploads: list[Upload] = []
        self._scratch: Upload | None = None

    def move_head(self, branch_row: int, commit_row: int) -> None:
        """Point a branch at a commit; what is downstream follows at the end of the transaction."""
        self.db.execute("UPDATE branches SET head = ? WHERE id = ?", (commit_row, branch_row))
        self.moved.add(branch_row)

    def record(self, upload: Upload) -> None:
        """Name an upload's chunks in this transaction."""
        if upload not in self._uploads:
            self._uploads.append(upload)
            upload.record(self.db)

    def has_chunk(self, chunk: bytes) -> bool:
        """Whether a chunk is in the store, or on its way there with this transaction."""
        return (self._scratch is not None and self._scratch.holds(chunk)) or chunk in self._chunks

    def scratch_upload(self) -> Upload:
        """Where content goes that is only made inside the transaction; sealed and recorded before it ends."""
        if self._scratch is None:
            self._scratch = Upload(self._chunks)
        return self._scratch

    def seal_scratch(self) -> None:
        """Record what was made inside the transaction."""
        if self._scratch is not None:
            self._scratch.seal()
            self.record(self._scratch)

    def close(self, *, kept: bool) -> None:
        """After the end of the transaction.

        :param kept: It was committed.
        """
        if kept:
            for upload in self._uploads:
                upload.kept()
        if self._scratch is not None:
            self._scratch.__exit__(None, None, None)
