"""Make python-pachyderm 7.6.0 importable beside protobuf 4 and later.

Its generated ``*_pb2.py`` modules were made by a protoc older than 3.19: they call constructors of descriptors that protobuf refuses
since version 4 ("Descriptors cannot be created directly"). Everything that they say also stands in one literal of their source, the
serialized ``FileDescriptorProto``. :func:`install` puts a finder in front of ``sys.meta_path`` that, for those modules alone, runs their
imports, hands that literal to the default descriptor pool and has ``google.protobuf.internal.builder`` build the messages, as current
generated code does. The fast upb runtime stays in use for every protobuf user of the process.

Call :func:`install` before the first ``import python_pachyderm``; it is idempotent.
"""

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

_PREFIX = "python_pachyderm.proto."
_SUFFIX = "_pb2"


class UnreadableProtoModuleError(ImportError):
    """A generated module of python-pachyderm does not look as protoc wrote it: the installed release is not the one that we support."""


def install() -> None:
    """Serve python-pachyderm's generated modules from now on. Repeating the call changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds ``python_pachyderm.proto.**.*_pb2`` and leaves all else to the finders behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not (fullname.startswith(_PREFIX) and fullname.endswith(_SUFFIX)):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(Path(spec.origin)), origin=spec.origin)


class _Loader(importlib.abc.Loader):
    def __init__(self, source: Path) -> None:
        self._source = source

    def exec_module(self, module: ModuleType) -> None:
        from google.protobuf import descriptor_pool
        from google.protobuf.internal import builder

        imports, serialized = _parse(self._source)
        names = vars(module)
        # The dependencies must be in the pool first, and old generated code reaches their messages through these names.
        exec(compile(imports, str(self._source), "exec"), names)  # noqa: S102 - the import statements of an installed package
        names["DESCRIPTOR"] = descriptor = descriptor_pool.Default().AddSerializedFile(serialized)
        builder.BuildMessageAndEnumDescriptors(descriptor, names)
        builder.BuildTopDescriptorsAndMessages(descriptor, module.__name__, names)


def _parse(source: Path) -> tuple[ast.Module, bytes]:
    """The import statements of a generated module, and its serialized file descriptor.

    :raises UnreadableProtoModuleError: There is no such descriptor.
    """
    tree = ast.parse(source.read_bytes(), filename=str(source))
    imports = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], type_ignores=[])
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb" and isinstance(node.value, ast.Constant):
            value = node.value.value
            if isinstance(value, bytes):
                return imports, value
    msg = f"{source} holds no serialized_pb literal; install python-pachyderm==7.6.0"
    raise UnreadableProtoModuleError(msg)
