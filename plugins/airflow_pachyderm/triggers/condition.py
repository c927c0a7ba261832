"""The trigger of the sensors."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_pachyderm.conditions import from_plain
from airflow_pachyderm.discovery import aconnect
from airflow_pachyderm.exceptions import PachydermError
from airflow_pachyderm.outcome import WaitEnd


class PachydermConditionTrigger(BaseTrigger):
    """Fires once, when a condition holds, or at the deadline.

    :param pachyderm_conn_id: Airflow connection of type ``pachyderm``.
    :param condition: What :func:`airflow_pachyderm.conditions.to_plain` made.
    :param deadline: Seconds since the Unix epoch.
    :param poll_interval: Seconds between two looks.
    :param not_before: Seconds since the Unix epoch, before which it does not fire: see ``QUIET_SECONDS``.
    """

    def __init__(
        self, *, pachyderm_conn_id: str, condition: dict[str, Any], deadline: float, poll_interval: float, not_before: float = 0.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.pachyderm_conn_id = pachyderm_conn_id
        self.condition = condition
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "pachyderm_conn_id": self.pachyderm_conn_id,
                "condition": self.condition,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire with ``end``, ``value`` and ``message`` of a :class:`~airflow_pachyderm.client.poll.Found`."""
        from airflow_pachyderm.client.poll import Found, poll

        try:
            condition = from_plain(self.condition)
            connection = await aconnect(await BaseHook.aget_connection(self.pachyderm_conn_id))
            found = await poll(
                connection,
                lambda stubs: condition.look(stubs, connection),
                action=f"wait for {condition}",
                deadline=self.deadline,
                poll_interval=self.poll_interval,
                log=self.log,
            )
        except PachydermError as exc:
            found = Found(WaitEnd.ERROR, message=str(exc))
        await asyncio.sleep(max(0.0, self.not_before - time.time()))
        yield TriggerEvent({"end": found.end.value, "value": found.value, "message": found.message})  # type: ignore[no-untyped-call]  # as above
