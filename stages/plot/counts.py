"""Counting threats: by device and time from the paths alone, by class from the newest files."""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from stages.common.errors import StageError
from stages.common.files import read_json, walk_files
from stages.common.names import seconds_of

log = logging.getLogger(__name__)

CLASSES_FROM_NEWEST = 1000


@dataclass
class Counts:
    """Threats, that is images with at least one threatening object.

    :ivar devices: Threats by device.
    :ivar days: Threats by day, UTC.
    :ivar hours: Threats by hour of the day, UTC.
    :ivar classes: Objects by label, in the newest ``classes_from`` threats.
    """

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

    def as_json(self) -> dict[str, Any]:
        """Return the counts as ``threats.json`` has them; names and days in order, classes by falling count."""
        return {
            "schema": "tuskwatch.plot/1",
            "total": self.total,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "devices": dict(sorted(self.devices.items())),
            "per_day": {day.isoformat(): self.days[day] for day in sorted(self.days)},
            "per_hour": {f"{hour:02}": self.hours[hour] for hour in sorted(self.hours)},
            "classes": dict(sorted(self.classes.items(), key=lambda item: (-item[1], item[0]))),
            "classes_from_newest": self.classes_from,
        }


def count_threats(root: Path, *, classes_from_newest: int = CLASSES_FROM_NEWEST) -> Counts:
    """Count the threat files ``<device>/<timestamp>.json`` under ``root``.

    Device and time stand in the path. Classes are read from the newest files only: that bounds the cost of a job as history grows.

    :param root: Output folder of threat-detect; one that is missing holds no threat.
    """
    counts = Counts()
    newest: list[tuple[int, str, Path]] = []
    for path in walk_files(root) if root.exists() else ():
        seconds = _seconds(path, root)
        if seconds is None:
            continue
        moment = datetime.fromtimestamp(seconds, tz=UTC)
        counts.devices[path.parent.name] += 1
        counts.days[moment.date()] += 1
        counts.hours[moment.hour] += 1
        counts.first = min(counts.first or moment, moment)
        counts.last = max(counts.last or moment, moment)
        entry = (seconds, str(path), path)
        if len(newest) < classes_from_newest:
            heapq.heappush(newest, entry)
        else:
            heapq.heappushpop(newest, entry)
    _count_classes(counts, (path for _, _, path in newest))
    return counts


def _seconds(path: Path, root: Path) -> int | None:
    """Return the time of a threat file, None (and a line in the log) for anything else."""
    relative = path.relative_to(root)
    seconds = seconds_of(path.stem) if len(relative.parts) == 2 and path.suffix == ".json" else None
    if seconds is None:
        log.warning("%s: not counted: not <device>/<timestamp>.json", relative)
    return seconds


def _count_classes(counts: Counts, paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            value = read_json(path)
            labels = [str(found["label"]) for found in value["objects"]]
        except (StageError, KeyError, TypeError) as exc:
            log.warning("%s/%s: its classes are not counted: %s", path.parent.name, path.name, exc)
            continue
        counts.classes.update(labels)
        counts.classes_from += 1
