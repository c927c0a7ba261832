"""Log lines of pipelines: one append-only file per job, and one per pipeline for what belongs to no job.

They outlive processes, stops and restarts of the server; they go with their pipeline. Three bounds keep them from eating the disk: a
datum's output is cut after :data:`MAX_DATUM_BYTES`, a job's file after :data:`MAX_JOB_BYTES`, and the oldest job files of a pipeline go
when together they exceed :data:`MAX_PIPELINE_BYTES`.
"""

import base64
import contextlib
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from minipachd.pfs import Changes
from minipachd.pps.spec import DatumId, JobId, PipelineKey

log = logging.getLogger(__name__)

MAX_DATUM_BYTES = 4 << 20
MAX_JOB_BYTES = 128 << 20
MAX_PIPELINE_BYTES = 256 << 20
_PIPELINE_FILE = "pipeline.jsonl"


class InputFile(msgspec.Struct, frozen=True):
    """A file of a datum, as log lines name it."""

    path: str
    hash: bytes


class LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line.

    :ivar master: Written by the pipeline's controller.
    :ivar user: Written by user code.
    :ivar data: What the datum reads; on disk only the first line of a datum in a file has it.
    """

    ts_ns: int
    message: str
    job: str = ""
    datum: str = ""
    worker: str = ""
    master: bool = False
    user: bool = False
    data: tuple[InputFile, ...] = ()


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines are wanted; every given filter must agree.

    :ivar job: None for all jobs of the pipeline.
    :ivar data_filters: Each must be a path, or a hash in hexadecimal or base64, of one of the datum's inputs.
    :ivar since_ns: Wall clock.
    :ivar tail: At most this many lines per worker; None for all.
    """

    pipeline: PipelineKey
    job: JobId | None = None
    datum: str = ""
    data_filters: tuple[str, ...] = ()
    master: bool = False
    since_ns: int = 0
    tail: int | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(LogLine).decode


class Logs:
    """All log lines below one directory; safe for use by many threads.

    :ivar changes: Notified whenever lines were added, for those who follow.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.changes = Changes()
        self._lock = threading.Lock()

    def append(self, pipeline: PipelineKey, lines: Iterable[LogLine]) -> None:
        """Add lines of one job, or of none, with a single write. Where they cannot be written they are lost, and the work goes on."""
        batch = list(lines)
        if not batch:
            return
        data = b"".join(_encode(line) + b"\n" for line in batch)
        last = b""
        if not batch[0].master:  # what the controller says of a job is little, and matters
            message = f"further lines are dropped: a job may have {MAX_JOB_BYTES >> 20} MiB of them"
            last = _encode(msgspec.structs.replace(batch[-1], message=message, user=False, data=())) + b"\n"
        try:
            self._write(self._directory(pipeline), f"{batch[0].job}.jsonl" if batch[0].job else _PIPELINE_FILE, data, last=last)
        except OSError as exc:
            log.warning("%d log lines of pipeline %s are lost: %s", len(batch), pipeline, exc)
        self.changes.notify()

    def _write(self, directory: Path, name: str, data: bytes, *, last: bytes) -> None:
        """:param last: Written when the file is full; empty where there is no bound."""
        with self._lock:
            for attempt in (1, 2):
                try:
                    fd = os.open(directory / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
                    break
                except FileNotFoundError:
                    if attempt == 2:
                        raise
                    directory.mkdir(parents=True, exist_ok=True)
            try:
                size = os.fstat(fd).st_size
                if not last or size + len(data) <= MAX_JOB_BYTES:
                    os.write(fd, data)
                elif size <= MAX_JOB_BYTES:
                    os.write(fd, data + last)
            finally:
                os.close(fd)

    def master(self, pipeline: PipelineKey, message: str, *, job: str = "") -> None:
        """Add a line of the pipeline's controller."""
        self.append(pipeline, [LogLine(ts_ns=time.time_ns(), message=message, job=job, master=True)])

    def trim(self, pipeline: PipelineKey) -> None:
        """Keep the pipeline's bound: remove its oldest job files."""
        files = []
        with contextlib.suppress(FileNotFoundError):
            files = [(entry.stat(), entry.path) for entry in os.scandir(self._directory(pipeline)) if entry.name != _PIPELINE_FILE]
        files.sort(key=lambda file: file[0].st_mtime_ns)
        excess = sum(stat.st_size for stat, _ in files) - MAX_PIPELINE_BYTES
        for stat, path in files:
            if excess <= 0:
                break
            excess -= stat.st_size
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()

    def delete(self, pipeline: PipelineKey) -> None:
        """Remove all lines of a pipeline."""
        shutil.rmtree(self._directory(pipeline), ignore_errors=True)

    def open(self, query: LogQuery) -> "LogReader":
        return LogReader(self._directory(query.pipeline), query)

    def _directory(self, pipeline: PipelineKey) -> Path:
        return self.root / pipeline.project / pipeline.name


class LogReader:
    """Reads what matches a query, and on each further call what was added since. Holds no file open between calls."""

    def __init__(self, directory: Path, query: LogQuery) -> None:
        self._directory, self._query = directory, query
        self._offsets: dict[str, int] = {}
        self._data: dict[tuple[str, str], tuple[InputFile, ...]] = {}

    def read(self) -> Iterator[LogLine]:
        """New lines: in order of their time on the first call, which knows the whole past, then as they come."""
        first = not self._offsets
        lines = (line for name in self._files() for line in self._read_file(name) if self._matches(line))
        if not first:
            yield from lines
        elif self._query.tail is None:
            yield from sorted(lines, key=lambda line: line.ts_ns)
        else:
            tails: dict[str, deque[LogLine]] = {}
            for line in sorted(lines, key=lambda line: line.ts_ns):
                tails.setdefault(line.worker, deque(maxlen=self._query.tail)).append(line)
            yield from sorted((line for tail in tails.values() for line in tail), key=lambda line: line.ts_ns)

    def _files(self) -> list[str]:
        if self._query.job is not None:
            return [f"{self._query.job}.jsonl"]
        try:
            return sorted(path.name for path in self._directory.iterdir() if path.suffix == ".jsonl")
        except FileNotFoundError:
            return []

    def _read_file(self, name: str) -> Iterator[LogLine]:
        offset = self._offsets.get(name, 0)
        self._offsets[name] = offset
        try:
            with (self._directory / name).open("rb") as file:
                file.seek(offset)
                for data in file:
                    if not data.endswith(b"\n"):
                        return  # being written right now: next time
                    self._offsets[name] += len(data)
                    try:
                        yield self._complete(_decode(data))
                    except msgspec.MsgspecError:  # half a line that a killed server left
                        log.warning("unreadable line in log file %s before byte %d", name, self._offsets[name])
        except FileNotFoundError:
            return

    def _complete(self, line: LogLine) -> LogLine:
        if not line.datum:
            return line
        key = (line.job, line.datum)
        if line.data:
            self._data[key] = line.data
            return line
        return msgspec.structs.replace(line, data=self._data.get(key, ()))

    def _matches(self, line: LogLine) -> bool:
        query = self._query
        if line.master != query.master or line.ts_ns < query.since_ns or (query.datum and line.datum != query.datum):
            return False
        return all(any(matches_file(text, file) for file in line.data) for text in query.data_filters)


def matches_file(text: str, file: InputFile) -> bool:
    """Whether a data filter names this file: by path, or by hash."""
    return text in (file.path, file.hash.hex(), base64.b64encode(file.hash).decode())


class DatumLog:
    """Collects a worker's lines about one datum after the other and writes them in batches.

    :param worker: Its name.
    """

    def __init__(self, logs: Logs, worker: str) -> None:
        self._logs, self._worker = logs, worker
        self._pipeline: PipelineKey | None = None
        self._job = self._datum = ""
        self._data: tuple[InputFile, ...] = ()
        self._pending: list[LogLine] = []
        self._pending_bytes = self._user_bytes = self._dropped = 0
        self.last_line = ""

    def begin(self, pipeline: PipelineKey, job: JobId, datum: DatumId, data: tuple[InputFile, ...]) -> None:
        """Lines belong to this datum from now on."""
        self.flush()
        self._pipeline, self._job, self._datum, self._data = pipeline, job, datum, data
        self._user_bytes = self._dropped = 0
        self.last_line = ""

    def user(self, lines: Sequence[bytes]) -> None:
        """Add lines that user code printed; past the bound they are only counted."""
        if self._user_bytes > MAX_DATUM_BYTES:
            self._dropped += len(lines)
            return
        for line in lines:
            self._user_bytes += len(line) + 1
            text = line.decode("utf-8", errors="replace")
            if text.strip():
                self.last_line = text
            self._add(text, user=True)

    def worker(self, message: str) -> None:
        """Add a line of our own."""
        self._add(message, user=False)

    def flush(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._add(f"{dropped} more lines of output were dropped: a datum may print {MAX_DATUM_BYTES >> 20} MiB", user=False)
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        if self._pipeline is not None and pending:
            self._logs.append(self._pipeline, pending)

    def _add(self, message: str, *, user: bool) -> None:
        self._pending.append(
            LogLine(
                ts_ns=time.time_ns(), message=message, job=self._job, datum=self._datum, worker=self._worker, user=user, data=self._data
            )
        )
        self._data = ()  # written once per datum and file
        self._pending_bytes += len(message)
        if self._pending_bytes > 1 << 16:
            self.flush()
