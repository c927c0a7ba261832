"""What the page answers when something is wrong.

The full text of an error names addresses and connections, so it goes to the log; a reader gets what happened and the way out.
"""

import logging
from dataclasses import dataclass
from typing import Final

from airflow_pachyderm.exceptions import (
    PachydermAuthError,
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermUnavailableError,
)

log = logging.getLogger(__name__)


class NotOfferedError(PachydermError):
    """The server does not implement the call."""


class NotThereError(PachydermNotFoundError):
    """Something that the reader asked for does not exist; the message is for the reader."""


@dataclass(frozen=True)
class Problem:
    """An answer to a request that failed.

    :ivar kind: For programs: ``unavailable``, ``not-found``, ...
    :ivar retry: Whether the same request may succeed later without anybody changing it.
    """

    status: int
    kind: str
    title: str
    way_out: str
    retry: bool = False


# In this order: the first that matches is it.
_PROBLEMS: Final[tuple[tuple[type[PachydermError], Problem], ...]] = (
    (
        NotOfferedError,
        Problem(501, "not-offered", "This Pachyderm server does not offer this", "The other views work. A newer server may have it."),
    ),
    (
        PachydermNotFoundError,
        Problem(404, "not-found", "It is not there", "It may have been deleted, or the link is old. Go back to the list and look for it."),
    ),
    (
        PachydermInvalidError,
        Problem(
            422,
            "invalid",
            "Pachyderm does not understand this request",
            "Correct the address, or the fields of the Pachyderm connection under Admin > Connections.",
        ),
    ),
    (
        PachydermConflictError,
        Problem(409, "conflict", "Its state does not allow this now", "Wait until the commit is finished, then look again.", retry=True),
    ),
    (
        PachydermAuthError,
        Problem(
            502,
            "refused",
            "Pachyderm refuses Airflow's token",
            "Put a valid auth token into the Pachyderm connection under Admin > Connections.",
        ),
    ),
    (
        PachydermUnavailableError,
        Problem(
            503,
            "unavailable",
            "Pachyderm does not answer",
            "Start it (on a laptop: make up), or correct host and port of the Pachyderm connection under Admin > Connections. "
            "This page goes on by itself when it is back.",
            retry=True,
        ),
    ),
)
_OTHER: Final = Problem(502, "failed", "Pachyderm could not answer", "The log of Airflow's API server says why.", retry=True)


def problem_of(exc: PachydermError) -> Problem:
    """The answer for an error; one the reader can act on says what is missing."""
    problem = next((problem for kind, problem in _PROBLEMS if isinstance(exc, kind)), _OTHER)
    if isinstance(exc, NotThereError):
        return Problem(problem.status, problem.kind, str(exc), problem.way_out, problem.retry)
    return problem
