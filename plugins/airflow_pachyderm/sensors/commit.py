"""Sensors about data."""

from typing import TYPE_CHECKING, Any

from airflow_pachyderm.conditions import FileExists, NewCommit
from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.sensors.base import PachydermSensor

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermCommitSensor(PachydermSensor):
    """Wait for a new finished commit on a branch.

    :param repo: Repo (templated).
    :param branch: Its branch, which need not exist yet (templated).
    :param after: Id of the commit that is known (templated). By default the one that the branch has when the sensor starts, and starts
        again at a retry.
    :return: ``commit``: its id.
    :raises PachydermInvalidError: ``after`` is missing in mode ``reschedule``, which starts the sensor anew for each look.
    """

    template_fields = ("pachyderm_conn_id", "repo", "branch", "after")

    def __init__(self, *, repo: str, branch: str = "master", after: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repo = repo
        self.branch = branch
        self.after = after
        if after is None and self.reschedule and not self.deferrable:
            raise PachydermInvalidError(
                f"Sensor {self.task_id} in mode reschedule needs after, the id of a commit: it forgets between two looks what it knew"
            )

    def execute(self, context: "Context") -> Any:
        """Note what is there, look once, then wait."""
        if self.after is None:
            self.after = (self._look(NewCommit(self.repo, self.branch)) or {}).get("commit", "")
        return super().execute(context)

    def condition(self) -> NewCommit:
        """See the class."""
        return NewCommit(self.repo, self.branch, self.after or "")


class PachydermFileSensor(PachydermSensor):
    """Wait for a file in the newest finished commit of a branch.

    :param repo: Repo (templated).
    :param path: Path or Pachyderm glob: ``/2026/11/23/done``, ``/*.csv`` (templated).
    :param branch: Its branch, which need not exist yet (templated).
    :return: ``commit`` and ``path`` of the first match.
    """

    template_fields = ("pachyderm_conn_id", "repo", "path", "branch")

    def __init__(self, *, repo: str, path: str, branch: str = "master", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repo = repo
        self.path = path
        self.branch = branch

    def condition(self) -> FileExists:
        """See the class."""
        return FileExists(self.repo, self.branch, self.path)
