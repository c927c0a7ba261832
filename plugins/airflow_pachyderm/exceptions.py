"""What can go wrong between Airflow and Pachyderm.

Every error of the provider is a :class:`PachydermError`, and its message says what was tried, why it failed and the way out::

    PachydermError                   the root, and what no type below describes
    ├── PachydermNotFoundError       a repo, branch, commit, file, pipeline or job is not there
    ├── PachydermConflictError       it is there already, or another commit is in the way
    ├── PachydermInvalidError        the request cannot succeed as it is: a spec, a name, a path, a connection's field
    │   └── PachydermSourceError     files to push: a folder or a file cannot be read, is empty, or changed meanwhile
    ├── PachydermAuthError           the server refuses the token, or the token's owner
    ├── PachydermUnavailableError    no server answers, or not in time; a retry may succeed
    ├── PachydermTimeoutError        jobs still run at the deadline
    └── PachydermJobError            a job failed, was killed, or could not run
"""

from typing import Any

from airflow.sdk.exceptions import AirflowException

from airflow_pachyderm.urls import shown_url


class PachydermError(AirflowException):
    """Root of the provider's errors. URLs in its text are without user, password and query."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*(shown_url(arg) if isinstance(arg, str) else arg for arg in args), **kwargs)


class PachydermNotFoundError(PachydermError):
    """What the call names does not exist on the server."""


class PachydermConflictError(PachydermError):
    """The server's state forbids the call: the name is taken, the commit is finished, another commit is open."""


class PachydermInvalidError(PachydermError):
    """Repeating the call as it is cannot help: its input has to change."""


class PachydermSourceError(PachydermInvalidError):
    """The files to push cannot be listed or read.

    :ivar url: The folder or file that it is about.
    """

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class PachydermAuthError(PachydermError):
    """The connection's token is missing, expired, or not allowed to do this."""


class PachydermUnavailableError(PachydermError):
    """The server did not answer, or not in time."""


class PachydermTimeoutError(PachydermError):
    """A wait reached its deadline. Nothing was stopped: what was waited for goes on."""


class PachydermJobError(PachydermError):
    """A job did not succeed.

    :ivar pipeline: The pipeline whose job failed first.
    :ivar job: Its job id, which is the commit set's id.
    :ivar reason: Pachyderm's reason.
    """

    def __init__(self, message: str, *, pipeline: str, job: str, reason: str) -> None:
        super().__init__(message)
        self.pipeline, self.job, self.reason = pipeline, job, reason
