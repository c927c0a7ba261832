"""What a night costs after many nights: a hundred new images with none, ten thousand and a hundred thousand in history.

    python -m benchmarks.growth [--history 0 10000 100000] [--more 100] [--json FILE]

The images are real JPEGs of 16 by 16 pixels. They go through the real ``validate``. Detection costs the same for every image, whatever
is in history, so it is left out: records as ``object-detect`` writes them are put into a repo of that name, which the real
``threat-detect`` and ``plot`` read. One record in ten is a threat.
"""

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from airflow_pachyderm.dashboard import jobs, pipelines, repos, threats
from airflow_pachyderm.dashboard.gateway import Gateway
from benchmarks.results import Curve, Figure, report
from benchmarks.site import Site
from stages.contract import layout
from stages.contract.records import Box, Detections, Found, ModelUsed, Size

_DEVICES: Final = 20
_ROUNDS: Final = 3
_BATCH: Final = 10_000
_FIRST_TIMESTAMP: Final = 1_600_000_000
_RATIO: Final = 2.0
_PAGE_MS: Final = 100.0
_FIRST_PAGE_MS: Final = 300.0
_THREAT_EVERY: Final = 10  # images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=int, nargs="+", default=[0, 10_000, 100_000], help="images in history (%(default)s)")
    parser.add_argument("--more", type=int, default=100, help="new images (%(default)s)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        report(measure(Path(folder), options.history, options.more), options.json)


class Nights(Site):
    """A site with the pipelines above.

    :ivar images: How many it has.
    :ivar jobs: Seconds of the jobs of the newest night, by pipeline, but for ``validate``.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.images = 0
        self._jpeg = tiny_jpeg()
        for repo in ("images", "object-detect", "rules"):
            self.pfs.create_repo(repo)
        self.rules([1, 3])
        self.create_stages("validate", "threat-detect", "plot")
        self.night(1)  # its programs start

    def rules(self, classes: Sequence[int]) -> None:
        """A rule file; returns when all is judged by it."""
        content = json.dumps({"threat_classes": list(classes), "min_score": 0.5, "alert_max_age_hours": 24})
        self.settle(self.put("rules", [("/rule.json", content.encode())]))

    def night(self, count: int) -> None:
        """New images and their records; returns when all jobs are done."""
        numbers = range(self.images, self.images + count)
        self.images += count
        commit_sets = [
            self.put("images", ((f"/{_name(number)}.jpg", self._jpeg + b"%d" % number) for number in numbers)),
            self.put("object-detect", (_record(number) for number in numbers)),
        ]
        for commit_set in commit_sets:
            self.jobs = {job.pipeline: job.seconds for job in self.settle(commit_set)}


def measure(root: Path, history: Sequence[int], more: int) -> Iterator[Figure | Curve]:
    """Grow from one size to the next, and measure at each."""
    times: list[tuple[float, float]] = []
    spaces: list[tuple[float, float]] = []
    rules: list[tuple[float, float]] = []
    with Nights(root / "site") as nights:
        for size in sorted(history):
            started = time.perf_counter()
            filled = max(0, size - nights.images)
            for left in range(filled, 0, -_BATCH):
                nights.night(min(left, _BATCH))
            if filled:
                yield Figure(f"filling up to {size} images, both branches", filled / (time.perf_counter() - started), "images/s")
            seconds, space = _new_night(nights, more)
            times.append((size, seconds))
            spaces.append((size, space / 1024))
            yield Figure(f"{more} new images, {size} in history, median of {_ROUNDS}", seconds, "s")
            yield Figure(f"{more} new images, {size} in history, on the disk", space / 1024, "KiB")
            yield Figure(f"plot, {-(-nights.images // _THREAT_EVERY)} threats", nights.jobs["plot"], "s")
            started = time.perf_counter()
            nights.rules([1, 3, size % 89 + 4])
            rules.append((size, time.perf_counter() - started))
            yield Figure(f"changed rules, {nights.images} images judged again", rules[-1][1], "s")
            yield from _listing(nights)
            yield Figure(f"dashboard's first page, {nights.images} images in history", _first_page_ms(nights), "ms", target=_FIRST_PAGE_MS)
        yield Figure(f"memory with {nights.images} images in history", nights.memory_mib(), "MiB")
    if len(times) > 1:
        last = times[-1]
        yield Figure(f"{more} new images, {last[0]} in history over {times[0][0]}", last[1] / times[0][1], "ratio", target=_RATIO)
    yield Curve("growth-time", f"{more} new images", "s", tuple(times), "images in history")
    yield Curve("growth-time", "changed rules", "s", tuple(rules), "images in history")
    yield Curve("growth-space", f"{more} new images", "KiB", tuple(spaces), "images in history")


def _new_night(nights: Nights, more: int) -> tuple[float, float]:
    """Seconds and bytes on the disk of one night, the medians of some."""
    seconds, spaces = [], []
    for _ in range(_ROUNDS):
        before, started = nights.disk_bytes(), time.perf_counter()
        nights.night(more)
        seconds.append(time.perf_counter() - started)
        spaces.append(nights.disk_bytes() - before)
    return statistics.median(seconds), statistics.median(spaces)


def _listing(nights: Nights) -> Iterator[Figure]:
    middle = f"/{_name(nights.images // 2)}.jpg"
    for what, marker in (("first", ""), ("middle", middle)):
        times = []
        for _ in range(_ROUNDS + 2):
            started = time.perf_counter()
            nights.page("images", 100, after=marker)
            times.append((time.perf_counter() - started) * 1000)
        yield Figure(f"list the {what} 100 of {nights.images} files", statistics.median(times), "ms", target=_PAGE_MS)
    started = time.perf_counter()
    assert nights.page("images", 0) == nights.images
    yield Figure(f"list all {nights.images} files", time.perf_counter() - started, "s")


def _first_page_ms(nights: Nights) -> float:
    """What the dashboard asks the server for at first, one after the other, without Airflow around it; see benchmarks.dashboard."""
    gateway, times = Gateway(nights.server.connection), []
    for _ in range(_ROUNDS + 2):
        started = time.perf_counter()
        pipelines.read_counted_graph(gateway)
        jobs.list_job_sets(gateway, limit=20, before=None)
        threats.list_threats(gateway, threats.Wanted(), limit=24)
        repos.list_files(gateway, "images", ref="master", path="/", limit=100, after=None)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def _name(number: int) -> str:
    return f"dev{number % _DEVICES}_{_FIRST_TIMESTAMP + number}"


def tiny_jpeg() -> bytes:
    """A valid image of some 600 bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 120, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


def _record(number: int) -> tuple[str, bytes]:
    """A file as object-detect writes it."""
    device, timestamp = f"dev{number % _DEVICES}", _FIRST_TIMESTAMP + number
    found = Found(class_id=1, label="person", score=0.8, box=Box(left=1, top=1, right=9, bottom=9))
    record = Detections(
        device=device,
        timestamp=timestamp,
        time=datetime.fromtimestamp(timestamp, UTC).isoformat(),
        source=f"{_name(number)}.jpg",
        annotated=f"{device}/{timestamp}.jpg",
        image=Size(width=16, height=16),
        model=ModelUsed(digest="sha256:0", labels="coco"),
        threshold=0.5,
        objects=(found,) if number % _THREAT_EVERY == 0 else (),
    )
    return layout.record(device, str(timestamp)), json.dumps(record.as_json()).encode()


if __name__ == "__main__":
    main()
