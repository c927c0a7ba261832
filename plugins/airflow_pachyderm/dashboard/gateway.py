"""Calls to Pachyderm as the page needs them: short deadlines, no retries (the page asks again by itself), only as much as is shown."""

import logging
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import grpc
from airflow.configuration import conf
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.errors import RetryPolicy, translate
from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.connection import DEFAULT_CONN_ID, PachydermConnection
from airflow_pachyderm.dashboard.errors import NotOfferedError
from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.hooks.pachyderm import PachydermHook

log = logging.getLogger(__name__)

TIMEOUT_SECONDS: Final = 5.0
STREAM_TIMEOUT_SECONDS: Final = 15.0
CONNECTION_TTL_SECONDS: Final = 15.0

_NO_RETRY: Final = RetryPolicy(deadline_seconds=0.0)


class Pending:
    """A call under way: start several, then collect them."""

    def __init__(self, gateway: "Gateway", call: Any, action: str) -> None:
        self._gateway, self._call, self._action = gateway, call, action

    def result(self) -> Any:
        """The answer.

        :raises PachydermError: What went wrong.
        """
        try:
            return self._call.result()
        except grpc.RpcError as exc:
            raise self._gateway.error(exc, self._action) from exc


class PendingStream:
    """A stream under way, of which only the first messages are wanted."""

    def __init__(self, gateway: "Gateway", call: Any, action: str) -> None:
        self._gateway, self._call, self._action = gateway, call, action

    def first(self, limit: int) -> list[Any]:
        """Up to ``limit`` messages; the server is told to stop there.

        :raises PachydermError: What went wrong.
        """
        found = []
        for message in self:
            found.append(message)
            if len(found) >= limit:
                break
        self._call.cancel()
        return found

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._call
        except grpc.RpcError as exc:
            raise self._gateway.error(exc, self._action) from exc

    def cancel(self) -> None:
        """Tell the server to stop."""
        self._call.cancel()


class Gateway:
    """One Pachyderm server, as the page's readers see it.

    :param connection: The server. One channel is kept to it.
    """

    def __init__(self, connection: PachydermConnection) -> None:
        self.connection = connection
        self._server = Server(connection, retry=_NO_RETRY)

    @property
    def pfs(self) -> Any:
        """Stubs of the file system service."""
        return self._server.stubs.pfs

    @property
    def pps(self) -> Any:
        """Stubs of the pipeline service."""
        return self._server.stubs.pps

    def ask(self, method: Any, request: Any, *, action: str, timeout: float = TIMEOUT_SECONDS) -> Any:
        """Call and wait for the answer.

        :param action: What is tried, for the log: ``list repos``.
        :raises PachydermError: What went wrong.
        """
        return self.start(method, request, action=action, timeout=timeout).result()

    def start(self, method: Any, request: Any, *, action: str, timeout: float = TIMEOUT_SECONDS) -> Pending:
        """Begin a call; see :meth:`ask`."""
        return Pending(self, method.future(request, timeout=timeout, metadata=self._server.stubs.metadata), action)

    def stream(self, method: Any, request: Any, *, action: str, timeout: float = STREAM_TIMEOUT_SECONDS) -> PendingStream:
        """Begin a call whose answer is a stream."""
        return PendingStream(self, method(request, timeout=timeout, metadata=self._server.stubs.metadata), action)

    def error(self, exc: grpc.RpcError, action: str) -> Exception:
        """The provider's error for a failed call."""
        if exc.code() is grpc.StatusCode.UNIMPLEMENTED:
            return NotOfferedError(f"Cannot {action} at {self.connection}: this server does not offer it")
        return translate(exc, action=action, connection=self.connection)

    # Messages

    def project(self) -> Any:
        """The connection's project."""
        return pfs_pb2.Project(name=self.connection.project)

    def repo(self, name: str) -> Any:
        """A repo for data."""
        return pfs_pb2.Repo(name=name, type="user", project=self.project())

    def branch(self, repo: str, name: str) -> Any:
        """A branch."""
        return pfs_pb2.Branch(repo=self.repo(repo), name=name)

    def commit(self, repo: str, ref: str) -> Any:
        """A commit by its id, or a branch's head by the branch's name: the server tells them apart."""
        return pfs_pb2.Commit(repo=self.repo(repo), branch=self.branch(repo, ""), id=ref)

    def file(self, repo: str, ref: str, path: str) -> Any:
        """A file or directory."""
        return pfs_pb2.File(commit=self.commit(repo, ref), path=path)

    def pipeline(self, name: str) -> Any:
        """A pipeline."""
        return pps_pb2.Pipeline(name=name, project=self.project())

    def job(self, pipeline: str, job: str) -> Any:
        """A job."""
        return pps_pb2.Job(pipeline=self.pipeline(pipeline), id=job)


def connection_id() -> str:
    """The Airflow connection that the page shows: option ``[pachyderm] dashboard_conn_id``, or the provider's default."""
    return str(conf.get("pachyderm", "dashboard_conn_id", fallback=DEFAULT_CONN_ID))


@lru_cache(maxsize=8)
def _gateway_to(connection: PachydermConnection) -> Gateway:
    return Gateway(connection)


class _Connections:
    """Reads a connection again only every few seconds: it lies in Airflow's database, or in a secrets manager that charges by the call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, PachydermConnection]] = {}

    def get(self, conn_id: str) -> PachydermConnection:
        with self._lock:
            read_at, connection = self._known.get(conn_id, (float("-inf"), None))
        if connection is not None and time.monotonic() - read_at < CONNECTION_TTL_SECONDS:
            return connection
        try:
            connection = PachydermHook(conn_id).connection
        except AirflowNotFoundException as exc:
            raise PachydermInvalidError(f"There is no Airflow connection {conn_id}: add one of type pachyderm") from exc
        with self._lock:
            self._known[conn_id] = (time.monotonic(), connection)
        return connection


_connections = _Connections()


def get_gateway() -> Gateway:
    """The server of the page's connection; a FastAPI dependency.

    :raises PachydermInvalidError: The connection is missing or cannot be used.
    """
    return _gateway_to(_connections.get(connection_id()))
