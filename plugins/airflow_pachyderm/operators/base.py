"""What the operators share: the hook, and waiting for the jobs of a commit set."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_pachyderm.arguments import check_flags, check_seconds
from airflow_pachyderm.connection import DEFAULT_CONN_ID
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.outcome import CommitSetOutcome, WaitEnd
from airflow_pachyderm.triggers.commit_set import STOP_REASON, CommitSetTrigger
from airflow_pachyderm.waiting import (
    DEFAULT_DEFER_AFTER,
    DEFAULT_POLL_INTERVAL,
    DEFAULT_WAIT_TIMEOUT,
    QUIET_SECONDS,
    TRIGGER_GRACE,
    check_execution_timeout,
    execution_deadline,
    settle,
)

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermOperator(BaseOperator):
    """Base of the operators that call a Pachyderm server.

    :param pachyderm_conn_id: Airflow connection of type ``pachyderm`` (templated).
    """

    template_fields: Sequence[str] = ("pachyderm_conn_id",)
    ui_color = "#e2f3ef"

    def __init__(self, *, pachyderm_conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pachyderm_conn_id = pachyderm_conn_id

    @cached_property
    def hook(self) -> PachydermHook:
        """The connection's hook."""
        return PachydermHook(self.pachyderm_conn_id)


class PachydermWaitingOperator(PachydermOperator):
    """Base of the operators that wait for the jobs of a commit set.

    :param wait_timeout: Seconds that the jobs may take.
    :param poll_interval: Seconds between two looks at the jobs.
    :param deferrable: Wait in the triggerer; the worker slot is free meanwhile.
    :param defer_after: Seconds to wait in the worker first: short jobs then cost no second start of the task.
    """

    def __init__(
        self,
        *,
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        deferrable: bool = True,
        defer_after: float = DEFAULT_DEFER_AFTER,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, deferrable=deferrable)
        check_seconds(self.task_id, wait_timeout=wait_timeout, defer_after=defer_after)
        check_seconds(self.task_id, poll_interval=poll_interval, above=True)
        self.defer_after = defer_after
        self.wait_timeout = wait_timeout
        self.poll_interval = poll_interval
        self.deferrable = deferrable
        self._waiting_for: str | None = None

    def wait_for_jobs(self, context: "Context", commit_set: str, *, stop_on_kill: bool = True) -> CommitSetOutcome:
        """Return when all jobs have succeeded. Deferring, it does not return: ``execute_complete`` is called with the event.

        :param stop_on_kill: Whether the jobs end with this task.
        :raises PachydermError: See :func:`airflow_pachyderm.waiting.settle`.
        """
        deadline = time.time() + self.wait_timeout  # wall clock: it travels to another process
        jobs = self.hook.pps.inspect_job_set(commit_set)
        self.log.info(
            "Commit set %s has %d jobs: %s", commit_set, len(jobs), ", ".join(job.pipeline for job in jobs) or "no pipeline reads it"
        )
        self._waiting_for = commit_set if stop_on_kill else None
        first_deadline = min(deadline, time.time() + self.defer_after) if self.deferrable else deadline
        outcome = self._watch(commit_set, deadline=first_deadline)
        if outcome.end in (WaitEnd.TIMEOUT, WaitEnd.UNAVAILABLE) and first_deadline < deadline:
            self.defer(
                trigger=CommitSetTrigger(
                    pachyderm_conn_id=self.pachyderm_conn_id,
                    commit_set=commit_set,
                    deadline=min(deadline, execution_deadline(self, context)),
                    poll_interval=self.poll_interval,
                    stop_on_kill=stop_on_kill,
                    not_before=time.time() + QUIET_SECONDS,
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=self.wait_timeout) + TRIGGER_GRACE,
            )
        return self.settle(outcome)

    def _watch(self, commit_set: str, *, deadline: float) -> CommitSetOutcome:
        from airflow_pachyderm.client.watch import watch_commit_set

        return asyncio.run(
            watch_commit_set(self.hook.connection, commit_set, deadline=deadline, poll_interval=self.poll_interval, log=self.log)
        )

    def resume(self, context: "Context", event: dict[str, Any], *, stop_on_kill: bool = True) -> CommitSetOutcome:
        """Turn the trigger's event into this task's end; see :meth:`wait_for_jobs`.

        :raises AirflowTaskTimeout: The task's ``execution_timeout`` is over; Airflow then calls :meth:`on_kill`.
        """
        outcome = CommitSetOutcome.from_event(event)
        self._waiting_for = outcome.commit_set if stop_on_kill else None
        check_execution_timeout(self, context, end=outcome.end, waited_for=f"the jobs of commit set {outcome.commit_set}")
        return self.settle(outcome)

    def settle(self, outcome: CommitSetOutcome) -> CommitSetOutcome:
        """Turn the end of a wait into this task's: see :func:`airflow_pachyderm.waiting.settle`."""
        return settle(outcome, hook=self.hook, log=self.log, wait_timeout=self.wait_timeout)

    def on_kill(self) -> None:
        """Stop the jobs that this task waits for; while it is deferred the trigger does it."""
        if self._waiting_for:
            stopped = self.hook.pps.stop_jobs(self._waiting_for, reason=STOP_REASON)
            self.log.info("Stopped %d jobs of commit set %s", len(stopped), self._waiting_for)
