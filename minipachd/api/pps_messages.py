"""Pipelines, jobs, datums and log lines as messages."""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.pps import pps_pb2

from minipachd.api import newer
from minipachd.api.pfs_messages import commit_message, timestamp
from minipachd.api.pipeline_json import effective_spec_json, user_spec_json
from minipachd.api.pps_spec_messages import fill_details, parse_pipeline, spec_input
from minipachd.errors import InvalidError
from minipachd.pfs import META_REPO, SPEC_REPO, CommitKey, CommitSetId, FileKind, RepoKey
from minipachd.pps.datum import Datum, DatumInput, DatumRecord, DatumStats
from minipachd.pps.logs import LogLine
from minipachd.pps.records import Job, Pipeline
from minipachd.pps.secrets import SecretInfo
from minipachd.pps.spec import DatumState, JobId, JobKey, JobState, PipelineKey, PipelineState
from minipachd.pps.worker import WorkerStatus


def parse_job(message: Any) -> JobKey:
    """:raises InvalidError: It lacks its pipeline or its id."""
    if not message.pipeline.name or not message.id:
        raise InvalidError("must specify a job: its pipeline and its id")
    return JobKey(parse_pipeline(message.pipeline), JobId(message.id))


def pipeline_message(key: PipelineKey) -> Any:
    return pps_pb2.Pipeline(project=pfs_pb2.Project(name=key.project), name=key.name)


def job_message(key: JobKey) -> Any:
    return pps_pb2.Job(pipeline=pipeline_message(key.pipeline), id=key.id)


def pipeline_info(pipeline: Pipeline, *, last_job: JobState | None, workers: int, details: bool) -> Any:
    """:param workers: How many exist at the moment."""
    spec = pipeline.spec
    spec_repo = RepoKey(pipeline.key.project, pipeline.key.name, SPEC_REPO)
    info = pps_pb2.PipelineInfo(
        pipeline=pipeline_message(pipeline.key),
        version=pipeline.version,
        spec_commit=commit_message(CommitKey(spec_repo, CommitSetId(pipeline.spec_commit), "master")),
        stopped=pipeline.stopped,
        state=int(pipeline.state),
        reason=pipeline.reason,
        last_job_state=int(last_job or 0),
        parallelism=spec.parallelism,
        type=int(spec.type),
    )
    if details:
        shown = info.details
        fill_details(shown, spec)
        shown.created_at.CopyFrom(timestamp(pipeline.created_ns))
        shown.workers_requested = spec.parallelism if pipeline.state is PipelineState.RUNNING else 0
        shown.workers_available = workers
        shown.output_branch = spec.output_branch
        shown.input.CopyFrom(spec_input(spec.input))
        shown.description = spec.description
        shown.reprocess_spec = spec.reprocess_spec
        shown.autoscaling = spec.autoscaling
        shown.reason = pipeline.reason
        if pipeline.state is PipelineState.FAILURE:
            shown.recent_error = pipeline.reason
        texts = newer.message("pps_v2.PipelineInfo")(user_spec_json=user_spec_json(spec), effective_spec_json=effective_spec_json(spec))
        info.MergeFromString(texts.SerializeToString())
    return info


def job_info(job: Job, pipeline: Pipeline | None, *, workers: list[WorkerStatus], details: bool) -> Any:
    """:param pipeline: In the version that ran the job."""
    branch = pipeline.spec.output_branch if pipeline is not None else ""
    output = CommitKey(RepoKey(job.key.pipeline.project, job.key.pipeline.name), CommitSetId(job.key.id), branch)
    info = pps_pb2.JobInfo(
        job=job_message(job.key),
        pipeline_version=job.version,
        output_commit=commit_message(output),
        restart=job.restart,
        data_processed=job.counts.processed,
        data_skipped=job.counts.skipped,
        data_total=job.counts.total,
        data_failed=job.counts.failed,
        data_recovered=job.counts.recovered,
        stats=process_stats(job.stats),
        state=int(job.state),
        reason=job.reason,
        created=timestamp(job.created_ns),
    )
    if job.started_ns is not None:
        info.started.CopyFrom(timestamp(job.started_ns))
    if job.finished_ns is not None:
        info.finished.CopyFrom(timestamp(job.finished_ns))
    if details and pipeline is not None:
        fill_details(info.details, pipeline.spec)
        info.details.input.CopyFrom(spec_input(pipeline.spec.input, commit_id=job.key.id))
        info.details.worker_status.extend(worker_status(status) for status in workers if status.job == job.key)
    return info


def worker_status(status: WorkerStatus) -> Any:
    data = [pps_pb2.InputFile(path=part.path, hash=part.hash) for part in status.datum.inputs]
    return pps_pb2.WorkerStatus(
        worker_id=status.worker,
        job_id=status.job.id,
        datum_status=pps_pb2.DatumStatus(started=timestamp(status.started_ns), data=data),
    )


def process_stats(stats: DatumStats) -> Any:
    return pps_pb2.ProcessStats(
        download_time=_duration_ns(stats.download_ns),
        process_time=_duration_ns(stats.process_ns),
        upload_time=_duration_ns(stats.upload_ns),
        download_bytes=stats.download_bytes,
        upload_bytes=stats.upload_bytes,
    )


def datum_info(record: DatumRecord, job: Job, *, branch: str) -> Any:
    """:param branch: The output branch, whose name the meta branch has too."""
    skipped = record.state is DatumState.SUCCESS and record.job != job.key.id
    meta = CommitKey(RepoKey(job.key.pipeline.project, job.key.pipeline.name, META_REPO), CommitSetId(job.key.id), branch)
    return pps_pb2.DatumInfo(
        datum=pps_pb2.Datum(job=job_message(JobKey(job.key.pipeline, record.job)), id=record.id),
        state=int(DatumState.SKIPPED if skipped else record.state),
        stats=process_stats(record.stats),
        pfs_state=pfs_pb2.File(commit=commit_message(meta), path=f"/pfs/{record.id}"),
        data=[_input_info(part) for part in record.inputs],
    )


def dry_datum_info(datum: Datum) -> Any:
    """A datum that no job has run."""
    return pps_pb2.DatumInfo(datum=pps_pb2.Datum(id=datum.id), data=[_input_info(part) for part in datum.inputs])


def log_message(line: LogLine, pipeline: PipelineKey) -> Any:
    return pps_pb2.LogMessage(
        project_name=pipeline.project,
        pipeline_name=pipeline.name,
        job_id=line.job,
        worker_id=line.worker,
        datum_id=line.datum,
        master=line.master,
        data=[pps_pb2.InputFile(path=file.path, hash=file.hash) for file in line.data],
        user=line.user,
        ts=timestamp(line.ts_ns),
        message=line.message,
    )


def secret_info(secret: SecretInfo) -> Any:
    return pps_pb2.SecretInfo(secret=pps_pb2.Secret(name=secret.name), type=secret.type, creation_timestamp=timestamp(secret.created_ns))


def _input_info(part: DatumInput) -> Any:
    commit = CommitKey(RepoKey(part.project, part.repo, part.repo_type), CommitSetId(part.commit_id), part.branch)
    kind = FileKind.DIR if part.path.endswith("/") else FileKind.FILE
    return pfs_pb2.FileInfo(
        file=pfs_pb2.File(commit=commit_message(commit), path=part.path), file_type=int(kind), size_bytes=part.size, hash=part.hash
    )


def _duration_ns(ns: int) -> Duration:
    message = Duration()
    message.FromNanoseconds(ns)
    return message
