"""A real gRPC server that answers by script, for what a healthy engine never says: UNAVAILABLE twice, a state of a later release."""

import itertools
from collections.abc import Iterator
from concurrent import futures
from types import TracebackType
from typing import Any, Self

import grpc

import protobuf_compat

protobuf_compat.install()

from google.protobuf import message_factory  # noqa: E402 - must come after install()
from python_pachyderm.proto.v2.pfs import pfs_pb2  # noqa: E402 - as above
from python_pachyderm.proto.v2.pps import pps_pb2  # noqa: E402 - as above
from python_pachyderm.proto.v2.version.versionpb import version_pb2  # noqa: E402 - as above

from airflow_pachyderm.connection import PachydermConnection  # noqa: E402 - as above

Answer = Any
"""A message, a list of messages for a streamed answer, or a (status code, details) pair."""


class ScriptedPachd(grpc.GenericRpcHandler):
    """Answers each method with its script's next entry, and with the last one for ever. Use it as a context manager.

    :ivar calls: ``(method, request)`` of every call, in order; of a streamed request the list of its messages.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._scripts: dict[str, Iterator[Answer]] = {}
        self._methods = {
            f"/{service.full_name}/{method.name}": method
            for module in (pfs_pb2, pps_pb2, version_pb2)
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }
        self._server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self])
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def connection(self) -> PachydermConnection:
        return PachydermConnection(conn_id="scripted", host="127.0.0.1", port=self.port)

    def script(self, method: str, *answers: Answer) -> None:
        self._scripts[method] = itertools.chain(answers, itertools.repeat(answers[-1]))

    def requests(self, method: str) -> list[Any]:
        return [request for name, request in self.calls if name == method]

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = self._methods.get(details.method)
        if method is None or method.name not in self._scripts:
            return None
        parse = message_factory.GetMessageClass(method.input_type).FromString

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append((method.name, list(request) if method.client_streaming else request))
            found = next(self._scripts[method.name])
            if isinstance(found, tuple):
                context.abort(*found)
            return iter(found) if method.server_streaming else found

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[method.client_streaming, method.server_streaming]
        return make(answer, request_deserializer=parse, response_serializer=lambda message: message.SerializeToString())

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop(None).wait()
