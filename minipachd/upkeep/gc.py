"""Garbage collection: dropping what no commit, file set or job reaches. Safe while serving, and at any moment of a SIGKILL.

1. *Mark*: from the roots of all commits, file sets and jobs, and of trees that somebody in this process still reads. What is stored and not
   marked is a candidate.
2. *Wait* until every snapshot that was open then has ended: whoever read a root from it holds the tree now, or has dropped it.
3. *Sweep* the candidates in small write transactions. Each first marks what has come into use since, and leaves what running uploads share.
4. *Packs* in which no chunk lies are deleted; those with enough gaps are rewritten without them.

No step depends on an earlier one having been finished: a collection that was killed is completed by the next.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice

import msgspec

from minipachd.errors import ConflictError, CorruptError, FailedPreconditionError, LimitError, StorageFullError, UnreadableError
from minipachd.pfs import Pfs, filesets
from minipachd.storage import CHUNK_ID_BYTES, Entry, NodeStore
from minipachd.upkeep.roots import Roots, all_roots

log = logging.getLogger(__name__)

REWRITE_SHARE = 4
"""A pack is rewritten when at least one part in this many of it is gaps."""
_SWEEP_BATCH = 5_000
_SNAPSHOT_SECONDS = 120.0

Progress = Callable[[str], None]


class Freed(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection did; sizes are bytes.

    :ivar disk_bytes: By how much the packs shrank.
    :ivar left_bytes: Gaps in packs that were not worth a rewrite.
    :ivar problems: Packs that could not be rewritten, and why; they were left as they are.
    """

    chunks: int
    nodes: int
    packs_deleted: int
    packs_rewritten: int
    disk_bytes: int
    left_bytes: int
    seconds: float
    problems: tuple[str, ...] = ()


class Marks:
    """Nodes and chunks that are in use."""

    def __init__(self, nodes: NodeStore) -> None:
        self.nodes: set[bytes] = set()
        self.chunks: set[bytes] = set()
        self._reach = nodes.reach

    def add(self, roots: Roots, held: Iterable[bytes] = ()) -> None:
        """Mark what some roots reach.

        :param held: Roots of trees in memory, of either kind; those of undone transactions may be gone.
        :raises CorruptError: A node is missing or damaged: nobody knows what it names.
        """
        self._add_chunks(self._reach(roots.files, self.nodes))
        for _ in self._reach(roots.records, self.nodes):
            pass
        for root in held:  # one by one: what is missing below one of them says nothing of the others
            self._add_chunks(self._reach([root], self.nodes, missing_ok=True))

    def _add_chunks(self, leaves: Iterable[list[Entry]]) -> None:
        for entries in leaves:
            for entry in entries:
                value = entry.value
                self.chunks.update(value[at : at + CHUNK_ID_BYTES] for at in range(0, len(value), CHUNK_ID_BYTES))


class Collector:
    """Collects one store's garbage; one collection at a time."""

    def __init__(self, pfs: Pfs) -> None:
        self._pfs = pfs
        self._running = threading.Lock()
        self._stopping = False

    def collect(self, progress: Progress = lambda _: None) -> Freed:
        """Drop what is not in use.

        :param progress: Told what is being done, a line each.
        :raises FailedPreconditionError: A collection is running already.
        :raises CorruptError: A tree in use is damaged. Nothing was dropped: it may need any chunk.
        :raises ConflictError: Somebody keeps an old snapshot open. Nothing was dropped.
        """
        if not self._running.acquire(blocking=False):
            raise FailedPreconditionError("a garbage collection is running already; wait for its end")
        try:
            return self._collect(progress)
        finally:
            self._running.release()

    def stop(self) -> None:
        """End a running collection soon, with an error; what it has dropped stays dropped."""
        self._stopping = True

    def _check_stopping(self) -> None:
        if self._stopping:
            raise ConflictError("the server is stopping; collect again when it is back, the rest is dropped then")

    def _collect(self, progress: Progress) -> Freed:
        began = time.monotonic()
        pfs = self._pfs
        with pfs.transaction() as txn:
            filesets.remove_expired(txn.db, time.time_ns())
        marks = Marks(pfs.nodes)
        try:
            marks.add(self._roots(), pfs.nodes.held_roots())
        except CorruptError as exc:
            raise CorruptError(f"nothing was dropped: {exc}; minipachd fsck says what is damaged") from exc
        nodes = [node for node in pfs.nodes.all_ids() if node not in marks.nodes]
        chunks = [chunk for chunk in pfs.chunks.all_ids() if chunk not in marks.chunks]
        progress(f"in use: {len(marks.nodes)} tree nodes, {len(marks.chunks)} chunks; not in use: {len(nodes)} nodes, {len(chunks)} chunks")
        if not pfs.database.outlast_snapshots(_SNAPSHOT_SECONDS):
            raise ConflictError("nothing was dropped: a reader has kept a snapshot open for two minutes; try again when it has ended")
        dropped_nodes = self._sweep_nodes(nodes, marks)
        dropped_chunks = self._sweep_chunks(chunks, marks)
        progress(f"dropped {dropped_nodes} nodes and {dropped_chunks} chunks")
        return self._tidy_packs(progress, dropped_nodes, dropped_chunks, began)

    def _roots(self) -> Roots:
        with self._pfs.snapshot() as view:
            return all_roots(view.db)

    def _sweep_nodes(self, candidates: list[bytes], marks: Marks) -> int:
        dropped = 0
        waiting = iter(candidates)
        while batch := list(islice(waiting, _SWEEP_BATCH)):
            self._check_stopping()
            with self._pfs.chunks.sweeping():
                self._mark_new(marks)
                doomed = [node for node in batch if node not in marks.nodes]
                self._pfs.nodes.forget(doomed)
            dropped += len(doomed)
        return dropped

    def _sweep_chunks(self, candidates: list[bytes], marks: Marks) -> int:
        dropped = 0
        waiting = iter(candidates)
        while batch := list(islice(waiting, _SWEEP_BATCH)):
            self._check_stopping()
            with self._pfs.chunks.sweeping() as shared:
                self._mark_new(marks)
                doomed = [chunk for chunk in batch if chunk not in marks.chunks and chunk not in shared]
                self._pfs.chunks.forget(doomed)
            dropped += len(doomed)
        return dropped

    def _mark_new(self, marks: Marks) -> None:
        """What has come into use since the last look; part of the sweep's transaction."""
        with self._pfs.database.reading() as db:
            marks.add(all_roots(db), self._pfs.nodes.held_roots())

    def _tidy_packs(self, progress: Progress, nodes: int, chunks: int, began: float) -> Freed:
        store = self._pfs.chunks
        deleted = store.drop_unused_packs()
        if deleted:
            progress(f"deleted {len(deleted)} packs of {sum(deleted)} bytes")
        freed, rewritten, left = sum(deleted), 0, 0
        problems = []
        for pack in sorted(store.usage(), key=lambda pack: pack.used):  # a full disk has room for the small ones first
            self._check_stopping()
            gaps = pack.size - pack.used
            if not gaps or gaps * REWRITE_SHARE < pack.size:
                left += gaps
                continue
            try:
                freed += pack.size - store.rewrite(pack)
            except (CorruptError, StorageFullError, LimitError, UnreadableError) as exc:
                problems.append(f"pack {pack.name}.pack was left as it is: {exc}")
                log.warning("%s", problems[-1])
                left += gaps
                continue
            rewritten += 1
            progress(f"rewrote pack {pack.name}.pack: {pack.size} bytes, now {pack.used}")
        done = Freed(
            chunks=chunks,
            nodes=nodes,
            packs_deleted=len(deleted),
            packs_rewritten=rewritten,
            disk_bytes=freed,
            left_bytes=left,
            seconds=time.monotonic() - began,
            problems=tuple(problems),
        )
        log.info("garbage collection: %s", done)
        return done
