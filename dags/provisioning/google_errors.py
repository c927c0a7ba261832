"""Google's errors, HTTP and gRPC, in this package's terms: what may pass by itself, and what a person has to change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import requests
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage.retry import DEFAULT_RETRY

from dags.provisioning.errors import StepFailedError, TransientError

# For the storage client's calls: its own default retries for two minutes, in which a worker slot is held.
CALL: Final[dict[str, Any]] = {"timeout": 20, "retry": DEFAULT_RETRY.with_timeout(30)}

_TRANSIENT = (
    exceptions.TooManyRequests,  # its subclass ResourceExhausted too: a request rate, or a quota that may be freed
    exceptions.ServerError,  # 5xx; UNAVAILABLE, DEADLINE_EXCEEDED and INTERNAL over gRPC
    exceptions.Aborted,  # a kind of Conflict, so that it has to be caught before it
    exceptions.RetryError,
    requests.ConnectionError,
    requests.Timeout,
    TransportError,
)


@contextmanager
def translated(doing: str, *, permission: str) -> Iterator[None]:
    """Turn the errors of one call to Google into ours; ``NotFound``, ``Conflict`` and ``FailedPrecondition`` pass: callers decide.

    :param doing: What was tried, to follow "Cannot": ``create cluster pach``.
    :param permission: The role to ask for when it is refused.
    :raises TransientError: The call may succeed later.
    :raises StepFailedError: It will not.
    """
    try:
        yield
    except _TRANSIENT as exc:
        raise TransientError(f"Cannot {doing} now: {_text(exc)}") from exc
    except (exceptions.NotFound, exceptions.Conflict, exceptions.FailedPrecondition):
        raise
    except (exceptions.Forbidden, exceptions.Unauthorized) as exc:
        raise StepFailedError(f"Cannot {doing}: {_text(exc)}. Give the Google connection's account {permission}") from exc
    except exceptions.GoogleAPICallError as exc:
        raise StepFailedError(f"Cannot {doing}: {_text(exc)}") from exc
    except GoogleAuthError as exc:
        raise StepFailedError(f"Cannot {doing}: the Google connection's credentials do not work: {exc}") from exc


def _text(exc: Exception) -> str:
    return str(getattr(exc, "message", "") or exc)
