"""Looking at a server again and again until something is so: the loop behind every wait of triggers, sensors and operators."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import grpc

from airflow_pachyderm.client.channel import Stubs, shared_stubs
from airflow_pachyderm.client.errors import is_transient, translate
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermError
from airflow_pachyderm.logs import Log
from airflow_pachyderm.outcome import WaitEnd

FIRST_POLL_SECONDS: Final = 0.25
UNAVAILABLE_SECONDS: Final = 600.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class Found(Generic[_T]):
    """How a wait ended.

    :ivar value: What was looked for, if ``end`` is ``FINISHED``.
    :ivar message: Details where ``end`` is neither ``FINISHED`` nor ``TIMEOUT``.
    """

    end: WaitEnd
    value: _T | None = None
    message: str = ""


async def poll(
    connection: PachydermConnection,
    look: Callable[[Stubs], Awaitable[_T | None]],
    *,
    action: str,
    deadline: float,
    poll_interval: float,
    log: Log,
    now: Callable[[], float] = time.time,
) -> Found[_T]:
    """Return when ``look`` finds something, or at the deadline.

    The server may be away for up to ten minutes.

    :param look: Asks the server once; None when there is nothing yet. An error other than a transient one ends the wait.
    :param action: What is waited for, for messages: ``watch commit set …``.
    :param deadline: Seconds since the Unix epoch; wall clock, since the value travels between processes.
    :param poll_interval: Seconds between two looks; the first ones follow each other faster, so that what is quick is not waited for long.
    """
    away_since, away = 0.0, ""
    pause = min(FIRST_POLL_SECONDS, poll_interval)
    async with shared_stubs(connection) as stubs:
        while True:
            try:
                value = await look(stubs)
            except PachydermError as exc:
                return Found(WaitEnd.ERROR, message=str(exc))
            except grpc.RpcError as exc:
                error = translate(exc, action=action, connection=connection)
                if not is_transient(exc) and exc.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    return Found(WaitEnd.ERROR, message=str(error))
                if not away_since:
                    away_since = now()
                    log.warning("%s; waiting for it to come back", error)
                away = str(error)
                if now() - away_since > UNAVAILABLE_SECONDS:
                    return Found(WaitEnd.UNAVAILABLE, message=away)
            else:
                if away_since:
                    log.info("The server at %s answers again after %.0f s", connection, now() - away_since)
                    away_since = 0.0
                if value is not None:
                    return Found(WaitEnd.FINISHED, value)
            if now() >= deadline:  # what nobody could look at is not the cause
                return Found(WaitEnd.UNAVAILABLE, message=away) if away_since else Found(WaitEnd.TIMEOUT)
            await asyncio.sleep(max(0.0, min(pause, deadline - now())))
            pause = min(pause * 2, poll_interval)
