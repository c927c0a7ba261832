"""The work of one job while it lasts: datums handed out to workers, results taken back, and written down from time to time.

Controller and workers share a :class:`JobRun`. What a worker delivers is kept in memory, with its bytes in an open upload, until the
controller flushes: one fsync and one transaction for however many datums there are.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from minipachd.pfs import FileEntry, FileTree, Pfs, Upload
from minipachd.pps.datum import Datum, DatumInput, DatumRecord, DatumStats
from minipachd.pps.records import DatumCounts, Pipeline
from minipachd.pps.spec import DatumId, DatumState, JobKey
from minipachd.pps.workdir import OutputError, WorkDir

_PATIENCE_SECONDS = 0.5


class DuplicateOutputError(OutputError):
    """Two datums write the same path, which no retry can change: the job fails."""

    def __init__(self, path: str, first: DatumId, second: DatumId) -> None:
        super().__init__(f"duplicate path output by different datums: {path!r} is written by datum {first} and by datum {second}")


@dataclass(frozen=True, slots=True)
class Task:
    """A datum to run, and its hash."""

    datum: Datum
    hash: bytes


@dataclass(slots=True)
class Batch:
    """Results that are not written down yet."""

    records: list[DatumRecord] = field(default_factory=list)
    entries: list[FileEntry] = field(default_factory=list)
    upload: Upload | None = None


class JobRun:
    """Shared by a job's controller and its workers; every method may be called from any thread.

    :param commits: The commits that the datums read, by (project, repo, type, commit id).
    :param output: The open output commit's files before any of the tasks ran.
    :ivar ended: Set by :meth:`cancel`, for those who sleep.
    """

    def __init__(
        self, job: JobKey, pipeline: Pipeline, *, commits: Mapping[tuple[str, str, str, str], FileTree], output: FileTree, pfs: Pfs
    ) -> None:
        self.job, self.pipeline = job, pipeline
        self._tasks: Iterator[Task] = iter(())
        self._commits = commits
        self._output = output
        self._pfs = pfs
        self._owners: dict[str, DatumId] = {}
        self._condition = threading.Condition()
        self._collect_lock = threading.Lock()
        self._batch = Batch()
        self._running = 0
        self._exhausted = False
        self.ended = threading.Event()
        self.counts = DatumCounts()
        self.stats = DatumStats()
        self.failure = ""
        self.on_cancel: Callable[[], None] = lambda: None

    def add(self, tasks: Iterable[Task]) -> None:
        """Say what there is to run, before the workers begin."""
        self._tasks = iter(tasks)

    def take(self) -> Task | None:
        """The next datum to run; None when there is no more. Each taken one must be given back by :meth:`settle` or :meth:`abandon`."""
        with self._condition:
            if self.cancelled or self._exhausted:
                return None
            task = next(self._tasks, None)
            if task is None:
                self._exhausted = True
                self._condition.notify_all()
                return None
            self._running += 1
            return task

    def files(self, part: DatumInput) -> FileTree:
        """The files of the commit that an input reads."""
        return self._commits[part.project, part.repo, part.repo_type, part.commit_id]

    def deliver(self, task: Task, workdir: WorkDir, *, stats: DatumStats, check: Callable[[], None]) -> None:
        """Take over the output of a datum that succeeded, and settle it.

        :param check: Called now and then; what it raises ends this, and the datum is not settled.
        :raises OutputError: Something in the output cannot be stored; the datum is not settled.
        :raises DuplicateOutputError: Another datum wrote one of its paths; the job is bound to fail, the datum is not settled.
        """
        datum = task.datum
        while not self._collect_lock.acquire(timeout=_PATIENCE_SECONDS):
            if self.cancelled:
                check()
        try:
            began = time.monotonic_ns()
            if self._batch.upload is None:
                self._batch.upload = self._pfs.upload()
            entries = workdir.collect(self._batch.upload, datum.id, check=check)
            self._claim(datum.id, entries)
            self._batch.entries.extend(entries)
            uploaded = sum(entry.size for entry in entries)
            stats += DatumStats(upload_ns=time.monotonic_ns() - began, upload_bytes=uploaded)
            self._record(task, DatumState.SUCCESS, stats=stats, outputs=tuple(entry.path for entry in entries))
        finally:
            self._collect_lock.release()
        self._settled(DatumState.SUCCESS, stats)

    def reuse(self, record: DatumRecord, entries: list[FileEntry]) -> None:
        """Settle a datum with what an earlier, failed job made of it.

        :raises DuplicateOutputError: As in :meth:`deliver`.
        """
        with self._collect_lock:
            self._claim(record.id, entries)
            self._batch.entries.extend(entries)
            self._batch.records.append(record)
        with self._condition:
            self.counts = _counted(self.counts, record.state)

    def settle(self, task: Task, state: DatumState, *, reason: str, stats: DatumStats) -> None:
        """Write down a datum that failed or was recovered: it has no output."""
        with self._collect_lock:
            self._record(task, state, stats=stats, reason=reason)
        if state is DatumState.FAILED and not self.failure:
            paths = ", ".join(part.path for part in task.datum.inputs[:3])
            self.failure = f"datum {task.datum.id} failed ({paths}): {reason}"
        self._settled(state, stats)

    def abandon(self) -> None:
        """Give a taken datum back without a result: the job has been cancelled."""
        with self._condition:
            self._running -= 1
            self._condition.notify_all()

    def fail(self, reason: str) -> None:
        """The job cannot succeed any more: stop its other datums."""
        self.failure = reason
        self.cancel()

    def cancel(self) -> None:
        """Let no further datum begin, and have the workers kill what runs."""
        with self._condition:
            self.ended.set()
            self._condition.notify_all()
        self.on_cancel()

    @property
    def cancelled(self) -> bool:
        return self.ended.is_set()

    def wait(self, timeout_seconds: float | None) -> bool:
        """Block until no datum runs and none is left, at most for the given time (None: as long as it takes).

        :return: Whether that is so.
        """
        with self._condition:
            return self._condition.wait_for(lambda: self._running == 0 and (self._exhausted or self.cancelled), timeout_seconds)

    def swap(self, patience_seconds: float = -1) -> Batch:
        """Take out what has been settled so far, to write it down; its upload is the caller's to seal and close.

        :param patience_seconds: How long to wait while an output is collected, before nothing is taken out; by default till its end.
        """
        if not self._collect_lock.acquire(timeout=patience_seconds):
            return Batch()
        try:
            batch, self._batch = self._batch, Batch()
            return batch
        finally:
            self._collect_lock.release()

    def discard(self) -> None:
        """Drop what has been settled and will not be written down."""
        upload = self.swap().upload
        if upload is not None:
            upload.__exit__(None, None, None)

    def _claim(self, datum: DatumId, entries: list[FileEntry]) -> None:
        for entry in entries:
            owner = self._owners.get(entry.path)
            if owner is None and (present := self._output.get(entry.path)) is not None:
                owner = DatumId(present.tag)
            if owner is not None and owner != datum:
                raise DuplicateOutputError(entry.path, owner, datum)
        self._owners.update((entry.path, datum) for entry in entries)

    def _record(self, task: Task, state: DatumState, *, stats: DatumStats, reason: str = "", outputs: tuple[str, ...] = ()) -> None:
        self._batch.records.append(
            DatumRecord(
                id=task.datum.id,
                job=self.job.id,
                hash=task.hash,
                state=state,
                inputs=task.datum.inputs,
                outputs=outputs,
                reason=reason,
                stats=stats,
            )
        )

    def _settled(self, state: DatumState, stats: DatumStats) -> None:
        with self._condition:
            self.counts = _counted(self.counts, state)
            self.stats += stats
            self._running -= 1
            if self._running == 0:
                self._condition.notify_all()


def _counted(counts: DatumCounts, state: DatumState) -> DatumCounts:
    return DatumCounts(
        total=counts.total,
        skipped=counts.skipped,
        processed=counts.processed + (state is DatumState.SUCCESS),
        failed=counts.failed + (state is DatumState.FAILED),
        recovered=counts.recovered + (state is DatumState.RECOVERED),
    )
