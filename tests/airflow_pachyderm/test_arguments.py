"""Every argument of every operator and sensor: a value that can never have an effect is refused when the DAG is parsed, or by the task."""

import inspect
import math
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest

from airflow_pachyderm import operators, sensors
from airflow_pachyderm.exceptions import PachydermInvalidError

# What a constructor must be given.
NEEDED: dict[str, Any] = {
    "repo": "images",
    "path": "/a",
    "paths": ["/a"],
    "target": "/tmp/a",
    "pipeline": "validate",
    "commit_set": "0" * 32,
    "spec": {"pipeline": {"name": "p"}},
    "secret": "s",
    "source_conn_id": "c",
    "fields": {"KEY": "password"},
}
USELESS: dict[str, list[dict[str, Any]]] = {  # beside those of a type, which are generated
    "PachydermPutFileOperator": [{"text": "x", "server_side": True}],
    "PachydermDeleteFileOperator": [{"paths": []}],
    "PachydermCreatePipelineOperator": [
        {"spec": {"pipeline": {}}, "render": True},
        {"update": False, "reprocess": True},
        {"update": False, "reprocess_on_change": True},
        {"spec": []},
    ],
    "PachydermCreateSecretOperator": [{"fields": {}}],
    "PachydermPipelineStateSensor": [{"states": ["runing"]}, {"states": []}],
}
# Texts: the server knows whether there is such a thing, and the task fails where there is none.
ASKED_OF_THE_SERVER = {
    *("repo", "path", "paths", "target", "pipeline", "commit_set", "spec", "secret", "source_conn_id", "fields", "branch", "ref"),
    *("pachyderm_conn_id", "source", "text", "files", "manifest", "batch_key", "description", "after", "states"),
}
JUDGED_BY_THE_TASK = {"PachydermPushOperator.server_side"}  # a template may give it: the task refuses what is neither true nor false


def classes() -> Iterator[type]:
    for package in (operators, sensors):
        for module in iter_modules(package.__path__):
            for name, value in vars(import_module(f"{package.__name__}.{module.name}")).items():
                if inspect.isclass(value) and name.startswith("Pachyderm") and value.__module__ == f"{package.__name__}.{module.name}":
                    yield value


CLASSES = {
    cls.__name__: cls for cls in classes() if cls.__name__ not in ("PachydermOperator", "PachydermWaitingOperator", "PachydermSensor")
}


def arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Our own, also those of the classes that it inherits."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("airflow_pachyderm") and "__init__" in vars(base):
            function = inspect.unwrap(vars(base)["__init__"])
            found = {**inspect.signature(function).parameters, **found}
    return {name: parameter for name, parameter in found.items() if name not in ("self", "kwargs")}


def make(cls: type, **given: Any) -> Any:
    needed = {name: value for name, value in NEEDED.items() if name in arguments(cls)}
    return cls(**{"task_id": "t", **needed, **given})


def bad_values() -> Iterator[tuple[str, str, Any]]:
    for name, cls in CLASSES.items():
        for argument, parameter in arguments(cls).items():
            if f"{name}.{argument}" in JUDGED_BY_THE_TASK:
                continue
            if parameter.annotation is bool:
                yield from ((name, argument, value) for value in ("false", None, 2))
            elif parameter.annotation is float:
                yield from ((name, argument, value) for value in (-1.0, math.nan, "soon", *((0,) if argument.endswith("interval") else ())))


@pytest.mark.parametrize(("name", "argument", "value"), [*bad_values()])
def test_a_value_that_means_nothing_is_refused(name: str, argument: str, value: Any) -> None:
    make(CLASSES[name])
    with pytest.raises((PachydermInvalidError, ValueError, TypeError), match=argument):
        make(CLASSES[name], **{argument: value})


@pytest.mark.parametrize(("name", "given"), [(name, given) for name, cases in USELESS.items() for given in cases])
def test_what_has_no_effect_beside_the_rest_is_refused(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(PachydermInvalidError, match="Task t: "):
        make(CLASSES[name], **given)


def test_every_argument_is_looked_at() -> None:
    tried = {(name, argument) for name, argument, _ in bad_values()}
    left = {
        f"{name}.{argument}"
        for name, cls in CLASSES.items()
        for argument in arguments(cls)
        if (name, argument) not in tried and argument not in ASKED_OF_THE_SERVER
    }
    assert left == JUDGED_BY_THE_TASK
    assert len(CLASSES) > 12
