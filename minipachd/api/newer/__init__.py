"""The protocol since Pachyderm 2.8, as far as it is served and python-pachyderm's messages lack it.

The ``.proto`` files beside this module hold it. They are compiled when the module is loaded (some 50 ms): there is no generated code that
could be missing or out of date. They live in a descriptor pool of their own, since packages and messages have the protocol's names, which
python-pachyderm's messages have in the default pool.
"""

import tempfile
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

_FILES = ("pfs.proto", "pps.proto", "transaction.proto")


def message(name: str) -> Any:
    """The class of a message.

    :param name: With its package, such as ``pps_v2.CreatePipelineV2Request``.
    """
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def parsed(older: Any) -> Any:
    """The newer fields of a message that python-pachyderm's class has parsed; those it knew are unknown fields now."""
    return message(older.DESCRIPTOR.full_name).FromString(older.SerializeToString())


def handlers(service: str, servicer: object) -> grpc.GenericRpcHandler:
    """Serve the newer methods of a service; the servicer has a method of each name.

    :param service: Such as ``pps_v2.API``.
    """
    methods = {}
    for method in _POOL.FindServiceByName(service).methods:
        shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        methods[method.name] = getattr(grpc, f"{shape}_rpc_method_handler")(
            getattr(servicer, method.name),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=_serialize,
        )
    return grpc.method_handlers_generic_handler(service, methods)


def _serialize(answer: Any) -> bytes:
    """Whether its class is of this pool or of the default one does not show on the wire."""
    data: bytes = answer.SerializeToString()
    return data


def _compile() -> descriptor_pool.DescriptorPool:
    with tempfile.TemporaryDirectory(prefix="minipachd-") as folder, resources.as_file(resources.files("grpc_tools") / "_proto") as known:
        out = Path(folder, "newer.pb")
        source = Path(__file__).resolve().parent
        arguments = (f"-I{known}", f"-I{source.parents[2]}", "--include_imports", f"--descriptor_set_out={out}")
        if protoc.main(["protoc", *arguments, *(str(source / name) for name in _FILES)]) != 0:
            msg = f"{source}: the protocol's files do not compile; the compiler's words are on standard error"
            raise ImportError(msg)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    return _pool(files)


def _pool(files: Iterable[Any]) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)
    return pool


_POOL = _compile()
