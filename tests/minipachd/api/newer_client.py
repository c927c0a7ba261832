"""A client of the calls since Pachyderm 2.8, which python-pachyderm does not have."""

from typing import Any

import grpc

from minipachd.api import newer
from tests.support import Engine


class NewerClient:
    """Calls by name, requests and answers as messages of the protocol's newer files."""

    def __init__(self, engine: Engine) -> None:
        self._channel = grpc.insecure_channel(engine.address)

    def __call__(self, method: str, *, transaction: str = "", stream: bool = False, **fields: Any) -> Any:
        """Such as ``pps_v2.API/RerunPipeline``; the request has the method's name. A streamed answer is a list.

        :param transaction: Append the call to this one.
        """
        package, name = method.split(".", maxsplit=1)[0], method.rpartition("/")[2]
        request = newer.message(f"{package}.{name}Request")(**fields)
        answer = newer.message(f"{package}.{name}Response") if name != "RerunPipeline" else newer.message("google.protobuf.Empty")
        shape = self._channel.unary_stream if stream else self._channel.unary_unary
        call = shape(f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString)
        answers = call(request, metadata=[("pach-transaction", transaction)] if transaction else None)
        return list(answers) if stream else answers

    def raw(self, method: str, request: Any, answer: Any) -> Any:
        """An older call with messages of one's own."""
        call = self._channel.unary_unary(
            f"/{method}", request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
        )
        return call(request)

    def close(self) -> None:
        self._channel.close()
