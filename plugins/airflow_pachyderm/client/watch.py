"""Waiting for the jobs of a commit set, on an event loop: the one implementation behind triggers and tasks that wait themselves."""

import time
from collections.abc import Callable
from typing import Any, Final

import grpc

from airflow_pachyderm.client.answers import check_commit_set, commit_set_request, parse_jobs, require_commits
from airflow_pachyderm.client.channel import UNARY_TIMEOUT_SECONDS, Stubs, shared_stubs
from airflow_pachyderm.client.errors import translate
from airflow_pachyderm.client.poll import poll
from airflow_pachyderm.client.protocol import pps_pb2
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermNotFoundError
from airflow_pachyderm.logs import Log
from airflow_pachyderm.outcome import CommitSetOutcome, JobOutcome
from airflow_pachyderm.states import JOB_TERMINAL

COUNTS_SECONDS: Final = 10.0


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
    """Return when every job of the commit set has ended, or at the deadline; see :func:`~airflow_pachyderm.client.poll.poll`.

    :param pipeline: Only wait for the job of this pipeline.
    """
    progress, jobs = Progress(log), list[JobOutcome]()

    async def look(stubs: Stubs) -> bool | None:
        jobs[:] = [job for job in await _jobs(stubs, connection, commit_set) if pipeline in (None, job.pipeline)]
        if pipeline and not jobs:
            raise PachydermNotFoundError(f"Commit set {commit_set} at {connection} has no job of pipeline {pipeline}")
        progress.show(jobs, now=now())
        return all(job.state in JOB_TERMINAL for job in jobs) or None

    action = f"watch commit set {commit_set}"
    found = await poll(connection, look, action=action, deadline=deadline, poll_interval=poll_interval, log=log, now=now)
    return CommitSetOutcome(commit_set, found.end, tuple(jobs), found.message)


async def stop_commit_set(connection: PachydermConnection, commit_set: str, *, reason: str) -> list[str]:
    """Stop all jobs of a commit set that have not ended.

    :return: Their pipelines.
    :raises PachydermError: The server refuses, or does not answer.
    """
    async with shared_stubs(connection) as stubs:
        try:
            active = [job for job in await _jobs(stubs, connection, commit_set) if job.state not in JOB_TERMINAL]
            for job in active:
                pipeline: Any = pps_pb2.Pipeline(name=job.pipeline)
                pipeline.project.name = connection.project
                request = pps_pb2.StopJobRequest(job=pps_pb2.Job(pipeline=pipeline, id=job.job), reason=reason)
                await stubs.pps.StopJob(request, timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata)
        except grpc.RpcError as exc:
            raise translate(exc, action=f"stop the jobs of commit set {commit_set}", connection=connection) from exc
    return [job.pipeline for job in active]


async def _jobs(stubs: Stubs, connection: PachydermConnection, commit_set: str) -> list[JobOutcome]:
    request = pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=check_commit_set(commit_set)))
    stream = stubs.pps.InspectJobSet(request, timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata)
    jobs = parse_jobs([info async for info in stream], now=time.time())
    if not jobs:  # which a 2.12 server says of any id
        commits = stubs.pfs.InspectCommitSet(commit_set_request(commit_set), timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata)
        require_commits(await anext(aiter(commits), None), commit_set, connection)
        commits.cancel()
    return jobs
