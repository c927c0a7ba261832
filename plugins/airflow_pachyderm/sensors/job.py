"""Sensors about jobs."""

import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSkipException

from airflow_pachyderm.arguments import check_flags, check_seconds
from airflow_pachyderm.connection import DEFAULT_CONN_ID
from airflow_pachyderm.exceptions import PachydermError, PachydermNotFoundError
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.outcome import CommitSetOutcome, WaitEnd
from airflow_pachyderm.states import JOB_TERMINAL
from airflow_pachyderm.triggers.commit_set import CommitSetTrigger
from airflow_pachyderm.waiting import (
    DEFAULT_POLL_INTERVAL,
    QUIET_SECONDS,
    TRIGGER_GRACE,
    check_execution_timeout,
    execution_deadline,
    settle,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermJobSensor(BaseSensorOperator):
    """Wait for the jobs of a commit set that somebody else made; the task fails when one of them does.

    :param commit_set: Its id (templated).
    :param pipeline: Only wait for the job of this pipeline (templated).
    :param pachyderm_conn_id: Airflow connection of type ``pachyderm`` (templated).
    :param deferrable: Wait in the triggerer; the worker slot is free meanwhile.
    :raises PachydermJobError: A job failed or was killed.
    :raises PachydermTimeoutError: Jobs still run after ``timeout``.
    """

    template_fields: Sequence[str] = ("pachyderm_conn_id", "commit_set", "pipeline")

    def __init__(
        self,
        *,
        commit_set: str,
        pipeline: str | None = None,
        pachyderm_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = True,
        poke_interval: float = DEFAULT_POLL_INTERVAL,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        check_flags(self.task_id, deferrable=deferrable)
        check_seconds(self.task_id, poke_interval=self.poke_interval, above=True)
        self.commit_set = commit_set
        self.pipeline = pipeline
        self.pachyderm_conn_id = pachyderm_conn_id
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> PachydermHook:
        """The connection's hook."""
        return PachydermHook(self.pachyderm_conn_id)

    def execute(self, context: "Context") -> Any:
        """Look once, then wait."""
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self.defer(
                trigger=CommitSetTrigger(
                    pachyderm_conn_id=self.pachyderm_conn_id,
                    commit_set=self.commit_set,
                    deadline=min(time.time() + self.timeout, execution_deadline(self, context)),
                    poll_interval=self.poke_interval,
                    pipeline=self.pipeline,
                    stop_on_kill=False,  # the jobs are somebody else's
                    not_before=time.time() + QUIET_SECONDS,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.timeout) + TRIGGER_GRACE,
            )
        return None

    def poke(self, context: "Context") -> bool:  # noqa: ARG002 - Airflow's signature
        """Whether all jobs have succeeded."""
        jobs = [job for job in self.hook.pps.inspect_job_set(self.commit_set) if self.pipeline in (None, job.pipeline)]
        if self.pipeline and not jobs:
            raise PachydermNotFoundError(f"Commit set {self.commit_set} at {self.hook.connection} has no job of pipeline {self.pipeline}")
        if any(job.state not in JOB_TERMINAL for job in jobs):
            return False
        self._settle(CommitSetOutcome(self.commit_set, WaitEnd.FINISHED, tuple(jobs)))
        return True

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> None:
        """Go on after the trigger."""
        outcome = CommitSetOutcome.from_event(event)
        check_execution_timeout(self, context, end=outcome.end, waited_for=f"the jobs of commit set {self.commit_set}")
        self._settle(outcome)

    def _settle(self, outcome: CommitSetOutcome) -> None:
        try:
            settle(outcome, hook=self.hook, log=self.log, wait_timeout=self.timeout)
        except PachydermError as exc:
            if self.soft_fail:
                raise AirflowSkipException(str(exc)) from exc
            raise
