"""The errors of the stages.

::

    StageError              this datum cannot be processed; the message says what, why and the way out
    ├── RejectedImageError       an image is not one of ours; carries a machine-readable ``code``
    └── WorkerProtocolError the datum loop cannot talk to the Pachyderm worker
"""

from __future__ import annotations

from collections.abc import Iterable


class StageError(Exception):
    """A datum cannot be processed. Nothing else is affected: the loop reports it and goes on."""

    @classmethod
    def of_many(cls, errors: Iterable[StageError]) -> StageError:
        """Make one error of several; a single one is returned as it is."""
        listed = list(errors)
        if len(listed) == 1:
            return listed[0]
        return cls(f"{len(listed)} files failed:\n" + "\n".join(str(error) for error in listed))


class RejectedImageError(StageError):
    """An image does not pass.

    :ivar code: Machine-readable reason, for example ``"bad-name"`` or ``"truncated"``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class WorkerProtocolError(StageError):
    """The worker's ``NextDatum`` cannot be called or answered with an error."""
