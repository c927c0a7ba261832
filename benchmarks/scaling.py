"""A million images a night on GKE: nodes, hours, dollars, and what saturates first. docs/scaling.md says what the model is.

    python -m benchmarks.scaling [--measured RESULT_FILE ...] [--images 1000000] [--hours 8] [--json FILE]

It is fed by the figures of a result file (the newest one that has them, by default), and first checked on what was measured in small.
"""

import argparse
import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.results import REPOSITORY, Curve, Figure, report
from dags.provisioning.cost import BUCKET_GB_MONTH, CLUSTER_HOUR, MACHINE_HOUR, SPOT_FACTOR
from dags.settings import BATCH_FILES, MAX_BATCHES
from stages.contract.pipelines import pipelines

SHIPPED_WORKERS: Final = {pipeline.name: pipeline.workers for pipeline in pipelines()}
STAGES: Final = tuple(SHIPPED_WORKERS)
NODE: Final = "n1-standard-4"
NODE_CORES: Final = 3.4  # of four: GKE and its pods keep the rest
SERVER_NODES: Final = 1  # pachd, etcd, PostgreSQL
SIDECAR_CORES: Final = 0.1  # beside each worker, as sidecarResourceRequests of the specs say; a whole one where a spec does not
THREAT_SHARE: Final = 0.1  # of all images
IMAGE_KB: Final = 100.0
_JITTER: Final = 0.2  # images differ: a datum takes up to so much more or less than the mean
_OFF: Final = 1.5
_ALONE: Final = ("push to one branch", "plot")  # no faster with more workers
_SIZES: Final = (10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000)


class MissingFigureError(ValueError):
    """The result file lacks what the model needs; the message names the part that measures it."""


@dataclass(frozen=True)
class Stage:
    """One pipeline, as the model sees it. Seconds on one core.

    :ivar fixed: For each job, whatever its size.
    :ivar each: For each datum.
    :ivar each_before: For each result of earlier jobs, which the stage reads again.
    """

    name: str
    fixed: float
    each: float
    workers: int = 1
    each_before: float = 0.0


@dataclass(frozen=True)
class Costs:
    """What was measured.

    :ivar push_fixed: Seconds of a commit, whatever its size.
    :ivar push_each: Seconds for each image of a commit; commits on one branch follow one another.
    :ivar cold: Seconds until a fresh detection worker takes its first datum.
    """

    push_fixed: float
    push_each: float
    cold: float
    stages: tuple[Stage, ...]

    def with_workers(self, workers: Mapping[str, int]) -> "Costs":
        return replace(self, stages=tuple(replace(stage, workers=workers.get(stage.name, stage.workers)) for stage in self.stages))

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)


@dataclass(frozen=True)
class Run:
    """A simulated run.

    :ivar seconds: Until the last job has ended.
    :ivar busy: Share of that time in which each stage, and the push, had something to do.
    """

    seconds: float
    busy: Mapping[str, float]


def simulate(costs: Costs, batches: Sequence[int], *, threats_before: int = 0, cold: bool = False, seed: int = 1) -> Run:
    """Batches, one after the other: each is pushed, and goes through the stages; a stage works on one job at a time.

    A job's datums are dealt out to the workers in equal shares when it begins, as ``datumSetSpec: perWorker 1`` says, so it ends with the
    slowest worker.

    :param threats_before: Results in history.
    :param cold: The detection workers start with the first job.
    """
    chance = np.random.default_rng(seed)
    free = dict.fromkeys((stage.name for stage in costs.stages), 0.0)
    busy = dict.fromkeys(("push", *free), 0.0)
    pushed, end, threats = 0.0, 0.0, float(threats_before)
    for number, size in enumerate(batches):
        took = costs.push_fixed + costs.push_each * size
        busy["push"] += took
        pushed += took
        threats += THREAT_SHARE * size
        ready = pushed
        for stage in costs.stages:
            took = stage.fixed + stage.each_before * threats + _slowest(stage, size, chance)
            if cold and number == 0 and stage.name == "object-detect":
                took += costs.cold
            ready = free[stage.name] = max(ready, free[stage.name]) + took
            busy[stage.name] += took
        end = max(end, ready)
    return Run(end, {name: seconds / end for name, seconds in busy.items()})


def _slowest(stage: Stage, datums: int, chance: np.random.Generator) -> float:
    """Seconds of the worker whose share takes longest."""
    if not datums or not stage.each:
        return 0.0
    times = stage.each * chance.uniform(1 - _JITTER, 1 + _JITTER, datums)
    return max(float(share.sum()) for share in np.array_split(times, stage.workers))


def batches_of(images: int) -> list[int]:
    """How push_images cuts a folder: batches of the usual size, or larger ones where there would be too many."""
    size = max(BATCH_FILES, math.ceil(images / MAX_BATCHES))
    return [min(size, images - start) for start in range(0, images, size)]


def saturation(costs: Costs, seconds: float) -> dict[str, float]:
    """Images that each part can do within a time if nothing else holds it up, with batches of the usual size."""
    found = {"push to one branch": seconds / (costs.push_fixed / BATCH_FILES + costs.push_each)}
    for stage in costs.stages:
        if stage.each_before:  # each job reads all results so far: n batches read n²/2 batches' results
            a, b = stage.each_before * THREAT_SHARE * BATCH_FILES / 2, stage.fixed + stage.each_before * THREAT_SHARE * BATCH_FILES
            found[stage.name] = BATCH_FILES * (math.sqrt(b * b + 4 * a * seconds) - b) / (2 * a)
        else:
            found[stage.name] = seconds / (stage.fixed / BATCH_FILES + stage.each / stage.workers)
    return found


@dataclass(frozen=True)
class Plan:
    """A cluster that does a night's images in time.

    :ivar nodes: With those of the server.
    """

    workers: Mapping[str, int]
    nodes: int
    run: Run

    def dollars(self, *, spot: bool = False) -> float:
        """Of one night, if the nodes are there for just as long as they work."""
        node = MACHINE_HOUR[NODE] * (SPOT_FACTOR if spot else 1.0)
        return (self.nodes * node + CLUSTER_HOUR) * self.run.seconds / 3600


def plan(costs: Costs, images: int, seconds: float, *, speed: float = 1.0) -> Plan:
    """The fewest workers for each stage with which the simulated night ends in time.

    :param speed: Of a node's virtual core, over a core of the machine that was measured.
    :raises ValueError: No number of workers is enough: a part that does not get faster with workers takes longer than that.
    """
    slow = replace(costs, stages=tuple(replace(stage, each=stage.each / speed, fixed=stage.fixed / speed) for stage in costs.stages))
    batches = batches_of(images)
    workers = dict.fromkeys(STAGES, 1)
    while True:
        run = simulate(slow.with_workers(workers), batches, cold=True)
        if run.seconds <= seconds:
            break
        longest = max(run.busy, key=lambda name: run.busy[name])
        if longest not in workers or not slow.stage(longest).each:
            raise ValueError(f"{images} images in {seconds / 3600:g} h: {longest} alone is busy for {run.busy[longest]:.0%} of the run")
        workers[longest] += max(1, workers[longest] // 20)
    return Plan(workers, SERVER_NODES + math.ceil(sum(workers.values()) * (1 + SIDECAR_CORES) / NODE_CORES), run)


# What was measured


def costs_of(rows: Iterable[Mapping[str, Any]]) -> Costs:
    """The model's constants, from the rows of a result file.

    :raises MissingFigureError: See there.
    """
    figures = {str(row["name"]): float(row["value"]) for row in rows}
    push, images = _one(figures, r"four pipelines, (\d+) images in one push", "limit")
    jobs = {name: _one(figures, rf"{name}: job of the push of \d+", "limit")[0] for name in STAGES}
    fixed = {name: _one(figures, rf"one image, warm: {name}", "latency")[0] for name in STAGES}
    commit = _one(figures, r"one image, warm: commit", "latency")[0]
    cold = _one(figures, r"one image, cold: object-detect", "latency")[0]
    stages = []
    for name in STAGES[:-1]:
        workers = SHIPPED_WORKERS[name]
        each = max(0.0, jobs[name] - fixed[name]) * workers / images
        stages.append(Stage(name, max(0.0, fixed[name] - each), each, workers))
    few, many = _plots(figures)
    stages.append(Stage("plot", fixed["plot"], 0.0, each_before=max(0.0, (many[1] - few[1]) / (many[0] - few[0]))))
    push_each = max(0.0, images / push - sum(jobs.values()) - commit) / images
    return Costs(commit, push_each, max(0.0, cold - fixed["object-detect"]), tuple(stages))


def _one(figures: Mapping[str, float], pattern: str, part: str) -> tuple[float, int]:
    """The value of the figure of that name, and the number in its name."""
    for name, value in figures.items():
        if match := re.fullmatch(pattern, name):
            return value, int(match[1]) if match.groups() else 0
    raise MissingFigureError(f"no figure {pattern!r}; measure it first: python -m benchmarks {part}")


def _plots(figures: Mapping[str, float]) -> tuple[tuple[int, float], tuple[int, float]]:
    """Seconds of plot's job at the fewest and at the most threats."""
    found = sorted((int(match[1]), value) for name, value in figures.items() if (match := re.fullmatch(r"plot, (\d+) threats", name)))
    if len(found) < 2:
        raise MissingFigureError("no figures 'plot, … threats' at two sizes; measure them first: python -m benchmarks growth")
    return found[0], found[-1]


def checks(costs: Costs, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float, float]]:
    """Cases that were measured and did not feed the model: name, seconds simulated, seconds measured."""
    figures = {str(row["name"]): float(row["value"]) for row in rows}
    try:
        first, size = _one(figures, r"minipachd without Airflow: first run \((\d+) images\)", "peers")
        more, extra = _one(figures, r"minipachd without Airflow: more images \((\d+) images\)", "peers")
        model, _ = _one(figures, r"minipachd without Airflow: changed model", "peers")
        rules, _ = _one(figures, r"minipachd without Airflow: changed rules", "peers")
    except MissingFigureError:
        return
    yield f"first run, {size} images", simulate(costs, [size], cold=True).seconds, first
    yield f"{extra} more images", simulate(costs, [extra], threats_before=round(size * THREAT_SHARE)).seconds, more
    quiet = replace(costs, push_each=0.0)
    yield "changed rules", simulate(replace(quiet, stages=costs.stages[2:]), [size + extra]).seconds, rules
    yield "changed model", simulate(replace(quiet, stages=costs.stages[1:]), [size + extra]).seconds, model


def newest_results(folder: Path) -> Path:
    """The newest result file that has what the model needs.

    :raises MissingFigureError: There is none.
    """
    for file in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            costs_of(json.loads(file.read_text())["results"])
        except MissingFigureError:
            continue
        return file
    raise MissingFigureError(f"no result file in {folder} has what the model needs: python -m benchmarks limit latency growth peers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measured", type=Path, nargs="+", help="result files, one after the other (default: the newest that will do)")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    measured = options.measured or [newest_results(REPOSITORY / "benchmarks" / "results")]
    rows = [row for file in measured for row in json.loads(file.read_text())["results"]]
    report(measure(rows, images=options.images, seconds=options.hours * 3600), options.json)


def measure(rows: Sequence[Mapping[str, Any]], *, images: int, seconds: float) -> Iterator[Figure | Curve]:
    """The check, what saturates, and the plan at two speeds of a virtual core."""
    costs = costs_of(rows)
    for stage in costs.stages:
        yield Figure(f"model: {stage.name}, for each image", stage.each * 1000, "ms")
        yield Figure(f"model: {stage.name}, for each job", stage.fixed * 1000, "ms")
    yield Figure("model: plot, for each threat in history", costs.stage("plot").each_before * 1e6, "µs")
    yield Figure("model: push, for each image", costs.push_each * 1000, "ms")
    for name, simulated, seen in checks(costs, rows):
        off = max(simulated / seen, seen / simulated)
        yield Figure(f"simulated {name}: {simulated:.2f} s, measured {seen:.2f} s: off by", off, "times", target=_OFF)
    hours = seconds / 3600
    limits = sorted(saturation(costs, seconds).items(), key=lambda item: item[1])
    for name, most in limits:
        yield Figure(f"{name} as shipped: most images in {hours:g} h", round(most), "images")
    for speed in (1.0, 0.6):
        what = f"{images} images in {hours:g} h, cores {speed:g} as fast"
        try:
            found = plan(costs, images, seconds, speed=speed)
        except ValueError as exc:
            print(f"no number of workers does it: {exc}", flush=True)
            most = min(value for name, value in limits if name in _ALONE)
            yield Figure(f"{what}: most images with any number of workers", round(most), "images", target=images, at_least=True)
            continue
        for name, count in found.workers.items():
            yield Figure(f"{what}: workers of {name}", count, "workers")
        yield Figure(f"{what}: {NODE} nodes", found.nodes, "nodes")
        yield Figure(f"{what}: hours", found.run.seconds / 3600, "h", target=hours)
        yield Figure(f"{what}: a night", found.dollars(), "$")
        yield Figure(f"{what}: a night on spot nodes", found.dollars(spot=True), "$")
        for name, share in found.run.busy.items():
            yield Figure(f"{what}: {name} is busy", share * 100, "% of the run")
    stored = images * IMAGE_KB / 1e6
    yield Figure(f"{images} images of {IMAGE_KB:g} kB, kept for a month", stored * BUCKET_GB_MONTH, "$")
    points = []
    for size in _SIZES:
        with contextlib.suppress(ValueError):  # where no number of workers does it, the line ends
            points.append((size, plan(costs, size, seconds).nodes))
    if points:
        yield Curve("scaling", f"{NODE} nodes", "nodes", tuple(points), "images a night")


if __name__ == "__main__":
    main()
