"""The one call of Pachyderm's worker service that a batching program needs: ``NextDatum``.

The two messages are described here and not imported from a Pachyderm client, so that a stage image carries grpcio alone. They live in a
descriptor pool of their own: a program that also loads a client meets no duplicate.
"""

from __future__ import annotations

from typing import Any

from stages.common.errors import WorkerProtocolError

_METHOD = "/pachyderm.worker.Worker/NextDatum"


class NextDatumClient:
    """Asks the worker on this machine for one datum after the other.

    :param port: The worker's gRPC port on localhost (``PPS_WORKER_GRPC_PORT``).
    """

    def __init__(self, port: int) -> None:
        import grpc

        request, response = _message_classes()
        self._request = request
        # A proxy from the environment must not come between two processes of one machine.
        self._channel = grpc.insecure_channel(f"localhost:{port}", options=[("grpc.enable_http_proxy", 0)])
        self._call = self._channel.unary_unary(
            _METHOD, request_serializer=request.SerializeToString, response_deserializer=response.FromString
        )

    def next(self, *, error: str) -> dict[str, str] | None:
        """Close the previous datum and block until the next is ready.

        :param error: Why the previous datum failed, empty when it did not.
        :return: The datum's environment, or None when the worker is gone.
        :raises WorkerProtocolError: The worker refuses the call.
        """
        import grpc

        try:
            # No deadline: the next datum may be days away. The worker listens before it starts us: not to reach it means that it is gone.
            response = self._call(self._request(error=error))
        except grpc.RpcError as exc:
            if exc.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                return None
            raise WorkerProtocolError(
                f"NextDatum: {exc.code().name}: {exc.details()}; does the pipeline spec say transform.datum_batching: true?"
            ) from exc
        return dict(entry.partition("=")[::2] for entry in response.env)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _message_classes() -> tuple[Any, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="tuskwatch/next_datum.proto", package="pachyderm.worker", syntax="proto3")
    for name, field, label in (("NextDatumRequest", "error", "LABEL_OPTIONAL"), ("NextDatumResponse", "env", "LABEL_REPEATED")):
        file.message_type.add(name=name).field.add(name=field, number=1, type="TYPE_STRING", label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return (
        message_factory.GetMessageClass(find("pachyderm.worker.NextDatumRequest")),
        message_factory.GetMessageClass(find("pachyderm.worker.NextDatumResponse")),
    )
