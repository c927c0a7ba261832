"""The tables of pipelines and jobs: rows to frozen values and back. Rules live elsewhere; these functions only read and write.

Every function takes the connection of a snapshot or of a write transaction, and sees what that sees.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from minipachd.errors import AlreadyExistsError, InvalidError, NotFoundError
from minipachd.pfs import CommitSetId
from minipachd.pps.datum import DatumStats
from minipachd.pps.spec import (
    ACTIVE_JOB_STATES,
    TERMINAL_JOB_STATES,
    JobKey,
    JobState,
    PipelineKey,
    PipelineSpec,
    PipelineState,
    decode_spec,
    encode_spec,
)
from minipachd.storage.database import Schema

_ACTIVE = ", ".join(str(int(state)) for state in sorted(ACTIVE_JOB_STATES))

SCHEMA = Schema(
    "pps",
    (
        f"""
        CREATE TABLE pps_pipelines (
            project TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, stopped INTEGER NOT NULL, state INTEGER NOT NULL,
            reason TEXT NOT NULL, PRIMARY KEY (project, name)
        ) WITHOUT ROWID;
        CREATE TABLE pps_versions (
            project TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, spec BLOB NOT NULL, spec_commit TEXT NOT NULL,
            created_ns INTEGER NOT NULL, PRIMARY KEY (project, name, version)
        ) WITHOUT ROWID;
        CREATE TABLE pps_jobs (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, pipeline TEXT NOT NULL, id TEXT NOT NULL,
            version INTEGER NOT NULL, state INTEGER NOT NULL, reason TEXT NOT NULL, restart INTEGER NOT NULL, counts BLOB NOT NULL,
            stats BLOB NOT NULL, created_ns INTEGER NOT NULL, started_ns INTEGER, finished_ns INTEGER, datums BLOB,
            UNIQUE (project, pipeline, id)
        );
        CREATE INDEX pps_jobs_by_id ON pps_jobs (id);
        CREATE INDEX pps_jobs_by_pipeline ON pps_jobs (project, pipeline, seq);
        CREATE INDEX pps_jobs_active ON pps_jobs (project, pipeline, seq) WHERE state IN ({_ACTIVE});
        """,
        """
        CREATE TABLE pps_defaults (
            project TEXT UNIQUE REFERENCES projects (name) ON DELETE CASCADE, json TEXT NOT NULL, created_ns INTEGER NOT NULL);
        """,
    ),
)


class PipelineNotFoundError(NotFoundError):
    """No pipeline has this name."""

    def __init__(self, pipeline: PipelineKey) -> None:
        super().__init__(f"pipeline {pipeline} not found")
        self.pipeline = pipeline


class PipelineExistsError(AlreadyExistsError):
    """A pipeline of this name exists, and the call does not say to update it."""

    def __init__(self, pipeline: PipelineKey) -> None:
        super().__init__(f'pipeline "{pipeline}" already exists; set "update" to change it')
        self.pipeline = pipeline


class JobNotFoundError(NotFoundError):
    """No such job."""

    def __init__(self, job: JobKey) -> None:
        super().__init__(f"jobs {job} not found")
        self.job = job


class JobFinishedError(InvalidError):
    """A job in a terminal state cannot change."""

    def __init__(self, job: JobKey) -> None:
        super().__init__(f"job {job} has already finished")
        self.job = job


@dataclass(frozen=True, slots=True)
class Defaults:
    """What pipeline specs are merged over; see :mod:`minipachd.api.pipeline_json`.

    :ivar json: As it was set; empty when it never was.
    """

    json: str = ""
    created_ns: int = 0


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline in one of its versions.

    :ivar version: From 1.
    :ivar created_ns: When this version was made.
    """

    key: PipelineKey
    version: int
    spec: PipelineSpec
    spec_commit: CommitSetId
    created_ns: int
    stopped: bool
    state: PipelineState
    reason: str


class DatumCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many datums of a job came to which end; ``total`` includes those that have not yet."""

    total: int = 0
    processed: int = 0
    skipped: int = 0
    failed: int = 0
    recovered: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands.

    :ivar seq: Grows with every job; jobs of a pipeline run in this order.
    :ivar version: Of the pipeline that runs it.
    :ivar restart: How often it was begun again after the server went down.
    :ivar datums: Root of the tree of its datum records; None until it has planned its work.
    """

    key: JobKey
    seq: int
    version: int
    state: JobState
    created_ns: int
    reason: str = ""
    restart: int = 0
    counts: DatumCounts = field(default_factory=DatumCounts)
    stats: DatumStats = field(default_factory=DatumStats)
    started_ns: int | None = None
    finished_ns: int | None = None
    datums: bytes | None = None

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL_JOB_STATES


_PIPELINE_COLUMNS = "p.project, p.name, v.version, v.spec, v.spec_commit, v.created_ns, p.stopped, p.state, p.reason"
_PIPELINES = f"SELECT {_PIPELINE_COLUMNS} FROM pps_pipelines p JOIN pps_versions v ON v.project = p.project AND v.name = p.name"  # noqa: S608
_JOB_COLUMNS = "project, pipeline, id, seq, version, state, created_ns, reason, restart, counts, stats, started_ns, finished_ns, datums"
_JOBS = f"SELECT {_JOB_COLUMNS} FROM pps_jobs"  # noqa: S608 - constants of this module only

_counts_decoder = msgspec.json.Decoder(DatumCounts)
_stats_decoder = msgspec.json.Decoder(DatumStats)


def _pipeline(row: tuple) -> Pipeline:  # type: ignore[type-arg]
    project, name, version, spec, spec_commit, created_ns, stopped, state, reason = row
    return Pipeline(
        PipelineKey(project, name), version, decode_spec(spec), spec_commit, created_ns, bool(stopped), PipelineState(state), reason
    )


def _job(row: tuple) -> Job:  # type: ignore[type-arg]
    project, pipeline, job, seq, version, state, created_ns, reason, restart, counts, stats, started_ns, finished_ns, datums = row
    return Job(
        JobKey(PipelineKey(project, pipeline), job),
        seq,
        version,
        JobState(state),
        created_ns,
        reason,
        restart,
        _counts_decoder.decode(counts),
        _stats_decoder.decode(stats),
        started_ns,
        finished_ns,
        datums,
    )


def find_pipeline(db: sqlite3.Connection, key: PipelineKey, *, version: int | None = None) -> Pipeline | None:
    """A pipeline in its current version, or in an older one."""
    row = db.execute(
        f"{_PIPELINES} WHERE p.project = ? AND p.name = ? AND v.version = coalesce(?, p.version)", (key.project, key.name, version)
    ).fetchone()
    return _pipeline(row) if row else None


def get_pipeline(db: sqlite3.Connection, key: PipelineKey, *, version: int | None = None) -> Pipeline:
    """As :func:`find_pipeline`.

    :raises PipelineNotFoundError: There is none.
    """
    pipeline = find_pipeline(db, key, version=version)
    if pipeline is None:
        raise PipelineNotFoundError(key)
    return pipeline


def pipeline_keys(db: sqlite3.Connection) -> set[PipelineKey]:
    """The names of all pipelines."""
    return {PipelineKey(project, name) for project, name in db.execute("SELECT project, name FROM pps_pipelines")}


def list_pipelines(db: sqlite3.Connection, *, history: int = 0) -> list[Pipeline]:
    """All pipelines, newest first.

    :param history: How many older versions of each to list too; -1 for all.
    """
    depth = history if history >= 0 else 1 << 62
    rows = db.execute(f"{_PIPELINES} WHERE v.version >= p.version - ? ORDER BY v.created_ns DESC, p.name, v.version DESC", (depth,))
    return [_pipeline(row) for row in rows]


def put_pipeline(db: sqlite3.Connection, pipeline: Pipeline) -> None:
    """Store a version as the current one."""
    key = pipeline.key
    db.execute(
        "INSERT OR REPLACE INTO pps_pipelines VALUES (?, ?, ?, ?, ?, ?)",
        (key.project, key.name, pipeline.version, pipeline.stopped, pipeline.state, pipeline.reason),
    )
    db.execute(
        "INSERT OR REPLACE INTO pps_versions VALUES (?, ?, ?, ?, ?, ?)",
        (key.project, key.name, pipeline.version, encode_spec(pipeline.spec), pipeline.spec_commit, pipeline.created_ns),
    )


def set_pipeline_state(
    db: sqlite3.Connection, key: PipelineKey, state: PipelineState, *, reason: str = "", stopped: bool | None = None
) -> None:
    db.execute(
        "UPDATE pps_pipelines SET state = ?, reason = ?, stopped = coalesce(?, stopped) WHERE project = ? AND name = ?",
        (state, reason, stopped, key.project, key.name),
    )


def delete_pipeline(db: sqlite3.Connection, key: PipelineKey) -> None:
    """Forget a pipeline, its versions and its jobs."""
    where = (key.project, key.name)
    db.execute("DELETE FROM pps_jobs WHERE project = ? AND pipeline = ?", where)
    db.execute("DELETE FROM pps_versions WHERE project = ? AND name = ?", where)
    db.execute("DELETE FROM pps_pipelines WHERE project = ? AND name = ?", where)


def defaults(db: sqlite3.Connection, project: str | None) -> Defaults:
    """Of a project, or of the cluster (None)."""
    row = db.execute("SELECT json, created_ns FROM pps_defaults WHERE project IS ?", (project,)).fetchone()
    return Defaults(*row) if row else Defaults()


def set_defaults(db: sqlite3.Connection, project: str | None, value: Defaults) -> None:
    """Those of a project go away with it."""
    db.execute("DELETE FROM pps_defaults WHERE project IS ?", (project,))
    db.execute("INSERT INTO pps_defaults VALUES (?, ?, ?)", (project, value.json, value.created_ns))


def delete_all_defaults(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM pps_defaults")


def find_job(db: sqlite3.Connection, key: JobKey) -> Job | None:
    row = db.execute(f"{_JOBS} WHERE project = ? AND pipeline = ? AND id = ?", (key.pipeline.project, key.pipeline.name, key.id)).fetchone()
    return _job(row) if row else None


def get_job(db: sqlite3.Connection, key: JobKey) -> Job:
    """As :func:`find_job`.

    :raises JobNotFoundError: There is none.
    """
    job = find_job(db, key)
    if job is None:
        raise JobNotFoundError(key)
    return job


def create_job(db: sqlite3.Connection, key: JobKey, *, version: int, now_ns: int) -> None:
    """Add a job in state CREATED."""
    db.execute(
        "INSERT INTO pps_jobs (project, pipeline, id, version, state, reason, restart, counts, stats, created_ns) VALUES"
        " (?, ?, ?, ?, ?, '', 0, '{}', '{}', ?)",
        (key.pipeline.project, key.pipeline.name, key.id, version, JobState.CREATED, now_ns),
    )


def put_job(db: sqlite3.Connection, job: Job) -> None:
    """Store all that can change of a job."""
    db.execute(
        "UPDATE pps_jobs SET state = ?, reason = ?, restart = ?, counts = ?, stats = ?, started_ns = ?, finished_ns = ?, datums = ?"
        " WHERE seq = ?",
        (
            job.state,
            job.reason,
            job.restart,
            msgspec.json.encode(job.counts),
            msgspec.json.encode(job.stats),
            job.started_ns,
            job.finished_ns,
            job.datums,
            job.seq,
        ),
    )


def delete_job(db: sqlite3.Connection, key: JobKey) -> None:
    db.execute("DELETE FROM pps_jobs WHERE project = ? AND pipeline = ? AND id = ?", (key.pipeline.project, key.pipeline.name, key.id))


def active_jobs(db: sqlite3.Connection, key: PipelineKey, *, limit: int = -1) -> list[Job]:
    """The pipeline's jobs that have not ended, oldest first."""
    rows = db.execute(
        f"{_JOBS} WHERE project = ? AND pipeline = ? AND state IN ({_ACTIVE}) ORDER BY seq LIMIT ?", (key.project, key.name, limit)
    )
    return [_job(row) for row in rows]


def job_set(db: sqlite3.Connection, job_id: str) -> list[Job]:
    """The jobs of one id, in the order in which they were made: upstream first."""
    return [_job(row) for row in db.execute(f"{_JOBS} WHERE id = ? ORDER BY seq", (job_id,))]


def scan_jobs(db: sqlite3.Connection, *, pipeline: PipelineKey | None = None, reverse: bool = False) -> Iterator[Job]:
    """Jobs, newest first; oldest first with ``reverse``."""
    order = "ASC" if reverse else "DESC"
    if pipeline is None:
        rows: Iterable[tuple[object, ...]] = db.execute(f"{_JOBS} ORDER BY seq {order}")
    else:
        rows = db.execute(f"{_JOBS} WHERE project = ? AND pipeline = ? ORDER BY seq {order}", (pipeline.project, pipeline.name))
    return (_job(row) for row in rows)


def last_job(db: sqlite3.Connection, pipeline: PipelineKey) -> Job | None:
    """The newest job of a pipeline."""
    return next(scan_jobs(db, pipeline=pipeline), None)
