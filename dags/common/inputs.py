"""What a person gave is wrong: the task fails at once, since trying again cannot help."""

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError


@contextmanager
def without_retries() -> Iterator[None]:
    """Turn errors about a form, a setting or a file's content into Airflow's final failure.

    A source that cannot be read is tried again: it may be away for a moment.

    :raises AirflowFailException: With the same message.
    """
    try:
        yield
    except PachydermSourceError:
        raise
    except PachydermInvalidError as exc:
        raise AirflowFailException(str(exc)) from exc
