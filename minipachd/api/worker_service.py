"""``pachyderm.worker.Worker``: each worker of a batching pipeline has this service on a loopback port of its own."""

import asyncio
import logging
from typing import Any

import grpc.aio
from python_pachyderm.proto.v2.worker import worker_pb2, worker_pb2_grpc

from minipachd.api.errors import AnswerInterceptor
from minipachd.pps.batching import BatchGate

log = logging.getLogger(__name__)

_START_SECONDS = 10.0


class WorkerService(worker_pb2_grpc.WorkerServicer):  # type: ignore[misc] # generated code has no types
    """Hands ``NextDatum`` to a gate. The call stays open until the worker has the next datum, or is done with the program."""

    def __init__(self, gate: BatchGate) -> None:
        self._gate = gate

    async def NextDatum(self, request: Any, context: Any) -> Any:
        env = await asyncio.wrap_future(self._gate.next_datum(request.error))  # cancelled with the program that asked
        return worker_pb2.NextDatumResponse(env=env)


class _Served:
    """One gate's server; the methods run in the workers' threads."""

    def __init__(self, server: Any, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self._server, self.port, self._loop = server, port, loop

    def stop(self) -> None:
        """Refuse further calls. Does not wait: the loop may be the one that waits for us."""
        if not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self._server.stop(grace=None), self._loop)


class WorkerPorts:
    """Serves gates from the event loop of the server.

    :param loop: Runs, in another thread than those that call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, gate: BatchGate) -> _Served:
        """Put a gate on a free loopback port; from a worker's thread."""
        return asyncio.run_coroutine_threadsafe(self._serve(gate), self._loop).result(_START_SECONDS)

    async def _serve(self, gate: BatchGate) -> _Served:
        server = grpc.aio.server(interceptors=[AnswerInterceptor()])
        worker_pb2_grpc.add_WorkerServicer_to_server(WorkerService(gate), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return _Served(server, port, self._loop)
