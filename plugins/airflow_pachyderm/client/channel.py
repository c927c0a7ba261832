"""Channels to a server, for threads and for an event loop, with the same options."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import grpc
import grpc.aio

from airflow_pachyderm.client.errors import RetryPolicy
from airflow_pachyderm.client.protocol import health_pb2_grpc, pfs_pb2_grpc, pps_pb2_grpc, version_pb2_grpc
from airflow_pachyderm.connection import PachydermConnection

UNARY_TIMEOUT_SECONDS: Final = 30.0
LIST_TIMEOUT_SECONDS: Final = 600.0  # a repo's whole history, or a large directory

_MAX_MESSAGE_BYTES: Final = 64 << 20  # Pachyderm's own limit is 20 MiB
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A peer that vanished without a FIN is noticed within a minute, also while a stream carries nothing.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # gRPC would pause up to two minutes between two tries to reach a server that was away.
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class Stubs:
    """The services that the provider calls, on one channel."""

    def __init__(self, channel: grpc.Channel, connection: PachydermConnection) -> None:
        self.pfs: Any = pfs_pb2_grpc.APIStub(channel)
        self.pps: Any = pps_pb2_grpc.APIStub(channel)
        self.version: Any = version_pb2_grpc.APIStub(channel)
        self.health: Any = health_pb2_grpc.HealthStub(channel)
        self.metadata = (("authn-token", connection.token),) if connection.token else ()


class Server:
    """One Pachyderm server as the threads of a process see it. The channel opens with the first call."""

    def __init__(self, connection: PachydermConnection, *, retry: RetryPolicy | None = None) -> None:
        self.connection = connection
        self.retry = retry or RetryPolicy()

    @cached_property
    def _channel(self) -> grpc.Channel:
        options = channel_options(self.connection)
        if self.connection.tls:
            return grpc.secure_channel(self.connection.address, _credentials(self.connection), options=options)
        return grpc.insecure_channel(self.connection.address, options=options)

    @cached_property
    def stubs(self) -> Stubs:
        """The services."""
        return Stubs(self._channel, self.connection)

    def close(self) -> None:
        """Close the channel; calls under way end as cancelled. A later call opens a new one."""
        if "_channel" in self.__dict__:
            self._channel.close()
            self.__dict__.pop("stubs", None)
            del self.__dict__["_channel"]


class Client:
    """Base of the clients: whom they call, and how. All names are of the connection's project.

    :param server: The server to call.
    """

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def connection(self) -> PachydermConnection:
        """Where the server is."""
        return self.server.connection

    @property
    def retry(self) -> RetryPolicy:
        """How long transient errors are retried."""
        return self.server.retry

    def _call(self, method: Any, request: Any, *, timeout: float = UNARY_TIMEOUT_SECONDS) -> Any:
        return method(request, timeout=timeout, metadata=self.server.stubs.metadata)


def channel_options(connection: PachydermConnection) -> list[tuple[str, int]]:
    """Options of every channel to the server."""
    # gRPC sends even loopback traffic through the environment's HTTP proxy unless it is told otherwise.
    return [*_OPTIONS, ("grpc.enable_http_proxy", 0)] if _is_loopback(connection.host) else list(_OPTIONS)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials(connection: PachydermConnection) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(root_certificates=connection.ca_pem.encode() if connection.ca_pem else None)


@dataclass
class _Shared:
    channel: grpc.aio.Channel
    stubs: Stubs
    users: int = 0


# By event loop too: a channel of grpc.aio belongs to the loop that made it.
_shared: dict[tuple[asyncio.AbstractEventLoop, PachydermConnection], _Shared] = {}


@contextlib.asynccontextmanager
async def shared_stubs(connection: PachydermConnection) -> AsyncIterator[Stubs]:
    """The services on the running loop's one channel to the server, so that a thousand waiting triggers hold one TCP connection.

    The last user closes it.
    """
    key = (asyncio.get_running_loop(), connection)
    if key not in _shared:
        options = channel_options(connection)
        channel = (
            grpc.aio.secure_channel(connection.address, _credentials(connection), options=options)
            if connection.tls
            else grpc.aio.insecure_channel(connection.address, options=options)
        )
        _shared[key] = _Shared(channel, Stubs(channel, connection))
    shared = _shared[key]
    shared.users += 1
    try:
        yield shared.stubs
    finally:
        shared.users -= 1
        if not shared.users:
            del _shared[key]
            await shared.channel.close()
