"""Steps as Airflow tasks."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from dags.provisioning.errors import ProvisionError, TransientError
from dags.provisioning.outcome import Outcome, Pending
from dags.provisioning.stack import run_label
from dags.provisioning.trigger import StepTrigger

TRIGGER_GRACE: Final = timedelta(minutes=2)  # the trigger's own deadline comes first: its event says what was waited for
OUTAGE_TIMEOUT: Final = timedelta(minutes=10)  # where the first look already finds nobody: it may be a wrong address too
DEFAULT_TIMEOUT: Final = timedelta(minutes=30)
DEFAULT_POLL_INTERVAL: Final = 10.0


class StepOperator(BaseOperator):
    """Makes one thing of a stack be there, or be gone, and says which. Waits in the triggerer.

    :param step: The step's name in :data:`dags.provisioning.steps.STEPS`.
    :param stack: The stack as plain values (templated).
    :param options: Further fields of the step's request (templated).
    :param wait_timeout: From the start to the step's end.
    :param poll_interval: Seconds between two looks.
    :param undo: A step to call when a user kills this task while it waits.
    :return: ``found``, ``created``, ``updated``, ``removed``, ``absent`` or ``kept``.
    :raises AirflowFailException: Repeating it cannot help. The message says what to change.
    :raises AirflowException: It is not done after ``wait_timeout``, or nobody answers for ten minutes.
    :raises AirflowSkipException: There is no stack, since its plan failed: nothing was begun that could be undone.
    """

    template_fields: Sequence[str] = ("stack", "options")
    ui_color = "#e6ecf7"

    def __init__(
        self,
        *,
        step: str,
        stack: Any,
        options: dict[str, Any] | None = None,
        wait_timeout: timedelta = DEFAULT_TIMEOUT,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
        undo: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.stack = stack
        self.options = options or {}
        self.wait_timeout = wait_timeout
        self.poll_interval = poll_interval
        self.undo = undo

    def execute(self, context: Context) -> str:
        """Call the step, and wait for it in the triggerer when it is not done at once."""
        from dags.provisioning.runner import call  # loads the clients of Google and Kubernetes, which parsing must not

        if self.stack is None:
            raise AirflowSkipException("There is no stack: its plan failed before anything was begun")
        run, timeout = run_label(str(context["run_id"])), self.wait_timeout
        try:
            outcome: Outcome = call(self.step, self.stack, run=run, progress={}, options=self.options)
        except TransientError as exc:  # sat out in the triggerer, as one that comes later: a few retries may be over before it is
            outcome, timeout = Pending(message=str(exc)), min(OUTAGE_TIMEOUT, self.wait_timeout)
        except ProvisionError as exc:
            raise AirflowFailException(str(exc)) from exc
        if isinstance(outcome, Pending):
            self.log.info("%s", outcome.message)
            self.defer(
                trigger=StepTrigger(
                    step=self.step,
                    stack=self.stack,
                    run=run,
                    progress=outcome.progress,
                    options=self.options,
                    deadline=time.time() + timeout.total_seconds(),  # wall clock: it travels to another process
                    poll_interval=self.poll_interval,
                    undo=self.undo,
                ),
                method_name=self.execute_complete.__name__,
                timeout=timeout + TRIGGER_GRACE,
            )
        return self._settle({"end": "done", "change": outcome.change.value, "message": outcome.message})

    def execute_complete(self, context: Context, event: dict[str, str]) -> str:  # noqa: ARG002  Airflow's signature
        """Take the trigger's event."""
        return self._settle(event)

    def _settle(self, event: dict[str, str]) -> str:
        """Turn the step's end into the task's: one place for both ways of waiting."""
        match event["end"]:
            case "done":
                self.log.info("%s", event["message"])
                return event["change"]
            case "timeout":
                raise AirflowException(f"Not done in time: {event['message']}. Clear this task to go on waiting")
            case _:  # an end that we do not know is never success
                raise AirflowFailException(event["message"])
