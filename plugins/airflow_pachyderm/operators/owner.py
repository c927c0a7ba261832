"""The push of a task instance: which commits are its own, and whose an open commit is, told and asked through Airflow."""

import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from airflow_pachyderm.client.answers import Commit
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.push import Owner, Push

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

XCOM_OPEN: Final = "open_commit"
_CLOCKS_SECONDS: Final = 24 * 3600.0  # Airflow's clock and the server's may differ by so much
_NOTE_SECONDS: Final = 30.0  # from opening a commit to its note in the XCom
_OWNER: Final = re.compile(r" by ([^ /]+)/([^ /]+)/([^ /]+)/(-?[0-9]+)$")
# Of a task in any other state no process is alive. One whose worker died stays "running" until Airflow has missed its heartbeats.
_ALIVE: Final = frozenset({"running", "restarting"})


class TaskOwner(Owner):
    """A task instance. Its name is in the description of the commit, the commit's id in its XCom ``open_commit``.

    :param context: Of the task that pushes.
    """

    def __init__(self, context: "Context") -> None:
        self._ti: Any = context["ti"]
        parts = (self._ti.dag_id, self._ti.run_id, self._ti.task_id, str(self._ti.map_index))
        super().__init__("/".join(quote(part, safe="") for part in parts))
        self._unnoted: dict[str, float] = {}

    def opened(self, commit: Commit) -> None:
        """Note that the commit is this task's."""
        self._ti.xcom_push(key=XCOM_OPEN, value=commit.commit_set)

    def is_gone(self, commit: Commit) -> bool:
        """Whether the commit is of a task of this Airflow that no process executes any more."""
        return self._is_alive(commit) is False

    def is_busy(self, commit: Commit) -> bool:
        """Whether the commit is of another task of this Airflow, and a process executes it."""
        if commit.description.endswith(f" by {self.name}"):
            return False
        alive = self._is_alive(commit)
        if alive is None and (named := _named(commit)) and self._state(named) in _ALIVE:
            # It may have opened the commit this moment; noting that comes next.
            first = self._unnoted.setdefault(commit.commit_set, time.monotonic())
            return time.monotonic() - first < _NOTE_SECONDS
        return alive is True

    def _is_alive(self, commit: Commit) -> bool | None:
        """Whether a process executes the task that the commit is of; None where it is of no task of this Airflow."""
        named = _named(commit)
        if named is None:
            return None
        dag_id, run_id, task_id, map_index = named
        # Another Airflow may have a run of the same name: only the one that opened the commit has its id.
        if self._ti.xcom_pull(dag_id=dag_id, run_id=run_id, task_ids=task_id, map_indexes=map_index, key=XCOM_OPEN) != commit.commit_set:
            return None
        state = self._state(named)
        if state not in _ALIVE:
            log.info(
                "Task %s of %s/%s, map index %d, is %s and cannot go on with commit %s", task_id, dag_id, run_id, map_index, state, commit
            )
        return state in _ALIVE

    def _state(self, named: tuple[str, str, str, int]) -> str:
        """What Airflow says of a task instance; ``gone`` of one that it does not know."""
        dag_id, run_id, task_id, map_index = named
        states = self._ti.get_task_states(dag_id=dag_id, run_ids=[run_id], task_ids=[task_id], map_index=map_index)
        return str(next(iter(states.get(run_id, {"": "gone"}).values())))


def _named(commit: Commit) -> tuple[str, str, str, int] | None:
    """DAG, run, task and map index that a commit's description names as its owner."""
    found = _OWNER.search(commit.description)
    if not found:
        return None
    dag_id, run_id, task_id = (unquote(part) for part in found.groups()[:3])
    return dag_id, run_id, task_id, int(found[4])


def task_push(context: "Context", pfs: PfsClient, *, key: str | None = None, **fields: Any) -> Push:
    """The push of a task.

    :param key: What makes two pushes the same. By default the task instance, with all its tries and clears; none of them has begun before
        its run was due, so older commits need no look.
    :param fields: As :class:`~airflow_pachyderm.client.push.Push` takes them.
    """
    ti: Any = context["ti"]
    since = 0.0
    if not key:
        key = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"
        since = context["dag_run"].run_after.timestamp() - _CLOCKS_SECONDS
    return Push(pfs, key=key, owner=TaskOwner(context), since=since, **fields)
