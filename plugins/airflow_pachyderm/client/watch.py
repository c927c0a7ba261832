"""Waiting for the jobs of a commit set, on an event loop: the one implementation behind triggers and tasks that wait themselves."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import grpc

from airflow_pachyderm.client.channel import UNARY_TIMEOUT_SECONDS, Stubs, shared_stubs
from airflow_pachyderm.client.errors import TRANSIENT, translate
from airflow_pachyderm.client.pps import parse_jobs
from airflow_pachyderm.client.protocol import pps_pb2
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.logs import Log
from airflow_pachyderm.outcome import CommitSetOutcome, JobOutcome, WaitEnd
from airflow_pachyderm.states import JOB_TERMINAL

FIRST_POLL_SECONDS: Final = 0.25
COUNTS_SECONDS: Final = 10.0
UNAVAILABLE_SECONDS: Final = 600.0
_RETRIED: Final = TRANSIENT | {grpc.StatusCode.DEADLINE_EXCEEDED}


class Progress:
    """Logs what changed since the last look: a change of state at once, mere counts every ten seconds.

    :param log: Where to.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._seen: dict[str, tuple[str, str, float]] = {}

    def show(self, jobs: list[JobOutcome], *, now: float) -> None:
        """Log the jobs that are worth a line."""
        for job in jobs:
            state, text, at = self._seen.get(job.pipeline, ("", "", 0.0))
            if job.state != state or (str(job) != text and now - at >= COUNTS_SECONDS):
                self._log.info("Job %s", job)
                self._seen[job.pipeline] = (job.state, str(job), now)


async def watch_commit_set(
    connection: PachydermConnection,
    commit_set: str,
    *,
    deadline: float,
    poll_interval: float,
    log: Log,
    pipeline: str | None = None,
    now: Callable[[], float] = time.time,
) -> CommitSetOutcome:
    """Return when every job of the commit set has ended, or at the deadline.

    The server may be away for up to ten minutes: it resumes its jobs when it is back.

    :param deadline: Seconds since the Unix epoch; wall clock, since the value travels between processes.
    :param pipeline: Only wait for the job of this pipeline.
    :param poll_interval: Seconds between two looks; the first ones follow each other faster, so that short jobs are not waited for long.
    """
    progress, jobs, away_since = Progress(log), list[JobOutcome](), 0.0
    pause = min(FIRST_POLL_SECONDS, poll_interval)
    async with shared_stubs(connection) as stubs:
        while True:
            try:
                jobs = [job for job in await _look(stubs, commit_set) if pipeline in (None, job.pipeline)]
            except grpc.RpcError as exc:
                error = translate(exc, action=f"watch commit set {commit_set}", connection=connection)
                if exc.code() not in _RETRIED:
                    return CommitSetOutcome(commit_set, WaitEnd.ERROR, tuple(jobs), str(error))
                if not away_since:
                    away_since = now()
                    log.warning("%s; waiting for it to come back", error)
                if now() - away_since > UNAVAILABLE_SECONDS:
                    return CommitSetOutcome(commit_set, WaitEnd.UNAVAILABLE, tuple(jobs), str(error))
            else:
                if away_since:
                    log.info("The server at %s answers again after %.0f s", connection, now() - away_since)
                    away_since = 0.0
                if pipeline and not jobs:
                    message = (
                        f"Commit set {commit_set} at {connection} has no job of pipeline {pipeline}: it does not read what was committed"
                    )
                    return CommitSetOutcome(commit_set, WaitEnd.ERROR, message=message)
                progress.show(jobs, now=now())
                if all(job.state in JOB_TERMINAL for job in jobs):
                    return CommitSetOutcome(commit_set, WaitEnd.FINISHED, tuple(jobs))
            if now() >= deadline:
                return CommitSetOutcome(commit_set, WaitEnd.TIMEOUT, tuple(jobs))
            await asyncio.sleep(max(0.0, min(pause, deadline - now())))
            pause = min(pause * 2, poll_interval)


async def stop_commit_set(connection: PachydermConnection, commit_set: str, *, reason: str) -> list[str]:
    """Stop all jobs of a commit set that have not ended.

    :return: Their pipelines.
    :raises PachydermError: The server refuses, or does not answer.
    """
    async with shared_stubs(connection) as stubs:
        try:
            active = [job for job in await _look(stubs, commit_set) if job.state not in JOB_TERMINAL]
            for job in active:
                pipeline: Any = pps_pb2.Pipeline(name=job.pipeline)
                pipeline.project.name = connection.project
                request = pps_pb2.StopJobRequest(job=pps_pb2.Job(pipeline=pipeline, id=job.job), reason=reason)
                await stubs.pps.StopJob(request, timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata)
        except grpc.RpcError as exc:
            raise translate(exc, action=f"stop the jobs of commit set {commit_set}", connection=connection) from exc
    return [job.pipeline for job in active]


async def _look(stubs: Stubs, commit_set: str) -> list[JobOutcome]:
    request = pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=commit_set))
    stream = stubs.pps.InspectJobSet(request, timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata)
    return parse_jobs([info async for info in stream], now=time.time())
