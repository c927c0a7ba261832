"""Running one operator as a task: as Airflow's runner does it, with its trigger in line, and with XComs in a dictionary."""

import asyncio
import contextvars
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger, TriggerEvent


@dataclass
class TaskInstance:
    """What operators use of a task instance."""

    task_id: str
    dag_id: str = "dag"
    run_id: str = "manual__2026-11-23T02:00:00+00:00"
    map_index: int = -1
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, *, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, task_ids: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms[key]


@dataclass
class Task:
    """One task instance through its tries.

    :ivar triggers: What it deferred to, in order.
    """

    operator: BaseOperator
    ti: TaskInstance = field(init=False)
    triggers: list[BaseTrigger] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ti = TaskInstance(self.operator.task_id)

    @property
    def context(self) -> dict[str, Any]:
        return {"ti": self.ti, "task": self.operator}

    def run(self) -> Any:
        """One try to its end."""
        try:
            return self.call("execute", self.context)
        except TaskDeferred as deferred:
            self.triggers.append(deferred.trigger)
            event = fire(again(deferred.trigger))
            return self.call(deferred.method_name, self.context, event.payload)

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
