"""gRPC errors become the provider's, and transient ones are retried: each in one place."""

import functools
import inspect
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import grpc

from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import (
    PachydermAuthError,
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermUnavailableError,
)

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")

_TRANSIENT: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED})
# Said without a code of its own: of an open commit whose parent the server is still putting together; and, by a busy 2.12 server, of a
# transaction that its database took back, so that nothing of the call is there.
_PASSING: Final = re.compile(r"base commit .* unfinished|commit unexpectedly resulted in rollback|current transaction is aborted")

_BY_CODE: Final[dict[Any, type[PachydermError]]] = {
    grpc.StatusCode.NOT_FOUND: PachydermNotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: PachydermConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: PachydermConflictError,
    grpc.StatusCode.ABORTED: PachydermConflictError,
    grpc.StatusCode.INVALID_ARGUMENT: PachydermInvalidError,
    grpc.StatusCode.OUT_OF_RANGE: PachydermInvalidError,
    grpc.StatusCode.UNAUTHENTICATED: PachydermAuthError,
    grpc.StatusCode.PERMISSION_DENIED: PachydermAuthError,
    grpc.StatusCode.UNAVAILABLE: PachydermUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: PachydermUnavailableError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: PachydermUnavailableError,
}

# Pachyderm gives most of its own checks the code UNKNOWN: only the text tells them apart.
_BY_TEXT: Final[tuple[tuple[re.Pattern[str], type[PachydermError]], ...]] = (
    (
        re.compile(
            r"has already finished|has not been finished|already exists|already has a commit|cannot (be dropped|drop|squash)|output branch"
        ),
        PachydermConflictError,
    ),
    (re.compile(r"not found|no commits found|was deleted"), PachydermNotFoundError),
    (
        re.compile(r"invalid|must |cannot |doesn't have |malformed|unsupported|not supported|more than once|multiple "),
        PachydermInvalidError,
    ),
)


@dataclass(frozen=True)
class RetryPolicy:
    """How long a call that meets transient errors is repeated.

    :ivar deadline_seconds: From the first failure to the last try's start; a first try may take as long as it needs.
    :ivar first_pause_seconds: Pause after the first try. Each later one is twice as long, up to ``max_pause_seconds``.
    """

    deadline_seconds: float = 60.0
    first_pause_seconds: float = 0.2
    max_pause_seconds: float = 5.0

    def pause(self, tries: int) -> float:
        """Seconds to wait after the given number of tries; jitter keeps mapped tasks from coming back together."""
        pause = min(self.first_pause_seconds * 2.0 ** (tries - 1), self.max_pause_seconds)
        return pause * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load, guards nothing


def is_transient(exc: grpc.RpcError) -> bool:
    """Whether the same call may succeed in a moment."""
    return exc.code() in _TRANSIENT or (exc.code() is grpc.StatusCode.UNKNOWN and bool(_PASSING.search(exc.details() or "")))


def translate(exc: grpc.RpcError, *, action: str, connection: PachydermConnection) -> PachydermError:
    """The provider's error for a gRPC error.

    :param action: What was tried, for the message: ``create repo images``.
    """
    code, details = exc.code(), exc.details() or ""
    kind = _BY_CODE.get(code)
    if kind is None and code is grpc.StatusCode.UNKNOWN:
        kind = next((kind for pattern, kind in _BY_TEXT if pattern.search(details)), None)
    return (kind or PachydermError)(f"Cannot {action} at {connection}: {_explain(code, details, connection)}")


def _explain(code: grpc.StatusCode, details: str, connection: PachydermConnection) -> str:
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return f"no server answers ({details}); start it, or correct host, port and TLS of connection {connection.conn_id}"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return f"{details}; put a valid auth token into connection {connection.conn_id}"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"this server does not offer it ({details})"
    return details or f"gRPC status {code.name}"


def remote(action: str) -> Callable[[Callable[Concatenate[Any, _P], _R]], Callable[Concatenate[Any, _P], _R]]:
    """Make a method a remote call: transient errors are retried within the policy, the last error is raised as the provider's.

    The object has a ``connection`` and a ``retry`` policy.

    A decorated method may run several times, so it must be safe to repeat, or notice that an earlier try went through.

    :param action: For messages, with the method's parameters in braces: ``create repo {repo}``.
    """

    def decorate(method: Callable[Concatenate[Any, _P], _R]) -> Callable[Concatenate[Any, _P], _R]:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(self: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            give_up, tries = 0.0, 0
            while True:
                tries += 1
                try:
                    return method(self, *args, **kwargs)
                except grpc.RpcError as exc:
                    pause = self.retry.pause(tries)
                    give_up = give_up or time.monotonic() + self.retry.deadline_seconds
                    bound = signature.bind(self, *args, **kwargs)
                    bound.apply_defaults()
                    told = action.format(**bound.arguments)
                    if not is_transient(exc) or time.monotonic() + pause > give_up:
                        raise translate(exc, action=told, connection=self.connection) from exc
                    log.warning("Cannot %s yet (%s); try %d follows in %.1f s", told, exc.details(), tries + 1, pause)
                    time.sleep(pause)

        return call

    return decorate
