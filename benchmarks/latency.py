"""One image, cold and warm: from the first byte of its commit to the finished plot, stage by stage.

python -m benchmarks.latency [--rounds 20] [--model GRAPH --images FOLDER] [--json FILE]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from benchmarks.results import Curve, Figure, report
from benchmarks.site import STAGES, Clients, Site, material

_WARM_SECONDS: Final = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        root = Path(folder)
        what = material(root / "images", options.rounds + 2, model=options.model, images=options.images)
        print(f"one image at a time: {what.name}", flush=True)
        report(measure(root, what.model, what.images), options.json)


@dataclass(frozen=True)
class Trip:
    """One image's way, in seconds.

    :ivar total: Until the client knows that the plot is there.
    :ivar put: Until the input commit is finished.
    :ivar stages: From the finished input of each stage to its finished output.
    """

    total: float
    put: float
    stages: dict[str, float]


def measure(root: Path, model: Path, images: Sequence[Path]) -> Iterator[Figure | Curve]:
    """Cold is right after the pipelines were made, when their programs still start; then one after the other."""
    with Site(root / "site") as site:
        site.create_pipelines(model)
        cold = trip(site, images[0])
        trip(site, images[1])
        warm = [trip(site, image) for image in images[2:]]
    middle = {stage: statistics.median(found.stages[stage] for found in warm) for stage in STAGES}
    yield Figure("one image, cold, put to plot", cold.total, "s")
    yield Figure(
        f"one image, warm, put to plot, median of {len(warm)}", statistics.median(found.total for found in warm), "s", _WARM_SECONDS
    )
    yield Figure(f"one image, warm, put to plot, worst of {len(warm)}", max(found.total for found in warm), "s")
    yield Figure("one image, warm: commit", statistics.median(found.put for found in warm), "s")
    for stage, seconds in middle.items():
        yield Figure(f"one image, warm: {stage}", seconds, "s")
        yield Figure(f"one image, cold: {stage}", cold.stages[stage], "s")
    yield Curve("latency", "cold", "s", (("commit", cold.put), *cold.stages.items()))
    yield Curve("latency", "warm", "s", (("commit", statistics.median(found.put for found in warm)), *middle.items()))


def trip(clients: Clients, image: Path) -> Trip:
    """Push one image and follow it."""
    started = time.perf_counter()
    commit_set = clients.push("images", {f"/{image.name}": image})
    put = time.perf_counter() - started
    clients.settle(commit_set)
    total = time.perf_counter() - started
    ends = {"images": _finished(clients, "images", commit_set)}
    request = pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=commit_set))
    for info in clients.server.stubs.pps.InspectJobSet(request):
        ends[info.job.pipeline.name] = _finished(clients, info.job.pipeline.name, commit_set)
    order = ["images", *STAGES]
    return Trip(total, put, {stage: ends[stage] - ends[before] for before, stage in zip(order, STAGES, strict=False)})


def _finished(clients: Clients, repo: str, commit_set: str) -> float:
    """When a commit was finished, in seconds since the Unix epoch, by the server's clock."""
    request = pfs_pb2.InspectCommitRequest(commit=clients.pfs.commit_message(repo, "master", commit_set))
    info: Any = clients.server.stubs.pfs.InspectCommit(request)
    return float(info.finished.seconds + info.finished.nanos / 1e9)


if __name__ == "__main__":
    main()
