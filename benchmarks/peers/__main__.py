"""The same images, model and outputs, made by this project and by what people would use instead.

    python -m benchmarks.peers [--images 1000] [--more 100] [--only NAME ...] [--model GRAPH --source FOLDER] [--json FILE]

Each peer gets a first set of images, then some more, then a changed rule file, then a changed model. After each step its output files are
compared with those of the first peer, file by file. Servers are up and environments installed before the clock starts.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.peers.outputs import differences
from benchmarks.peers.plain_airflow import PlainAirflow
from benchmarks.peers.scripts import Dvc, ShellScript
from benchmarks.peers.tuskwatch import EngineAlone, Tuskwatch
from benchmarks.peers.world import Peer, Step, World
from benchmarks.results import Curve, Figure, PartsFailedError, report
from benchmarks.site import material
from benchmarks.usage import Usage

PEERS: Final[Mapping[str, Callable[[World], Peer]]] = {
    "shell": ShellScript,
    "tuskwatch": Tuskwatch,
    "engine": EngineAlone,
    "dvc": Dvc,
    "airflow-all": partial(PlainAirflow, dag_id="one_task_for_all"),
    "airflow-mapped": partial(PlainAirflow, dag_id="one_task_per_image"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60, help="of the first run (%(default)s)")
    parser.add_argument("--more", type=int, default=10, help="images that come later (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--steps", nargs="+", choices=[step.name.lower() for step in Step], default=[step.name.lower() for step in Step])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--source", type=Path, help="folder of validly named images")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        root = Path(folder)
        what = material(root / "images", options.images + options.more, model=options.model, images=options.source)
        print(f"{options.images} and {options.more} images: {what.name}", flush=True)
        steps = [step for step in Step if step.name.lower() in options.steps]
        report(measure(root, what.model, what.images, first=options.images, names=options.only, steps=steps), options.json)


def measure(
    root: Path, model: Path, images: Sequence[Path], *, first: int, names: Sequence[str], steps: Sequence[Step]
) -> Iterator[Figure | Curve]:
    """Wall time, CPU seconds and memory of every peer and step, and how many output files differ.

    :param images: Of the first run and of the second step together.
    :param first: How many of them are there from the beginning.
    :raises PartsFailedError: After all that could be measured.
    """
    failed = PartsFailedError()
    for name in names:
        with failed.noting(name):
            yield from measure_peer(root, PEERS[name], name, model, images, first, steps)
    failed.raise_any()


def measure_peer(
    root: Path, make: Callable[[World], Peer], name: str, model: Path, images: Sequence[Path], first: int, steps: Sequence[Step]
) -> Iterator[Figure | Curve]:
    """One peer through the steps."""
    world = World.make(root / name, model)
    walls: list[tuple[str, float]] = []
    with contextlib.closing(make(world)) as peer:
        for step in steps:
            coming = {Step.FIRST: images[:first], Step.MORE: images[first:]}.get(step, [])
            world.happen(step, coming)
            with Usage() as usage:
                peer.run(step)
            what = f"{peer.name}: {_title(step, coming)}"
            walls.append((step.value, usage.wall_seconds))
            yield Figure(what, usage.wall_seconds, "s")
            yield Figure(f"{what}, CPU", usage.cpu_seconds, "s")
            yield Figure(f"{what}, memory", usage.peak_mib, "MiB")
            yield _compare(root, step, peer, name, what)
        yield Curve(f"peers-{first}", peer.name, "s", tuple(walls))
    shutil.rmtree(world.root)


def _title(step: Step, coming: Sequence[Path]) -> str:
    return f"{step.value} ({len(coming)} images)" if coming else step.value


def _compare(root: Path, step: Step, peer: Peer, name: str, what: str) -> Figure:
    """How many files differ from those of the first peer that came this far; of that one, how many there are."""
    expected = root / "outputs" / step.name
    if not expected.exists():
        expected.mkdir(parents=True)
        peer.outputs(expected)
        return Figure(f"{what}, output files", sum(path.is_file() for path in expected.rglob("*")), "files")
    found = root / "outputs" / f"{step.name}-{name}"
    found.mkdir()
    peer.outputs(found)
    different = differences(expected, found)
    for difference in different[:5]:
        print(f"  {name}, {step.value}: {difference}", file=sys.stderr, flush=True)
    shutil.rmtree(found)
    return Figure(f"{what}, output files that differ", len(different), "files", target=0)


if __name__ == "__main__":
    main()
