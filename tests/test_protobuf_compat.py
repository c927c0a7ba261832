"""python-pachyderm's messages beside a current protobuf: every type of every package survives a round trip."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

import protobuf_compat

protobuf_compat.install()

import python_pachyderm  # noqa: E402 - must come after install()

PROTO = Path(python_pachyderm.__file__).parent / "proto"
MODULES = sorted(".".join(("python_pachyderm", *path.relative_to(PROTO.parent).with_suffix("").parts)) for path in PROTO.rglob("*_pb2.py"))
DEPTH = 3
SAMPLES = {
    FieldDescriptor.CPPTYPE_INT32: -7,
    FieldDescriptor.CPPTYPE_INT64: -(1 << 40),
    FieldDescriptor.CPPTYPE_UINT32: 7,
    FieldDescriptor.CPPTYPE_UINT64: 1 << 40,
    FieldDescriptor.CPPTYPE_DOUBLE: 0.25,
    FieldDescriptor.CPPTYPE_FLOAT: 0.5,
    FieldDescriptor.CPPTYPE_BOOL: True,
}


def message_types() -> list[Descriptor]:
    found: list[Descriptor] = []

    def visit(descriptor: Descriptor) -> None:
        found.append(descriptor)
        for nested in descriptor.nested_types:
            visit(nested)

    for name in MODULES:
        for descriptor in import_module(name).DESCRIPTOR.message_types_by_name.values():
            visit(descriptor)
    return [descriptor for descriptor in found if not descriptor.GetOptions().map_entry]


def sample(field: FieldDescriptor, depth: int) -> object:
    if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        return filled(field.message_type, depth - 1)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return field.enum_type.values[-1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return b"\x00\xff" if field.type == FieldDescriptor.TYPE_BYTES else "tusk"
    return SAMPLES[field.cpp_type]


def filled(descriptor: Descriptor, depth: int = DEPTH) -> Message:
    message = message_factory.GetMessageClass(descriptor)()
    if descriptor.full_name.startswith("google.protobuf."):
        return message
    for field in descriptor.fields:
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and depth == 0:
            continue
        target = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields
            if value.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                target[sample(key, depth)].CopyFrom(sample(value, depth))
            else:
                target[sample(key, depth)] = sample(value, depth)
        elif field.is_repeated:
            target.append(sample(field, depth))
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            target.CopyFrom(sample(field, depth))
            target.SetInParent()
        else:
            setattr(message, field.name, sample(field, depth))
    return message


def test_all_packages_of_the_client_are_there() -> None:
    packages = {name.split(".")[3] for name in MODULES}

    assert packages >= {"admin", "auth", "debug", "enterprise", "identity", "license", "pfs", "pps", "transaction", "version", "worker"}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_the_descriptor_of_its_own_source(name: str) -> None:
    module = import_module(name)

    assert module.DESCRIPTOR.name.rpartition("/")[2].removesuffix(".proto") == name.rpartition(".")[2].removesuffix("_pb2")
    for message in module.DESCRIPTOR.message_types_by_name:
        assert getattr(module, message).DESCRIPTOR.name == message


@pytest.mark.parametrize("descriptor", message_types(), ids=lambda descriptor: descriptor.full_name)
def test_every_message_survives_the_wire_and_json(descriptor: Descriptor) -> None:
    message = filled(descriptor)
    again = type(message)()

    again.ParseFromString(message.SerializeToString())

    assert again == message
    if not any(field.full_name.startswith("google.protobuf.Any") for field in descriptor.fields):
        assert json_format.Parse(json_format.MessageToJson(message, always_print_fields_with_no_presence=True), type(message)()) == message


def test_the_fast_runtime_stays_in_use() -> None:
    from google.protobuf.internal import api_implementation

    assert api_implementation.Type() == "upb"


def test_installing_twice_changes_nothing() -> None:
    before = list(sys.meta_path)

    protobuf_compat.install()

    assert sys.meta_path == before


def test_without_it_the_client_does_not_import() -> None:
    """The day this fails, a release of python-pachyderm works by itself and the module can go."""
    done = subprocess.run([sys.executable, "-c", "import python_pachyderm"], capture_output=True, text=True)

    assert "Descriptors cannot be created directly" in done.stderr


def test_a_module_without_a_descriptor_is_refused_by_name(tmp_path: Path) -> None:
    source = tmp_path / "odd_pb2.py"
    source.write_text("import os\n")

    with pytest.raises(
        protobuf_compat.UnreadableProtoModuleError, match=r"odd_pb2\.py holds no serialized_pb literal; install python-pachyderm==7\.6\.0"
    ):
        protobuf_compat._parse(source)
