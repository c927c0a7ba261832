"""Operators about repos and their commits."""

from typing import TYPE_CHECKING, Any

from airflow_pachyderm.arguments import check_flags
from airflow_pachyderm.operators.base import PachydermOperator, PachydermWaitingOperator
from airflow_pachyderm.outcome import job_summary

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermCreateRepoOperator(PachydermOperator):
    """Create a repo unless it exists.

    :param repo: Name (templated).
    :param description: For people (templated).
    :return: Whether it was created.
    :raises PachydermInvalidError: The name is not allowed.
    """

    template_fields = ("pachyderm_conn_id", "repo", "description")

    def __init__(self, *, repo: str, description: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repo = repo
        self.description = description

    def execute(self, context: "Context") -> bool:  # noqa: ARG002 - Airflow's signature
        """Create it."""
        created = self.hook.pfs.create_repo(self.repo, description=self.description)
        self.log.info("Repo %s %s", self.repo, "created" if created else "exists")
        return created


class PachydermDeleteRepoOperator(PachydermOperator):
    """Delete a repo with all its commits; one that is not there is no error.

    :param repo: Name (templated).
    :param force: Also when pipelines read it.
    :raises PachydermConflictError: Pipelines read it, and ``force`` is False.
    """

    template_fields = ("pachyderm_conn_id", "repo")

    def __init__(self, *, repo: str, force: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, force=force)
        self.repo = repo
        self.force = force

    def execute(self, context: "Context") -> None:  # noqa: ARG002 - Airflow's signature
        """Delete it."""
        self.hook.pfs.delete_repo(self.repo, force=self.force)
        self.log.info("Repo %s is deleted", self.repo)


class PachydermWaitForCommitOperator(PachydermWaitingOperator):
    """Wait for all jobs that a commit causes, however it was made.

    :param commit_set: Id of the commit (templated).
    :param stop_on_kill: Stop the jobs when this task is killed or cleared; by default they are somebody else's.
    :return: By pipeline: state, datum counts and seconds.
    :raises PachydermJobError: A job failed or was killed.
    :raises PachydermTimeoutError: Jobs still run after ``wait_timeout``. They go on running.
    """

    template_fields = ("pachyderm_conn_id", "commit_set")

    def __init__(self, *, commit_set: str, stop_on_kill: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, stop_on_kill=stop_on_kill)
        self.commit_set = commit_set
        self.stop_on_kill = stop_on_kill

    def execute(self, context: "Context") -> dict[str, dict[str, Any]]:
        """Wait."""
        return job_summary(self.wait_for_jobs(context, self.commit_set, stop_on_kill=self.stop_on_kill).jobs)

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Go on after the trigger."""
        return job_summary(self.resume(context, event, stop_on_kill=self.stop_on_kill).jobs)
