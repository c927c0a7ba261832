"""The pipelines: each folder of ``stages/`` with a ``pipeline.json``, which says its name, its inputs and its image.

A further pipeline needs its folder and no other edit. The constants name those whose output is read elsewhere.
"""

from __future__ import annotations

import functools
import graphlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

STAGES: Final = Path(__file__).resolve().parent.parent
SPEC: Final = "pipeline.json"

IMAGES: Final = "images"
MODEL: Final = "model"
RULES: Final = "rules"

VALIDATE: Final = "validate"
OBJECT_DETECT: Final = "object-detect"
THREAT_DETECT: Final = "threat-detect"
PLOT: Final = "plot"


class SpecError(ValueError):
    """A ``pipeline.json`` does not say what it must; the message names it and what is missing."""


@dataclass(frozen=True)
class Source:
    """An input of a pipeline.

    :ivar repo: A repo of its own, or that of the pipeline of this name.
    :ivar glob: Which paths make a datum.
    """

    repo: str
    glob: str


@dataclass(frozen=True)
class Pipeline:
    """A pipeline.

    :ivar name: In Pachyderm, and of its output repo.
    :ivar folder: Below ``stages/``; the program is the package of this name.
    :ivar description: One sentence.
    :ivar image: The container image that it runs in, with its version.
    :ivar reads: Its inputs, as the spec has them.
    :ivar workers: How many there are.
    """

    name: str
    folder: str
    description: str
    image: str
    reads: tuple[Source, ...]
    workers: int

    @property
    def module(self) -> str:
        """The program: ``python -m`` takes this name."""
        return f"stages.{self.folder}"


@functools.cache
def pipelines(stages: Path = STAGES) -> tuple[Pipeline, ...]:
    """All pipelines, each after those that it reads.

    :param stages: The folder that holds their folders.
    :raises SpecError: A spec is damaged, or pipelines read each other in a circle.
    """
    found = {pipeline.name: pipeline for pipeline in map(_read, sorted(stages.glob(f"*/{SPEC}")))}
    upstream = {name: [source.repo for source in pipeline.reads if source.repo in found] for name, pipeline in found.items()}
    try:
        return tuple(found[name] for name in graphlib.TopologicalSorter(upstream).static_order())
    except graphlib.CycleError as exc:
        raise SpecError(f"{stages}: pipelines read each other in a circle: {' -> '.join(exc.args[1])}") from exc


def pipeline(name: str) -> Pipeline:
    """The pipeline of a name.

    :raises KeyError: There is none.
    """
    return {each.name: each for each in pipelines()}[name]


def _read(path: Path) -> Pipeline:
    try:
        spec: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Pipeline(
            name=spec["pipeline"]["name"],
            folder=path.parent.name,
            description=spec.get("description", ""),
            image=spec["transform"].get("image", ""),
            reads=tuple(_sources(spec["input"])),
            workers=spec.get("parallelismSpec", {}).get("constant", 1),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise SpecError(f"{path}: no pipeline spec with pipeline.name, input and transform: {type(exc).__name__}: {exc}") from exc


def _sources(node: Mapping[str, Any]) -> Iterator[Source]:
    if "pfs" in node:
        yield Source(node["pfs"]["repo"], node["pfs"]["glob"])
    for combined in ("cross", "union", "join", "group"):
        for child in node.get(combined, ()):
            yield from _sources(child)
