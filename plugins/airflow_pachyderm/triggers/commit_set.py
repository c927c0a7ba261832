"""The trigger that waits for a commit set's jobs in the triggerer, where a thousand waits cost one process."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.discovery import aconnect
from airflow_pachyderm.exceptions import PachydermError
from airflow_pachyderm.outcome import CommitSetOutcome, WaitEnd

STOP_REASON: Final = "the Airflow task that waited for it was stopped"


class CommitSetTrigger(BaseTrigger):
    """Fires once, when every job of a commit set has ended, or at the deadline.

    Killed or cleared by a user, it stops the jobs; at a restart of the triggerer it begins again where it was.

    :param pachyderm_conn_id: Airflow connection of type ``pachyderm``.
    :param commit_set: Id of the commit set, 32 hex digits.
    :param deadline: Seconds since the Unix epoch.
    :param poll_interval: Seconds between two looks at the jobs.
    :param pipeline: Only wait for the job of this pipeline.
    :param stop_on_kill: Whether the jobs are this task's own, to be stopped with it.
    :param not_before: Seconds since the Unix epoch, before which it does not fire: see ``QUIET_SECONDS``.
    """

    def __init__(
        self,
        *,
        pachyderm_conn_id: str,
        commit_set: str,
        deadline: float,
        poll_interval: float = 2.0,
        pipeline: str | None = None,
        stop_on_kill: bool = True,
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.pachyderm_conn_id = pachyderm_conn_id
        self.commit_set = commit_set
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.pipeline = pipeline
        self.stop_on_kill = stop_on_kill
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "pachyderm_conn_id": self.pachyderm_conn_id,
                "commit_set": self.commit_set,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "pipeline": self.pipeline,
                "stop_on_kill": self.stop_on_kill,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire with a :class:`~airflow_pachyderm.outcome.CommitSetOutcome`."""
        from airflow_pachyderm.client.watch import watch_commit_set

        try:
            outcome = await watch_commit_set(
                await self._connection(),
                self.commit_set,
                deadline=self.deadline,
                poll_interval=self.poll_interval,
                pipeline=self.pipeline,
                log=self.log,
            )
        except PachydermError as exc:
            outcome = CommitSetOutcome(self.commit_set, WaitEnd.ERROR, message=str(exc))
        await asyncio.sleep(max(0.0, self.not_before - time.time()))
        yield TriggerEvent(outcome.to_event())  # type: ignore[no-untyped-call]  # as above

    async def on_kill(self) -> None:
        """Stop the jobs: a user marked the task or cleared it. (``cleanup`` would also run when the triggerer restarts.)"""
        if not self.stop_on_kill:
            return
        from airflow_pachyderm.client.watch import stop_commit_set

        try:
            stopped = await stop_commit_set(await self._connection(), self.commit_set, reason=STOP_REASON)
        except PachydermError as exc:
            self.log.warning("Jobs of commit set %s go on: %s", self.commit_set, exc)
        else:
            self.log.info("Stopped %d jobs of commit set %s: %s", len(stopped), self.commit_set, ", ".join(stopped) or "all had ended")

    async def _connection(self) -> PachydermConnection:
        return await aconnect(await BaseHook.aget_connection(self.pachyderm_conn_id))
