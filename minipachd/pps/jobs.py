"""Jobs as the database knows them: how they come to be, change state and end. All functions work inside a transaction."""

import dataclasses
import time
from collections.abc import Sequence

from minipachd.errors import NotFoundError
from minipachd.pfs import META_REPO, SPEC_REPO, USER_REPO, Commit, CommitKey, CommitSetId, RepoKey, Txn, View
from minipachd.pps import records
from minipachd.pps.records import Job, Pipeline
from minipachd.pps.spec import JobId, JobKey, JobState, PipelineKey


class JobObserver:
    """Keeps jobs and commits together: a job for every open output commit, none without."""

    def commits_created(self, view: View, commits: Sequence[Commit]) -> None:
        for commit in commits:
            pipeline = _owner(view, commit.key.repo) if commit.key.repo.type == USER_REPO else None
            if pipeline is not None and commit.branch.name == pipeline.spec.output_branch:
                key = JobKey(pipeline.key, JobId(commit.id))
                records.create_job(view.db, key, version=pipeline.version, now_ns=time.time_ns())

    def commit_finished(self, view: View, commit: Commit) -> None:
        """Controllers look at the commits themselves."""

    def commits_deleted(self, view: View, commits: Sequence[Commit]) -> None:
        for commit in commits:
            if commit.key.repo.type == USER_REPO:
                records.delete_job(view.db, JobKey(PipelineKey(commit.key.repo.project, commit.key.repo.name), JobId(commit.id)))

    def repo_owner(self, view: View, repo: RepoKey) -> str | None:
        pipeline = _owner(view, repo) if repo.type in (USER_REPO, META_REPO, SPEC_REPO) else None
        return None if pipeline is None else str(pipeline.key)


def _owner(view: View, repo: RepoKey) -> Pipeline | None:
    return records.find_pipeline(view.db, PipelineKey(repo.project, repo.name))


def output_commit(key: JobKey) -> CommitKey:
    """The commit that a job fills."""
    return CommitKey(RepoKey(key.pipeline.project, key.pipeline.name), CommitSetId(key.id))


def meta_commit(key: JobKey) -> CommitKey:
    """The commit beside it in the meta repo."""
    return CommitKey(RepoKey(key.pipeline.project, key.pipeline.name, META_REPO), CommitSetId(key.id))


def update(txn: Txn, job: Job) -> None:
    """Store progress of a running job.

    :raises JobFinishedError: Somebody ended it meanwhile. :raises JobNotFoundError: Or deleted it.
    """
    if records.get_job(txn.db, job.key).terminal:
        raise records.JobFinishedError(job.key)
    records.put_job(txn.db, job)


def end(txn: Txn, job: Job, state: JobState, *, reason: str = "") -> Job:
    """Finish a job's commits and bring it to a terminal state. Content that its commit may not hold makes a success a failure.

    :param reason: Becomes the commits' error; empty for a success.
    :raises JobFinishedError: It has ended before. :raises JobNotFoundError: It has been deleted.
    """
    if records.get_job(txn.db, job.key).terminal:
        raise records.JobFinishedError(job.key)
    for key in (output_commit(job.key), meta_commit(job.key)):
        try:
            commit = txn.commit(key)
        except NotFoundError:
            continue  # its repo is being deleted
        if not commit.finished:
            commit = txn.finish_commit(key, error=reason, by_pipeline=True)
            if commit.error and not reason:
                state, reason = JobState.FAILURE, commit.error
    now_ns = time.time_ns()
    ended = dataclasses.replace(job, state=state, reason=reason, started_ns=job.started_ns or now_ns, finished_ns=now_ns)
    records.put_job(txn.db, ended)
    return ended


def stop(txn: Txn, key: JobKey, *, reason: str) -> None:
    """Kill a job; one that has ended stays as it is.

    :raises JobNotFoundError: There is none.
    """
    job = records.get_job(txn.db, key)
    if not job.terminal:
        end(txn, job, JobState.KILLED, reason=reason or "job stopped")


def stop_all(txn: Txn, pipeline: PipelineKey, *, reason: str) -> None:
    """Kill all jobs of a pipeline that have not ended."""
    for job in records.active_jobs(txn.db, pipeline):
        end(txn, job, JobState.KILLED, reason=reason)
