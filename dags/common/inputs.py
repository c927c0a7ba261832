"""What a person gave is wrong: the task fails at once, since trying again cannot help."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from airflow.sdk.exceptions import AirflowFailException

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError

# Behind an error about a source: the path is wrong, nobody may read it, or no package knows its scheme. Anything else may pass by itself.
_FINAL: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ImportError, ValueError)


@contextmanager
def without_retries() -> Iterator[None]:
    """Turn errors about a form, a setting or a file's content into Airflow's final failure.

    A source that is away for a moment, such as a bucket that does not answer, is tried again. One that is not there is not.

    :raises AirflowFailException: With the same message.
    """
    try:
        yield
    except PachydermInvalidError as exc:
        if isinstance(exc, PachydermSourceError) and exc.__cause__ is not None and not isinstance(exc.__cause__, _FINAL):
            raise
        raise AirflowFailException(str(exc)) from exc
