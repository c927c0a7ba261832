"""Running one operator as a task: as Airflow's runner does it, with its trigger in line, and with XComs in a dictionary."""

import asyncio
import contextvars
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred
from airflow.sdk.execution_time.timeout import timeout
from airflow.triggers.base import BaseTrigger, TriggerEvent


@dataclass
class TaskInstance:
    """What operators use of a task instance.

    :ivar start_date: Of the try: a resumption after a deferral does not change it.
    :ivar others: The other task instances of this Airflow.
    """

    task_id: str
    dag_id: str = "dag"
    run_id: str = "manual__2026-11-23T02:00:00+00:00"
    map_index: int = -1
    try_number: int = 1
    xcoms: dict[str, Any] = field(default_factory=dict)
    state: str = "running"
    start_date: datetime | None = None
    others: list["TaskInstance"] = field(default_factory=list)

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, task_ids: str, map_indexes: int = -1, dag_id: str | None = None, run_id: str | None = None) -> Any:
        for ti in self._find(dag_id or self.dag_id, run_id or self.run_id, task_ids, map_indexes):
            return ti.xcoms.get(key)
        return None

    def get_task_states(self, dag_id: str, *, run_ids: list[str], task_ids: list[str], map_index: int) -> dict[str, dict[str, str]]:
        (run_id,), (task_id,) = run_ids, task_ids
        name = task_id if map_index < 0 else f"{task_id}_{map_index}"
        found = self._find(dag_id, run_id, task_id, map_index)
        return {run_id: {name: found[0].state}} if found else {}

    def _find(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list["TaskInstance"]:
        wanted = (dag_id, run_id, task_id, map_index)
        return [ti for ti in (self, *self.others) if (ti.dag_id, ti.run_id, ti.task_id, ti.map_index) == wanted]


@dataclass
class DagRun:
    """What operators use of a run."""

    run_after: datetime = field(default_factory=lambda: datetime.now(UTC))
    start_date: datetime | None = None


@dataclass
class Task:
    """One task instance through its tries.

    :ivar triggers: What it deferred to, in order.
    """

    operator: BaseOperator
    dag_run: DagRun = field(default_factory=DagRun)
    ti: TaskInstance = field(init=False)
    triggers: list[BaseTrigger] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ti = TaskInstance(self.operator.task_id)

    @property
    def context(self) -> dict[str, Any]:
        return {"ti": self.ti, "task": self.operator, "dag_run": self.dag_run}

    def run(self) -> Any:
        """One try to its end."""
        self.ti.start_date = datetime.now(UTC)
        try:
            return self._execute("execute", self.context)
        except TaskDeferred as deferred:
            self.triggers.append(deferred.trigger)
            trigger = again(deferred.trigger)
            trigger.not_before = 0.0  # type: ignore[attr-defined]  # it is for a scheduler's sake, and there is none
            event = fire(trigger)
            return self._execute(deferred.method_name, self.context, event.payload)

    def _execute(self, method: str, *arguments: Any) -> Any:
        """As the task runner does, with the time limit that it measures anew in every process."""
        limit = self.operator.execution_timeout
        if limit is None:
            return self.call(method, *arguments)
        try:
            with timeout(limit.total_seconds()):
                return self.call(method, *arguments)
        except AirflowTaskTimeout:
            self.operator.on_kill()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        context = contextvars.copy_context()
        context.run(ExecutorSafeguard.tracker.set, self.operator)  # what Airflow's task runner does
        return context.run(getattr(self.operator, method), *arguments)


def again(trigger: BaseTrigger) -> BaseTrigger:
    """The trigger as the triggerer gets it."""
    from airflow.sdk._shared.module_loading import import_string

    path, arguments = trigger.serialize()
    made: BaseTrigger = import_string(path)(**arguments)
    return made


def fire(trigger: BaseTrigger) -> TriggerEvent:
    """The trigger's one event."""

    async def first() -> TriggerEvent:
        return await anext(aiter(trigger.run()))

    return asyncio.run(first())
