"""What happens to every peer: images come, more images come, the rules change, the model changes."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from benchmarks.site import RULES, changed_model
from stages.contract.pipelines import pipelines

FOLDERS: Final = tuple(pipeline.name for pipeline in pipelines())


class Step(StrEnum):
    """What happens, in this order."""

    FIRST = "first run"
    MORE = "more images"
    RULES = "changed rules"
    MODEL = "changed model"


@dataclass(frozen=True)
class World:
    """What lies on a peer's disk, a copy for each peer.

    :ivar root: The peer may write here, but for the names below.
    """

    root: Path

    @property
    def images(self) -> Path:
        """Folder with all images so far."""
        return self.root / "images"

    def delivery(self, step: Step) -> Path:
        """Folder with the images that came in this step alone."""
        return self.root / f"delivery-{step.name.lower()}"

    @property
    def rules(self) -> Path:
        return self.root / "rule.json"

    @property
    def model(self) -> Path:
        """Folder with the frozen graph."""
        return self.root / "model"

    @property
    def graph(self) -> Path:
        return self.model / "frozen_inference_graph.pb"

    @classmethod
    def make(cls, root: Path, graph: Path) -> "World":
        world = cls(root)
        world.images.mkdir(parents=True)
        world.model.mkdir()
        shutil.copyfile(graph, world.graph)
        shutil.copyfile(RULES, world.rules)
        return world

    def happen(self, step: Step, images: Sequence[Path]) -> None:
        """Change the disk as the step says.

        :param images: What comes in a step that brings images.
        """
        match step:
            case Step.FIRST | Step.MORE:
                self.delivery(step).mkdir()
                for image in images:
                    shutil.copyfile(image, self.delivery(step) / image.name)
                    os.link(self.delivery(step) / image.name, self.images / image.name)
            case Step.RULES:
                rules = json.loads(self.rules.read_text())
                rules["threat_classes"] = rules["threat_classes"][:1]
                self.rules.write_text(json.dumps(rules, indent=2) + "\n")
            case Step.MODEL:
                before = self.root / "before.pb"
                self.graph.rename(before)
                changed_model(before, self.graph)
                before.unlink()


class Peer(Protocol):
    """A way to get the work done. Made and started before the clock runs, a context manager."""

    name: str
    how: str

    def run(self, step: Step) -> None:
        """Bring the outputs up to date after a step.

        :raises Exception: It did not work; the message says why.
        """

    def outputs(self, target: Path) -> None:
        """Put what is there now into ``target``: a folder for each of :data:`FOLDERS`, without links."""

    def close(self) -> None:
        """Stop whatever runs."""


def copy_outputs(source: Path, target: Path) -> None:
    """The folders of a peer that keeps its outputs on the disk."""
    for name in FOLDERS:
        if (source / name).exists():
            shutil.copytree(source / name, target / name)
