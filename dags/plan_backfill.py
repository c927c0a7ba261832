"""Print what a backfill of ``nightly_images`` would do, before it is started: days, images, bytes, batches and an estimate of its duration.

    python -m dags.plan_backfill --from-date 2026-11-01 --to-date 2026-11-30 --landing gs://cameras

It lists the landing area as the nights will, and pushes nothing. The estimate comes from the reports of earlier runs.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from airflow_pachyderm.exceptions import PachydermError, PachydermInvalidError
from airflow_pachyderm.files import SourceFile, open_filesystem
from dags import settings
from dags.common.batching import Limits, cut, fitting
from dags.common.landing import PassedOver, unique
from dags.common.nightly import landed

_DAYS_AT_ONCE = 31  # listed together: a flat landing area is read once for all of them


@dataclass(frozen=True)
class Night:
    """What one night of the backfill would push."""

    day: date
    images: int
    size_bytes: int
    batches: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the plan.

    :return: The process's exit status: 0, or 1 with the reason on standard error.
    """
    options = _parser().parse_args(arguments)
    passed = PassedOver()
    try:
        nights = list(plan(options.landing, options.from_date, options.to_date, batch_files=options.batch_size, passed=passed))
        rate = seconds_per_image(options.results)
    except PachydermError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    for odd in passed.as_json():
        sys.stdout.write(f"passed over: {odd['count']}, {odd['why']}: {', '.join(odd['names'][:3])}\n")
    for line in render(nights, rate=rate, parallel=options.max_active_runs):
        sys.stdout.write(f"{line}\n")
    return 0


def plan(landing: str, first: date, last: date, *, batch_files: int, passed: PassedOver) -> Iterator[Night]:
    """The nights from the first to the last day, both included.

    :param passed: Gets what the nights will pass over.
    :raises PachydermError: The landing area cannot be read, or the days are the wrong way round.
    """
    if not landing:
        raise PachydermInvalidError("No landing area is named: give --landing, or set TUSKWATCH_LANDING")
    if last < first:
        raise PachydermInvalidError(f"The backfill would end on {last}, before it begins on {first}; swap the dates")
    zone = ZoneInfo(settings.TIMEZONE)
    limits = Limits(batch_files, max(settings.BATCH_BYTES, batch_files << 20), settings.MAX_BATCHES)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for start in range(0, len(days), _DAYS_AT_ONCE):
        for day, found in landed(landing, days[start : start + _DAYS_AT_ONCE], zone=zone, passed=passed).items():
            yield _night(day, [one.file for one in unique(found, passed)], limits)


def _night(day: date, files: Sequence[SourceFile], limits: Limits) -> Night:
    batches = cut(files, fitting(lambda: files, limits))
    return Night(day, len(files), sum(file.size_bytes or 0 for file in files), sum(1 for _ in batches))


def seconds_per_image(results: str) -> float | None:
    """The median over the reports of earlier runs that processed something, or None when there is none."""
    rates = []
    for report in _reports(results):
        processed = sum(job["processed"] for job in report["jobs"].values())
        if report["files"] and processed:
            rates.append(report["seconds"] / report["files"])
    return median(rates) if rates else None


def _reports(results: str) -> Iterator[Mapping[str, Any]]:
    filesystem, path = open_filesystem(results)
    for dag_id in ("nightly_images", "push_images"):
        for summary in filesystem.glob(f"{path.rstrip('/')}/{dag_id}/*/summary.json"):
            yield json.loads(filesystem.cat_file(summary))


def render(nights: Sequence[Night], *, rate: float | None, parallel: int) -> Iterator[str]:
    """The plan as lines.

    :param rate: Seconds per image, measured.
    :param parallel: Nights at once.
    """
    yield f"{'day':<12}{'images':>10}{'MB':>12}{'batches':>10}"
    for night in nights:
        yield f"{night.day!s:<12}{night.images:>10,}{night.size_bytes / 1e6:>12,.1f}{night.batches:>10,}"
    images, batches = sum(night.images for night in nights), sum(night.batches for night in nights)
    yield f"{f'{len(nights)} days':<12}{images:>10,}{sum(night.size_bytes for night in nights) / 1e6:>12,.1f}{batches:>10,}"
    if rate is None:
        yield "No report of an earlier run to estimate the duration from: run one night first."
    else:
        # The pipelines work through the commits one after the other, whatever the number of nights at once.
        yield f"About {timedelta(seconds=round(images * rate))} at {rate:.3f} s per image, the median of earlier runs."
    if nights:
        first, last = instants(nights[0].day, nights[-1].day)
        yield f"airflow backfill create --dag-id nightly_images --from-date {first} --to-date {last} --max-active-runs {parallel}"


def instants(first: date, last: date) -> tuple[str, str]:
    """From when to when a backfill of days goes, with the offset of the installation's time zone: Airflow takes bare dates for UTC."""
    zone = ZoneInfo(settings.TIMEZONE)
    begin, end = datetime.combine(first, time.min, zone), datetime.combine(last, time(23, 59), zone)
    return begin.isoformat(timespec="minutes"), end.isoformat(timespec="minutes")


def _parser() -> argparse.ArgumentParser:
    found = settings.load(variable=lambda _: None)  # outside of a task there are no Variables to ask for
    parser = argparse.ArgumentParser(prog="python -m dags.plan_backfill", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from-date", type=date.fromisoformat, required=True, help="first day, YYYY-MM-DD")
    parser.add_argument("--to-date", type=date.fromisoformat, required=True, help="last day, included")
    parser.add_argument("--landing", default=found.landing, help="landing area (TUSKWATCH_LANDING)")
    parser.add_argument("--results", default=found.results, help="folder of earlier reports (TUSKWATCH_RESULTS)")
    parser.add_argument("--batch-size", type=int, default=settings.BATCH_FILES, help="images per batch (%(default)s)")
    parser.add_argument("--max-active-runs", type=int, default=2, help="nights at once (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
