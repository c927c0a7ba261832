"""Counting threats: by device and time from the paths alone, by class from the newest files."""

from __future__ import annotations

import heapq
import logging
import os.path
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path

from stages.common.errors import StageError
from stages.common.files import read_json, walk_folders
from stages.contract.layout import output_name_of
from stages.contract.names import seconds_of
from stages.contract.records import Counts, RecordError, Threat

log = logging.getLogger(__name__)

CLASSES_FROM_NEWEST = 1000
_STEP = 900  # seconds: since 2001, which the shortest timestamps are of, all zones are whole quarters of an hour from UTC


@dataclass
class Tally:
    """Threats, that is images with at least one threatening object.

    :ivar devices: Threats by device.
    :ivar zone: Whose days and hours they are.
    :ivar days: Threats by day.
    :ivar hours: Threats by hour of the day.
    :ivar classes: Objects by label, in the newest ``classes_from`` threats.
    """

    zone: tzinfo = UTC
    devices: Counter[str] = field(default_factory=Counter)
    days: Counter[date] = field(default_factory=Counter)
    hours: Counter[int] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    classes_from: int = 0
    first: datetime | None = None
    last: datetime | None = None

    @property
    def total(self) -> int:
        """All threats."""
        return self.devices.total()

    def record(self) -> Counts:
        """Return the counts as ``threats.json`` has them; names and days in order, classes by falling count."""
        return Counts(
            total=self.total,
            first=self.first.isoformat() if self.first else None,
            last=self.last.isoformat() if self.last else None,
            devices=dict(sorted(self.devices.items())),
            per_day={day.isoformat(): self.days[day] for day in sorted(self.days)},
            per_hour={f"{hour:02}": self.hours[hour] for hour in sorted(self.hours)},
            classes=dict(sorted(self.classes.items(), key=lambda item: (-item[1], item[0]))),
            classes_from_newest=self.classes_from,
            time_zone=str(self.zone),
        )


def count_threats(root: Path, *, zone: tzinfo = UTC, classes_from_newest: int = CLASSES_FROM_NEWEST) -> Tally:
    """Count the threat files ``<device>/<timestamp>.json`` under ``root``.

    Device and time stand in the path. Classes are read from the newest files only: that bounds the cost of a job as history grows.

    :param root: Output folder of threat-detect; one that is missing holds no threat.
    :param zone: For days and hours.
    """
    tally = Tally(zone)
    newest: list[tuple[int, str]] = []  # a heap
    for folder, names in walk_folders(root) if root.exists() else ():
        # As plain text, and times as numbers, kept for one device at a time: all history comes by here in each job.
        relative = os.path.relpath(folder, root)
        is_device = relative != "." and "/" not in relative
        found: list[tuple[int, str]] = []
        for name in names:
            output_name = output_name_of(name) if is_device else None
            seconds = seconds_of(output_name) if output_name else None
            if seconds is None:
                log.warning("%s: not counted: not <device>/<timestamp>.json", os.path.normpath(f"{relative}/{name}"))
            else:
                found.append((seconds, name))
        if found:
            _count_times(tally, relative, [seconds for seconds, _ in found])
        for seconds, name in heapq.nlargest(classes_from_newest, found):
            item = (seconds, f"{folder}/{name}")
            if len(newest) < classes_from_newest:
                heapq.heappush(newest, item)
            elif heapq.heappushpop(newest, item) is item:
                break
    _count_classes(tally, (Path(path) for _, path in sorted(newest, reverse=True)))
    return tally


def _count_times(tally: Tally, device: str, times: list[int]) -> None:
    """Add the threats of one device, which come once."""
    tally.devices[device] = len(times)
    for step, number in Counter(seconds // _STEP for seconds in times).items():
        local = datetime.fromtimestamp(step * _STEP, tz=tally.zone)
        tally.days[local.date()] += number
        tally.hours[local.hour] += number
    first, last = (datetime.fromtimestamp(pick(times), tz=tally.zone) for pick in (min, max))
    tally.first = first if tally.first is None else min(tally.first, first)
    tally.last = last if tally.last is None else max(tally.last, last)


def _count_classes(tally: Tally, paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            labels = [found.label for found in Threat.read(read_json(path)).objects]
        except (StageError, RecordError) as exc:
            log.warning("%s/%s: its classes are not counted: %s", path.parent.name, path.name, exc)
            continue
        tally.classes.update(labels)
        tally.classes_from += 1
