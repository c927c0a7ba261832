"""Reading, writing and describing dataclasses as JSON, by their annotations alone.

Annotations may be ``str``, ``int``, ``float``, ``tuple[X, ...]``, ``Mapping[str, X]``, ``X | None`` and other such dataclasses. A field's
metadata may hold ``pattern`` (of a whole string), ``minimum`` and ``maximum``: they are checked and stand in the schema. A field with a
default need not be there. Fields that are not known are left alone, so that a later version may add some.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_NAMES = {str: "string", int: "integer", float: "number"}


class ShapeError(ValueError):
    """A value is not what it should be; the message has its JSON path, what was found and what is allowed."""


_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _optional(hint: Any) -> tuple[Any, bool]:
    """The type behind ``X | None``, and whether there is a None."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        return inner, True
    return hint, False


def read(cls: type[T], value: object, *, path: str = "$") -> T:
    """Make a dataclass of a JSON value.

    :raises ShapeError: It lacks a field, or one is wrong.
    """
    if not isinstance(value, dict):
        raise ShapeError(f"{path}: {_found(value)}, not an object")
    hints = _hints(cls)
    given: dict[str, Any] = {}
    for field in fields(cls):  # type: ignore[arg-type] # mypy has no type for "some dataclass"
        if field.name in value:
            given[field.name] = _read_value(hints[field.name], value[field.name], f"{path}.{field.name}", field.metadata)
        elif _is_required(field):
            raise ShapeError(f"{path}.{field.name}: missing")
    return cls(**given)


def _read_value(hint: Any, value: Any, path: str, limits: Mapping[str, Any]) -> Any:
    kind, nullable = _optional(hint)
    if value is None and nullable:
        return None
    origin = typing.get_origin(kind)
    if is_dataclass(kind):
        return read(typing.cast("type[Any]", kind), value, path=path)
    if origin is tuple:
        if not isinstance(value, list):
            raise ShapeError(f"{path}: {_found(value)}, not an array")
        return tuple(_read_value(typing.get_args(kind)[0], item, f"{path}[{number}]", limits) for number, item in enumerate(value))
    if origin is not None:
        if not isinstance(value, dict):
            raise ShapeError(f"{path}: {_found(value)}, not an object")
        return {key: _read_value(typing.get_args(kind)[1], item, f"{path}.{key}", limits) for key, item in value.items()}
    return _read_plain(kind, value, path, limits)


def _read_plain(kind: Any, value: Any, path: str, limits: Mapping[str, Any]) -> Any:
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise ShapeError(f"{path}: {_found(value)}, not a JSON {_NAMES[kind]}")
    if isinstance(value, str) and "pattern" in limits and re.fullmatch(limits["pattern"], value) is None:
        raise ShapeError(f"{path}: {_found(value)}, which does not match {limits['pattern']}")
    if "minimum" in limits and not limits["minimum"] <= value <= limits.get("maximum", value):
        raise ShapeError(f"{path}: {_found(value)}, not from {limits['minimum']} to {limits.get('maximum', 'any')}")
    return value


def _found(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def write(value: Any) -> Any:
    """Return a dataclass as a JSON value, its fields in the order of the class."""
    if is_dataclass(value):
        return {field.name: write(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [write(item) for item in value]
    if isinstance(value, Mapping):
        return {key: write(item) for key, item in value.items()}
    return value


def schema(cls: type) -> dict[str, Any]:
    """Return the JSON schema of a dataclass."""
    hints = _hints(cls)
    listed = fields(cls)
    return {
        "type": "object",
        "required": [field.name for field in listed if _is_required(field)],
        "properties": {field.name: _schema_of(hints[field.name], field.metadata) for field in listed},
    }


def _schema_of(hint: Any, limits: Mapping[str, Any]) -> dict[str, Any]:
    kind, nullable = _optional(hint)
    origin = typing.get_origin(kind)
    if is_dataclass(kind):
        found = schema(typing.cast("type[Any]", kind))
    elif origin is tuple:
        found = {"type": "array", "items": _schema_of(typing.get_args(kind)[0], limits)}
    elif origin is not None:
        found = {"type": "object", "additionalProperties": _schema_of(typing.get_args(kind)[1], limits)}
    else:
        found = {"type": _NAMES[kind], **limits}
        if "pattern" in found:
            found["pattern"] = f"^(?:{found['pattern']})$"
    return {"anyOf": [found, {"type": "null"}]} if nullable else found
