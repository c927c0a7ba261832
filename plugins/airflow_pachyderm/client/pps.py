"""Pipelines, jobs, datums and logs: the calls of Pachyderm's pipeline system that DAGs need, typed, with deadlines and retries."""

import base64
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import grpc

from airflow_pachyderm.client.answers import (
    SPEC_DIGEST,
    Datum,
    Pipeline,
    check_commit_set,
    commit_set_request,
    parse_datum,
    parse_jobs,
    parse_pipeline,
    require_commits,
)
from airflow_pachyderm.client.channel import LIST_TIMEOUT_SECONDS, Client
from airflow_pachyderm.client.errors import remote
from airflow_pachyderm.client.protocol import json_format, pfs_pb2, pps_pb2
from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.outcome import JobOutcome
from airflow_pachyderm.states import JOB_TERMINAL

log = logging.getLogger(__name__)

SLOW_TIMEOUT_SECONDS: Final = 120.0  # of calls that make or delete repos with all their commits


class PpsClient(Client):
    """Calls about pipelines."""

    # Pipelines

    def create_pipeline(
        self, spec: dict[str, Any], *, name: str, update: bool = True, reprocess: bool = False, reprocess_on_change: bool = False
    ) -> tuple[str, str]:
        """Create a pipeline, or update the one that differs.

        :param spec: As Pachyderm documents it.
        :param name: What to call the spec in errors, usually its file.
        :param update: Whether an existing pipeline may be changed.
        :param reprocess: On an update, process again also what was processed before. Without it only new data meets the new code.
        :param reprocess_on_change: The same, where the spec differs; one that does not is left as it is.
        :return: Its name, and ``created``, ``updated`` or ``unchanged``.
        :raises PachydermInvalidError: A field is not known or has the wrong type; names ``name`` and the field.
        :raises PachydermConflictError: The pipeline exists and ``update`` is False.
        """
        request = pipeline_request(spec, name=name, project=self.connection.project)
        existing = self.inspect_pipeline(request.pipeline.name)
        wanted = request.metadata.annotations[SPEC_DIGEST]
        if existing and update and existing.spec_digest == wanted and not reprocess:
            return existing.name, "unchanged"
        request.update, request.reprocess = bool(existing) and update, bool(existing) and (reprocess or reprocess_on_change)
        self._create_pipeline(request, request.pipeline.name, name)
        return request.pipeline.name, "updated" if existing else "created"

    @remote("create pipeline {pipeline} from {spec_name}")
    def _create_pipeline(self, request: Any, pipeline: str, spec_name: str) -> None:  # noqa: ARG002 - the names are for the message
        self._call(self.server.stubs.pps.CreatePipeline, request, timeout=SLOW_TIMEOUT_SECONDS)

    @remote("inspect pipeline {name}")
    def inspect_pipeline(self, name: str) -> Pipeline | None:
        """One pipeline, or None where there is none."""
        try:
            info = self._call(
                self.server.stubs.pps.InspectPipeline, pps_pb2.InspectPipelineRequest(pipeline=self._pipeline(name), details=True)
            )
        except grpc.RpcError as exc:
            # 2.7 answers with the code of a missing branch of the pipeline's spec repo, later ones name the pipeline: same code.
            if exc.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return parse_pipeline(info)

    @remote("delete pipeline {name}")
    def delete_pipeline(self, name: str, *, force: bool = False, keep_repo: bool = False) -> None:
        """Delete a pipeline with its jobs and its output repo; one that is not there is no error.

        :param force: Also when other pipelines read its output.
        :param keep_repo: Keep the output repo and its data.
        """
        self._call(
            self.server.stubs.pps.DeletePipeline,
            pps_pb2.DeletePipelineRequest(pipeline=self._pipeline(name), force=force, keep_repo=keep_repo),
            timeout=SLOW_TIMEOUT_SECONDS,
        )

    @remote("start pipeline {name}")
    def start_pipeline(self, name: str) -> None:
        """Let a stopped pipeline work again, beginning with what came meanwhile."""
        self._call(self.server.stubs.pps.StartPipeline, pps_pb2.StartPipelineRequest(pipeline=self._pipeline(name)))

    @remote("stop pipeline {name}")
    def stop_pipeline(self, name: str) -> None:
        """Stop a pipeline: its running jobs are killed, new data waits."""
        self._call(self.server.stubs.pps.StopPipeline, pps_pb2.StopPipelineRequest(pipeline=self._pipeline(name)))

    @remote("run the cron inputs of pipeline {name}")
    def run_cron(self, name: str) -> None:
        """Tick every cron input of a pipeline now. Repeated after a lost answer, it ticks twice."""
        self._call(self.server.stubs.pps.RunCron, pps_pb2.RunCronRequest(pipeline=self._pipeline(name)))

    # Secrets

    @remote("create secret {name}")
    def create_secret(self, name: str, data: Mapping[str, str]) -> None:
        """Create a secret that pipelines can mount, or replace it.

        :param data: Value by key. In no log and no error.
        """
        values = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        document = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": name}, "type": "Opaque", "data": values}
        request = pps_pb2.CreateSecretRequest(file=json.dumps(document).encode())
        try:
            self._call(self.server.stubs.pps.CreateSecret, request)
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.ALREADY_EXISTS and "already exists" not in (exc.details() or ""):
                raise
            self._call(self.server.stubs.pps.DeleteSecret, pps_pb2.DeleteSecretRequest(secret=pps_pb2.Secret(name=name)))
            self._call(self.server.stubs.pps.CreateSecret, request)

    # Jobs

    @remote("list the jobs of commit set {commit_set}")
    def inspect_job_set(self, commit_set: str) -> list[JobOutcome]:
        """The jobs that a commit caused, upstream ones first; none when no pipeline reads it.

        :raises PachydermNotFoundError: There is no such commit set.
        :raises PachydermInvalidError: It is no id.
        """
        request = pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=check_commit_set(commit_set)))
        jobs = parse_jobs(self._call(self.server.stubs.pps.InspectJobSet, request), now=time.time())
        if not jobs:  # which a 2.12 server says of any id
            commits = self._call(self.server.stubs.pfs.InspectCommitSet, commit_set_request(commit_set))
            require_commits(next(iter(commits), None), commit_set, self.connection)
            commits.cancel()
        return jobs

    @remote("stop job {pipeline}@{job}")
    def stop_job(self, pipeline: str, job: str, *, reason: str) -> None:
        """Stop one job; a finished one is left as it is.

        :param reason: Shown as the job's reason.
        """
        self._call(self.server.stubs.pps.StopJob, pps_pb2.StopJobRequest(job=self._job(pipeline, job), reason=reason))

    def stop_jobs(self, commit_set: str, *, reason: str) -> list[str]:
        """Stop all jobs of a commit set that have not ended.

        :return: Their pipelines.
        """
        active = [job for job in self.inspect_job_set(commit_set) if job.state not in JOB_TERMINAL]
        for job in active:
            self.stop_job(job.pipeline, job.job, reason=reason)
        return [job.pipeline for job in active]

    @remote("list the failed datums of job {pipeline}@{job}")
    def failed_datums(self, pipeline: str, job: str, *, limit: int) -> list[Datum]:
        """Up to ``limit`` datums that failed."""
        request = pps_pb2.ListDatumRequest(
            job=self._job(pipeline, job), filter=pps_pb2.ListDatumRequest.Filter(state=[pps_pb2.DatumState.Value("FAILED")]), number=limit
        )
        stream = self._call(self.server.stubs.pps.ListDatum, request, timeout=LIST_TIMEOUT_SECONDS)
        return [parse_datum(info) for info in stream]

    @remote("read the logs of job {pipeline}@{job}")
    def log_tail(self, pipeline: str, job: str, *, datum: str = "", lines: int) -> list[str]:
        """The last lines that user code wrote, oldest first.

        :param datum: Only of this datum.
        """
        request = pps_pb2.GetLogsRequest(pipeline=self._pipeline(pipeline), job=self._job(pipeline, job))
        if datum:
            request.datum.CopyFrom(pps_pb2.Datum(id=datum, job=self._job(pipeline, job)))
        stream = self._call(self.server.stubs.pps.GetLogs, request, timeout=LIST_TIMEOUT_SECONDS)
        return [message.message.rstrip("\n") for message in stream if message.user][-lines:]

    # Messages

    def _pipeline(self, name: str) -> Any:
        return pps_pb2.Pipeline(name=name, project=pfs_pb2.Project(name=self.connection.project))

    def _job(self, pipeline: str, job: str) -> Any:
        return pps_pb2.Job(pipeline=self._pipeline(pipeline), id=job)


def pipeline_request(spec: dict[str, Any], *, name: str, project: str) -> Any:
    """The request that a spec means, marked with the spec's digest.

    :param name: What to call the spec in errors.
    :param project: For a spec that names none.
    :raises PachydermInvalidError: See :meth:`PpsClient.create_pipeline`.
    """
    try:
        request = json_format.ParseDict(spec, pps_pb2.CreatePipelineRequest())
    except json_format.ParseError as exc:
        raise PachydermInvalidError(f"Pipeline spec {name}: {exc}") from exc
    if not request.pipeline.name:
        raise PachydermInvalidError(f'Pipeline spec {name} names no pipeline: it needs "pipeline": {{"name": "…"}}')
    if not request.pipeline.project.name:
        request.pipeline.project.name = project
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    request.metadata.annotations[SPEC_DIGEST] = digest
    return request
