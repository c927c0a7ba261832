"""Every RPC of python-pachyderm's protocol is served, or refused by its name; and the table in the docs says which."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import python_pachyderm.proto.v2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from tests.support import Engine
from tests.support_data import REPOSITORY

ROW = re.compile(r"\| `(?P<service>[\w.]+\.(?:API|Debug|Worker))` \| (?P<served>.*?) \| (?P<refused>.*?) \|")
WORKER = "pachyderm.worker.Worker"  # on a port of each worker: tests/minipachd/pps/test_batching.py
SECONDS = 2.0


def services() -> list[ServiceDescriptor]:
    package = python_pachyderm.proto.v2
    modules = [info.name for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.") if info.name.endswith("_pb2")]
    found = [service for name in modules for service in importlib.import_module(name).DESCRIPTOR.services_by_name.values()]
    return sorted(found, key=lambda service: str(service.full_name))


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """By service: the calls that are served, and those that are refused."""
    every = {service.full_name: {method.name for method in service.methods} for service in services()}
    rows = ROW.finditer((REPOSITORY / "docs" / "minipachd.md").read_text())
    return {row["service"]: (names(row["served"], every[row["service"]]), names(row["refused"], every[row["service"]])) for row in rows}


def names(cell: str, every: set[str]) -> set[str]:
    return every if cell == "all" else set(re.findall(r"\w+", cell))


def answer(channel: grpc.Channel, method: MethodDescriptor) -> tuple[grpc.StatusCode, str]:
    """Call a method with an empty request."""
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    shape = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, shape)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    try:
        found: Any = call(iter([request()]) if method.client_streaming else request(), timeout=SECONDS)
        if isinstance(found, Iterator):
            next(found, None)
            found.cancel()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def test_the_table_names_every_call_once() -> None:
    table = documented()
    assert set(table) == {service.full_name for service in services()}
    for service in services():
        served, refused = table[service.full_name]
        assert served | refused == {method.name for method in service.methods}
        assert served & refused == set()


@pytest.mark.parametrize("name", [service.full_name for service in services() if service.full_name != WORKER])
def test_the_server_keeps_to_the_table(shared_engine: Engine, name: str) -> None:
    (service,) = [service for service in services() if service.full_name == name]
    served, refused = documented()[name]
    with grpc.insecure_channel(shared_engine.address) as channel:
        answers = {method.name: answer(channel, method) for method in service.methods}

    assert {name for name, (code, _) in answers.items() if code is grpc.StatusCode.UNIMPLEMENTED} == refused
    silent = {name: text for name, (_, text) in answers.items() if name in refused and name not in text and "not activated" not in text}
    assert silent == {}
    assert [name for name in served if answers[name][0] is grpc.StatusCode.INTERNAL] == []
