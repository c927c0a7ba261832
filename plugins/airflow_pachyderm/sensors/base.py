"""What the sensors share: one way to look, in a worker or in the triggerer, and one way to end."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowSkipException

from airflow_pachyderm.arguments import check_flags, check_seconds
from airflow_pachyderm.conditions import Condition, to_plain
from airflow_pachyderm.connection import DEFAULT_CONN_ID
from airflow_pachyderm.exceptions import PachydermError, PachydermTimeoutError, PachydermUnavailableError
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.outcome import WaitEnd
from airflow_pachyderm.triggers.condition import PachydermConditionTrigger
from airflow_pachyderm.waiting import QUIET_SECONDS, TRIGGER_GRACE, check_execution_timeout, execution_deadline

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_pachyderm.client.channel import Server

DEFAULT_SENSOR_INTERVAL = 10.0


class PachydermSensor(BaseSensorOperator):
    """Base of the sensors that wait for a condition.

    :param pachyderm_conn_id: Airflow connection of type ``pachyderm`` (templated).
    :param deferrable: Wait in the triggerer; the worker slot is free meanwhile.
    :param poke_interval: Seconds between two looks.
    """

    template_fields: Sequence[str] = ("pachyderm_conn_id",)
    ui_color = "#e2f3ef"

    def __init__(
        self,
        *,
        pachyderm_conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool = True,
        poke_interval: float = DEFAULT_SENSOR_INTERVAL,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        check_flags(self.task_id, deferrable=deferrable)
        check_seconds(self.task_id, poke_interval=self.poke_interval, above=True)
        self.pachyderm_conn_id = pachyderm_conn_id
        self.deferrable = deferrable

    @cached_property
    def hook(self) -> PachydermHook:
        """The connection's hook."""
        return PachydermHook(self.pachyderm_conn_id)

    def condition(self) -> Condition:
        """What to wait for, from the rendered fields."""
        raise NotImplementedError

    def execute(self, context: "Context") -> Any:
        """Look once, then wait.

        :return: What was found.
        """
        if not self.deferrable:
            return super().execute(context)
        condition = self.condition()
        found = self._look(condition)
        if found is not None:
            return found
        self.log.info("Waiting for %s", condition)
        return self.defer(
            trigger=PachydermConditionTrigger(
                pachyderm_conn_id=self.pachyderm_conn_id,
                condition=to_plain(condition),
                deadline=min(time.time() + self.timeout, execution_deadline(self, context)),
                poll_interval=self.poke_interval,
                not_before=time.time() + QUIET_SECONDS,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout) + TRIGGER_GRACE,
        )

    def poke(self, context: "Context") -> PokeReturnValue:  # noqa: ARG002 - Airflow's signature
        """Look once."""
        found = self._look(self.condition())
        return PokeReturnValue(is_done=found is not None, xcom_value=found)

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> Any:
        """Go on after the trigger."""
        if event.get("end") == WaitEnd.FINISHED and event.get("value") is not None:
            return event["value"]
        check_execution_timeout(self, context, end=event.get("end"), waited_for=str(self.condition()))
        error = self._error(event)
        if self.soft_fail:
            raise AirflowSkipException(str(error)) from error
        raise error

    def _error(self, event: dict[str, Any]) -> PachydermError:
        match event.get("end"):
            case WaitEnd.TIMEOUT:
                return PachydermTimeoutError(f"Still waiting for {self.condition()} after {self.timeout:.0f} s")
            case WaitEnd.UNAVAILABLE:
                return PachydermUnavailableError(str(event.get("message")))
            case _:  # an end that we do not know is never success
                return PachydermError(str(event.get("message") or f"The wait for {self.condition()} ended without a result: {event}"))

    def _look(self, condition: Condition) -> dict[str, Any] | None:
        """One look in this process, through the code that the trigger runs; transient errors are retried as in any call."""
        from airflow_pachyderm.client.channel import shared_stubs
        from airflow_pachyderm.client.errors import remote

        @remote("look for {condition}")
        def look(server: "Server", condition: Condition) -> dict[str, Any] | None:
            async def once() -> dict[str, Any] | None:
                async with shared_stubs(server.connection) as stubs:
                    return await condition.look(stubs, server.connection)

            return asyncio.run(once())

        return look(self.hook.server, condition)
