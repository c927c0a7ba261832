"""What sensors wait for, as values: small enough to travel to the triggerer, and looked at there and in a worker by the same code."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermError, PachydermInvalidError
from airflow_pachyderm.states import PIPELINE_FAILED, PipelineState

if TYPE_CHECKING:
    from airflow_pachyderm.client.channel import Stubs


class Condition(Protocol):
    """Something about a server that is so or not yet."""

    @property
    def kind(self) -> str:
        """Names the class in a stored trigger."""

    async def look(self, stubs: "Stubs", connection: PachydermConnection) -> dict[str, Any] | None:
        """What was found, or None when it is not so yet.

        :raises PachydermError: It will never be so.
        """

    def __str__(self) -> str: ...


@dataclass(frozen=True)
class NewCommit:
    """A branch has a finished commit other than ``after``.

    :ivar after: Commit id; empty for any commit.
    """

    repo: str
    branch: str
    after: str = ""
    kind: ClassVar[str] = "new commit"

    async def look(self, stubs: "Stubs", connection: PachydermConnection) -> dict[str, Any] | None:
        """The newest finished commit, when it is another one."""
        from airflow_pachyderm.client.aio import newest_finished

        commit = await newest_finished(stubs, connection, self.repo, self.branch)
        return {"commit": commit} if commit and commit != self.after else None

    def __str__(self) -> str:
        return f"a new commit on {self.repo}@{self.branch}"


@dataclass(frozen=True)
class FileExists:
    """The newest finished commit of a branch has a file or directory that matches.

    :ivar pattern: Pachyderm glob; a plain path is one too.
    """

    repo: str
    branch: str
    pattern: str
    kind: ClassVar[str] = "file"

    async def look(self, stubs: "Stubs", connection: PachydermConnection) -> dict[str, Any] | None:
        """The first file that matches, and the commit that it is in."""
        from airflow_pachyderm.client.aio import first_match, newest_finished

        commit = await newest_finished(stubs, connection, self.repo, self.branch)
        path = commit and await first_match(stubs, connection, self.repo, commit, self.pattern)
        return {"commit": commit, "path": path} if path else None

    def __str__(self) -> str:
        return f"a file {self.pattern} in {self.repo}@{self.branch}"


@dataclass(frozen=True)
class PipelineIn:
    """A pipeline is in one of some states.

    :ivar states: Values of :class:`~airflow_pachyderm.states.PipelineState`.
    """

    pipeline: str
    states: tuple[str, ...]
    kind: ClassVar[str] = "pipeline"

    async def look(self, stubs: "Stubs", connection: PachydermConnection) -> dict[str, Any] | None:
        """The state, when it is one of them.

        :raises PachydermError: The pipeline failed, which it does not leave by itself.
        """
        from airflow_pachyderm.client.aio import pipeline_state

        state, reason = await pipeline_state(stubs, connection, self.pipeline)
        if state in self.states:
            return {"state": state.value}
        if state in PIPELINE_FAILED:
            raise PachydermError(
                f"Pipeline {self.pipeline} at {connection} is in state {state.value}: {reason or 'no reason given'}; update it"
            )
        return None

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", tuple(PipelineState(state).value for state in self.states))

    def __str__(self) -> str:
        return f"pipeline {self.pipeline} to be {' or '.join(self.states)}"


_KINDS: Mapping[str, type[Any]] = {condition.kind: condition for condition in (NewCommit, FileExists, PipelineIn)}


def to_plain(condition: Any) -> dict[str, Any]:
    """A condition for a trigger's arguments."""
    return {"kind": condition.kind, **asdict(condition)}


def from_plain(plain: Mapping[str, Any]) -> Condition:
    """Read what :func:`to_plain` made.

    :raises PachydermInvalidError: A later release made it.
    """
    fields = dict(plain)
    kind = fields.pop("kind", "")
    try:
        condition: Condition = _KINDS[kind](**fields)
    except (KeyError, TypeError, ValueError) as exc:
        raise PachydermInvalidError(
            f"The triggerer does not know the condition {dict(plain)}: it runs another release than the worker"
        ) from exc
    return condition
