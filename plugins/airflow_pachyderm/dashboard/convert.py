"""Pachyderm's messages as the API's models."""

import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import unquote

from airflow_pachyderm.client.answers import branch_of, repo_of
from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.dashboard import models
from airflow_pachyderm.states import JOB_ACTIVE, JOB_FAILED, JobState

# As airflow_pachyderm.client.push writes it: [airflow:<dag>/<run>/<task>/<map index>#<digest>].
_PUSHED: Final = re.compile(r"^\[airflow:(?P<key>[^#\]]+)#")

_ORIGINS: Final = {pfs_pb2.USER: "user", pfs_pb2.AUTO: "auto", pfs_pb2.FSCK: "fsck"}


def seconds(message: Any, field: str) -> float | None:
    """A timestamp as Unix seconds, or None where it is not set."""
    if not message.HasField(field):
        return None
    stamp = getattr(message, field)
    return float(stamp.seconds + stamp.nanos / 1e9)


def duration(value: Any) -> float:
    """A duration in seconds."""
    return float(value.seconds + value.nanos / 1e9)


def job(info: Any) -> models.Job:
    """One job."""
    return models.Job(
        pipeline=info.job.pipeline.name,
        id=info.job.id,
        state=JobState.from_number(info.state).value,
        reason=info.reason,
        version=info.pipeline_version,
        restarts=info.restart,
        created=seconds(info, "created"),
        started=seconds(info, "started"),
        finished=seconds(info, "finished"),
        total=info.data_total,
        processed=info.data_processed,
        skipped=info.data_skipped,
        failed=info.data_failed,
        recovered=info.data_recovered,
        download_bytes=info.stats.download_bytes,
        upload_bytes=info.stats.upload_bytes,
        download_seconds=duration(info.stats.download_time),
        process_seconds=duration(info.stats.process_time),
        upload_seconds=duration(info.stats.upload_time),
    )


def job_set(set_id: str, infos: Iterable[Any]) -> models.JobSet:
    """The jobs of a commit set and the state that they amount to."""
    jobs = [job(info) for info in infos]
    created = [item.created for item in jobs if item.created is not None]
    return models.JobSet(id=set_id, state=overall_state(jobs), created=min(created, default=None), jobs=jobs)


def overall_state(jobs: Iterable[models.Job]) -> str:
    """One state for several jobs: active while one is, else failed if one is. A set without jobs has succeeded."""
    states = {JobState(item.state) for item in jobs}
    if states & JOB_ACTIVE:
        return (JobState.RUNNING if states & {JobState.RUNNING, JobState.SUCCESS} else JobState.CREATED).value
    for state in (JobState.FAILURE, JobState.KILLED, *JOB_FAILED):
        if state in states:
            return state.value
    return JobState.SUCCESS.value


def commit(info: Any) -> models.Commit:
    """One commit."""
    return models.Commit(
        id=info.commit.id,
        state=_commit_state(info),
        origin=_ORIGINS.get(info.origin.kind, "unknown"),
        description=info.description,
        error=info.error,
        started=seconds(info, "started"),
        finished=seconds(info, "finished"),
        size_bytes=info.details.size_bytes or info.size_bytes_upper_bound,
        parent=info.parent_commit.id or None,
    )


def _commit_state(info: Any) -> models.CommitState:
    if info.error:
        return "failed"
    if info.HasField("finished"):
        return "finished"
    return "finishing" if info.HasField("finishing") else "open"


def pushed(info: Any) -> models.Pushed:
    """A user's commit, with the Airflow task that its description names."""
    origin: dict[str, Any] = {}
    match = _PUSHED.match(info.description)
    parts = unquote(match["key"]).rsplit("/", 2) if match else []
    if len(parts) == 3 and "/" in parts[0] and re.fullmatch(r"-?\d+", parts[2]):
        dag_id, run_id = parts[0].split("/", 1)
        origin = {"dag_id": dag_id, "run_id": run_id, "task_id": parts[1], "map_index": int(parts[2])}
    return models.Pushed(
        repo=repo_of(info.commit),
        branch=branch_of(info.commit),
        description=info.description,
        started=seconds(info, "started"),
        size_bytes=info.details.size_bytes or info.size_bytes_upper_bound,
        **origin,
    )


def entry(info: Any) -> models.Entry:
    """One file or directory."""
    return models.Entry(path=info.file.path, is_dir=info.file_type == pfs_pb2.DIR, size_bytes=info.size_bytes, digest=info.hash.hex())


def file_ref(info: Any) -> models.FileRef:
    """A file, by its resolved commit."""
    commit = info.file.commit
    return models.FileRef(repo=repo_of(commit), commit=commit.id, path=info.file.path, size_bytes=info.size_bytes, digest=info.hash.hex())


def datum(info: Any) -> models.Datum:
    """One datum."""
    known = info.state in pps_pb2.DatumState.values()
    return models.Datum(
        id=info.datum.id,
        state=pps_pb2.DatumState.Name(info.state).lower() if known else "unknown",
        inputs=[f"{ref.repo}:{ref.path}" for ref in map(file_ref, info.data)],
        process_seconds=duration(info.stats.process_time),
        download_bytes=info.stats.download_bytes,
        upload_bytes=info.stats.upload_bytes,
    )


def log_line(message: Any) -> models.LogLine:
    """A line of a log."""
    return models.LogLine(
        time=seconds(message, "ts"),
        worker=message.worker_id,
        datum=message.datum_id,
        user=message.user,
        message=message.message.rstrip("\n"),
    )
