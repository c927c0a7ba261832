"""Datum batching: the hand-over between a user program that asks for its next datum and the worker that has one."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from minipachd.errors import InvalidError


class BatchingDisabledError(InvalidError):
    """NextDatum was called where no batch is active."""

    def __init__(self) -> None:
        super().__init__("datum batching not enabled")


@dataclass(frozen=True, slots=True)
class NextDatumCall:
    """A program waits for its next datum.

    :ivar error: Why the previous one failed, in the program's words; empty when it did not.
    :ivar answer: Takes the environment of the next datum, as ``KEY=VALUE``.
    """

    error: str
    answer: Future[list[str]]


class BatchGate:
    """One worker's side of the ``NextDatum`` RPC. A program has at most one call open; a newer one replaces it.

    :param on_call: Wakes the worker; called from the RPC's thread.
    """

    def __init__(self, on_call: Callable[[], None]) -> None:
        self._on_call = on_call
        self._lock = threading.Lock()
        self._active = False
        self._call: NextDatumCall | None = None

    def next_datum(self, error: str) -> Future[list[str]]:
        """The RPC.

        :raises BatchingDisabledError: No program of a batching pipeline runs here.
        """
        call = NextDatumCall(error, Future())
        with self._lock:
            if not self._active:
                raise BatchingDisabledError
            previous, self._call = self._call, call
        if previous is not None:
            previous.answer.cancel()
        self._on_call()
        return call.answer

    def open(self) -> None:
        """Accept calls: a program has been started."""
        with self._lock:
            self._active = True

    def close(self) -> None:
        """Refuse calls and drop the open one: its program is gone."""
        with self._lock:
            self._active = False
            call, self._call = self._call, None
        if call is not None:
            call.answer.cancel()

    def take(self) -> NextDatumCall | None:
        """The call that has come in, once."""
        with self._lock:
            call, self._call = self._call, None
            return call


class WorkerServer(Protocol):
    """Serves one gate on a port of its own."""

    @property
    def port(self) -> int: ...

    def stop(self) -> None: ...


ServeGate = Callable[[BatchGate], WorkerServer]
"""How the api layer puts a gate on the network."""
