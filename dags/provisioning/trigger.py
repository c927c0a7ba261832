"""Waiting for a step in the triggerer, where no worker slot is held."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from dags.provisioning.errors import ProvisionError, TransientError
from dags.provisioning.outcome import Done, Outcome

if TYPE_CHECKING:
    from dags.provisioning.clients import Clients


ON_KILL_SECONDS: Final = 25.0  # Airflow gives 30 (triggerer.on_kill_timeout)


class StepTrigger(BaseTrigger):
    """Calls a step until it is done, in a thread, and fires once: ``{"end": "done" | "failed" | "timeout", "change": …, "message": …}``.

    It may be interrupted at any moment and started again, since a step begins by looking.

    :param step: Its name in :data:`dags.provisioning.steps.STEPS`.
    :param stack: :meth:`dags.provisioning.stack.Stack.to_dict`.
    :param run: Label of the DAG run.
    :param progress: Of the first call, which the worker made.
    :param options: Further fields of :class:`dags.provisioning.steps.Request`.
    :param deadline: Seconds since the Unix epoch.
    :param poll_interval: Seconds between two calls.
    :param undo: A step that is called once when a user kills or clears the waiting task.
    """

    def __init__(
        self,
        *,
        step: str,
        stack: dict[str, Any],
        run: str,
        progress: dict[str, str],
        options: dict[str, Any],
        deadline: float,
        poll_interval: float,
        undo: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's triggers are not typed
        self.step, self.stack, self.run_label, self.progress, self.options = step, stack, run, progress, options
        self.deadline, self.poll_interval, self.undo = deadline, poll_interval, undo
        self._clients: Clients | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the triggerer needs to make this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "step": self.step,
                "stack": self.stack,
                "run": self.run_label,
                "progress": self.progress,
                "options": self.options,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "undo": self.undo,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Call the step until it is done, it failed, or the deadline is past."""
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]  # as above

    async def on_kill(self) -> None:
        """A user marked the task or cleared it: undo what this run began. (``cleanup`` would also run when the triggerer restarts.)

        Google deletes no cluster whose creation still runs, so this tries for as long as Airflow lets it. After that it is up to the run's
        undo tasks, which follow a failed task, or to teardown_stack, when the whole run was marked.
        """
        if self.undo is None:
            return
        deadline = time.monotonic() + ON_KILL_SECONDS
        while True:
            try:
                outcome = await self._call(self.undo, progress={}, options={"only_run": True})
            except TransientError as exc:
                message = str(exc)
            except ProvisionError as exc:
                self.log.warning("Killed while %s was under way, and it cannot be undone: %s. Run teardown_stack", self.step, exc)
                return
            else:
                message = outcome.message
                if isinstance(outcome, Done) or outcome.progress:  # with progress: the deletion has begun, and needs nobody any more
                    self.log.info("Killed while %s was under way. Undoing it: %s", self.step, message)
                    return
            if time.monotonic() + self.poll_interval > deadline:
                self.log.warning("Killed while %s was under way, and not undone: %s. Run teardown_stack", self.step, message)
                return
            await asyncio.sleep(self.poll_interval)

    async def _wait(self) -> dict[str, str]:
        progress, message = self.progress, ""
        while True:
            # The worker has just looked; and an event that comes before the scheduler has noticed that the task's process ended by
            # deferring makes it take the try for failed ("state mismatch"): the task starts anew, and finds what is there.
            await asyncio.sleep(self.poll_interval)
            try:
                outcome = await self._call(self.step, progress=progress, options=self.options)
            except TransientError as exc:
                now = str(exc)
            except ProvisionError as exc:
                return {"end": "failed", "message": str(exc)}
            else:
                if isinstance(outcome, Done):
                    return {"end": "done", "change": outcome.change.value, "message": outcome.message}
                progress, now = outcome.progress, outcome.message
            if now != message:
                self.log.info("%s", now)
                message = now
            if time.time() >= self.deadline:
                return {"end": "timeout", "message": message}

    async def _call(self, step: str, *, progress: dict[str, str], options: dict[str, Any]) -> Outcome:
        return await sync_to_async(self._call_in_thread, thread_sensitive=False)(step, progress=progress, options=options)

    def _call_in_thread(self, step: str, *, progress: dict[str, str], options: dict[str, Any]) -> Outcome:
        # Imported in the thread: Google's and Kubernetes' clients take seconds, for which the triggerer's event loop must not stand still.
        from dags.provisioning.clients import Clients
        from dags.provisioning.runner import call
        from dags.provisioning.stack import Stack

        self._clients = self._clients or Clients(Stack.from_dict(self.stack))
        try:
            return call(step, self.stack, run=self.run_label, progress=progress, options=options, clients=self._clients)
        except TransientError:
            self._clients = None  # log in anew: what they remember may be the reason
            raise
