"""One process, one port: the engine and every service over it."""

import asyncio
import ipaddress
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from python_pachyderm.proto.v2.admin import admin_pb2_grpc
from python_pachyderm.proto.v2.auth import auth_pb2_grpc
from python_pachyderm.proto.v2.enterprise import enterprise_pb2_grpc
from python_pachyderm.proto.v2.identity import identity_pb2_grpc
from python_pachyderm.proto.v2.license import license_pb2_grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2_grpc
from python_pachyderm.proto.v2.pps import pps_pb2_grpc
from python_pachyderm.proto.v2.transaction import transaction_pb2_grpc
from python_pachyderm.proto.v2.version.versionpb import version_pb2_grpc

from minipachd.api import newer
from minipachd.api.admin_service import (
    AdminService,
    AuthService,
    EnterpriseService,
    IdentityService,
    LicenseService,
    VersionService,
    empty,
)
from minipachd.api.auth import AuthInterceptor
from minipachd.api.dialect import DEFAULT, Dialect
from minipachd.api.errors import AnswerInterceptor
from minipachd.api.metrics import Metrics
from minipachd.api.pfs_service import PfsService
from minipachd.api.pps_service import PpsService
from minipachd.api.transactions import Transactions, TransactionService
from minipachd.api.upkeep_service import UpkeepService
from minipachd.api.worker_service import WorkerPorts
from minipachd.errors import DataDirError
from minipachd.pfs import Pfs, daemons
from minipachd.pfs.clock import trigger_clock
from minipachd.pps import Pps
from minipachd.pps.containers import Runtime
from minipachd.pps.environment import ServerAddress
from minipachd.settings import Settings
from minipachd.storage import DataDirectory
from minipachd.storage.token import keep_token

log = logging.getLogger(__name__)

DEFAULT_SETTINGS = Settings()

_MESSAGE_BYTES = 20 << 20  # the protocol's limit, both ways
_THREADS = 32
_GRACE_SECONDS, _EXIT_SECONDS = 0.5, 8.0
_OPTIONS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server behind it
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


@dataclass(frozen=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """:raises ValueError: It is not ``host:port``."""
        host, separator, port = text.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            msg = f"{text!r} is not host:port"
            raise ValueError(msg)
        return cls(host.strip("[]"), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def reachable(self) -> "Address":
        """What this machine connects to."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104 - looked for, not bound

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def serve(
    directory: DataDirectory,
    address: Address,
    *,
    ready: Callable[[Address], None],
    runtime: Runtime = Runtime.PROCESS,
    keep_free: int | None = None,
    metrics: Address | None = None,
    dialect: Dialect = DEFAULT,
    settings: Settings = DEFAULT_SETTINGS,
    token_file: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then end user processes, answer no more and return. What does not end in time is left to the system:
    the process exits, which costs no more than a SIGKILL would.

    :param ready: Called once with the address that is served.
    :param runtime: Where user code runs.
    :param keep_free: Bytes of the disk that user code is not to have; None for a sensible number.
    :param metrics: Where Prometheus may ask; None for nowhere.
    :param dialect: The release of Pachyderm that answers as this one does.
    :param settings: Limits of what callers may ask for.
    :param token_file: Holds what callers must show, and is made where there is none; None lets everybody in who connects.
    :raises EngineUnavailableError: It is to run in images, and there is no Docker engine for that.
    :raises DataDirError: The database is of a newer version or damaged, or the port is taken, or the token cannot be read.
    """
    token = None if token_file is None else keep_token(token_file)
    if token is None:
        log.warning("authentication is off: whoever reaches %s, every user of this machine for one, runs programs as this user", address)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc"))
    stopped = asyncio.Event()

    def stop(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stopped.set)
        _exit_in_time()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)  # not the loop's own way, which waits for the loop
    pfs = await asyncio.to_thread(partial(Pfs, directory, settings=settings))
    try:
        pps = Pps(pfs, directory, serve_gate=WorkerPorts(loop), runtime=runtime, keep_free=keep_free, max_datums=settings.max_datums)
        clock = trigger_clock(pfs)
        upkeep = UpkeepService(pfs)
        observed = None if metrics is None else Metrics()
        gate = None if token is None or token_file is None else AuthInterceptor(token, token_file)
        server = _server(pfs, pps, upkeep, observed, gate, dialect)
        stop_metrics = None
        if metrics is not None and observed is not None:
            stop_metrics = observed.serve(metrics.host, metrics.port, directory=directory, database=pfs.database)
        bound = Address(address.host, _listen(server, address))
        await server.start()
        try:
            await asyncio.to_thread(pps.start, ServerAddress(bound.host, bound.port, token))
            clock.start()
            log.info("serving %s on %s", directory.root, bound)
            directory.publish(str(bound.reachable))
            ready(bound)
            await stopped.wait()
            log.info("stopping")
        finally:
            upkeep.stop()
            for end in (stop_metrics, clock.stop, pps.stop):
                if end is not None:  # in threads of their own: those that answer calls may all be busy
                    await asyncio.wrap_future(daemons.start(end, name="stop"))
            await server.stop(_GRACE_SECONDS)
    finally:
        await loop.shutdown_default_executor()
        pfs.close()


def _exit_in_time() -> None:
    """End the process when it takes longer than users and service managers wait. Whatever is stored is safe at any moment."""

    def watch() -> None:
        time.sleep(_EXIT_SECONDS)
        names = sorted({thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()})
        log.warning(
            "not everything ended in %g s, exiting all the same; still busy: %s", _EXIT_SECONDS, ", ".join(names) or "the main thread"
        )
        logging.shutdown()
        os._exit(0)

    threading.Thread(target=watch, name="exit", daemon=True).start()


def _server(pfs: Pfs, pps: Pps, upkeep: UpkeepService, metrics: Metrics | None, gate: AuthInterceptor | None, dialect: Dialect) -> Any:
    interceptors = [one for one in (gate, metrics, AnswerInterceptor(dialect)) if one is not None]
    server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS)
    transactions = Transactions(pfs)
    files, pipelines = PfsService(pfs, transactions, dialect), PpsService(pps, transactions)
    pfs_pb2_grpc.add_APIServicer_to_server(files, server)
    pps_pb2_grpc.add_APIServicer_to_server(pipelines, server)
    server.add_generic_rpc_handlers((newer.handlers("pfs_v2.API", files), newer.handlers("pps_v2.API", pipelines), upkeep.handlers()))
    transaction_pb2_grpc.add_APIServicer_to_server(TransactionService(transactions, empty), server)
    version_pb2_grpc.add_APIServicer_to_server(VersionService(dialect), server)
    admin_pb2_grpc.add_APIServicer_to_server(AdminService(pfs), server)
    auth_pb2_grpc.add_APIServicer_to_server(AuthService(), server)
    identity_pb2_grpc.add_APIServicer_to_server(IdentityService(), server)
    license_pb2_grpc.add_APIServicer_to_server(LicenseService(), server)
    enterprise_pb2_grpc.add_APIServicer_to_server(EnterpriseService(), server)
    health = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return server


def _listen(server: Any, address: Address) -> int:
    try:
        port = int(server.add_insecure_port(str(address)))
    except RuntimeError as exc:
        raise DataDirError(f"cannot listen on {address}: {exc}; give another address with --listen") from exc
    if port == 0:
        raise DataDirError(f"cannot listen on {address}: the port is taken; give another one with --listen, or port 0 for any")
    return port
