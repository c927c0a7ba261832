"""What a night's images are, and which of them no run has taken yet.

Every day has a folder of manifests in the staging area, its ledger, to which runs only add. A repeated run of the day finds its batches
there as they were, so that nothing is pushed twice; what came since becomes further batches. A file that belongs to a day whose ledger
exists but is not in it came late, and the next night takes it.
"""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.files import SourceFile, is_folder, list_folder, open_filesystem, read_manifest, write_manifest
from dags import settings
from dags.common.batching import Limits, cut, fitting
from dags.common.push_run import batch_limits, unique

log = logging.getLogger(__name__)

_BEGUN: Final = "begun"  # a file in every ledger
_TIMESTAMP: Final = re.compile(r"_([0-9]{10,11})\.[^.]+")


@dataclass(frozen=True)
class Night:
    """What one run is to push.

    :ivar manifests: URLs of its batches, those of late files last.
    :ivar late: Late files by the day that they belong to.
    """

    day: date
    manifests: list[str]
    late: dict[str, int]


def day_of_run(*, run_type: str, run_after: datetime, interval_start: datetime | None, wanted: str | None, zone: ZoneInfo) -> date:
    """The day whose images a run takes, in the installation's time zone.

    A scheduled run and a backfill take the day that their data interval begins on, whatever the form names: Airflow gives all runs of a
    backfill the same Params. A run by hand takes the day that its form names, or yesterday, whether or not it has a logical date.

    :param wanted: From the form, ``YYYY-MM-DD``.
    :raises PachydermInvalidError: It is no date.
    """
    if interval_start and run_type in ("scheduled", "backfill"):
        day = interval_start.astimezone(zone).date()
        if wanted:
            log.warning("Day %s is for a run by hand: this one (%s) takes its own, %s", wanted, run_type, day)
        return day
    if wanted:
        try:
            return date.fromisoformat(wanted)
        except ValueError as exc:
            raise PachydermInvalidError(f"Day is {wanted!r}, which is no date; write it as 2026-11-22") from exc
    return run_after.astimezone(zone).date() - timedelta(days=1)


def landed(landing: str, days: Collection[date], *, zone: ZoneInfo) -> dict[date, list[SourceFile]]:
    """The images of some days in the landing area, in both layouts: below ``YYYY/MM/DD/``, and flat with a timestamp in the name.

    :raises PachydermSourceError: The landing area cannot be read, or two images of a day have one name.
    """
    found: dict[date, list[SourceFile]] = {day: [] for day in days}
    for day in days:
        folder = f"{landing.rstrip('/')}/{day:%Y/%m/%d}"
        if is_folder(folder):
            found[day] += list_folder(folder, "**")
    for file in list_folder(landing, "*"):
        day_or_none = _day_in_name(file.path, zone)
        if day_or_none in found:
            found[day_or_none].append(file)
    return {day: list(unique(files)) for day, files in found.items()}


def _day_in_name(path: str, zone: ZoneInfo) -> date | None:
    match = _TIMESTAMP.search(path)
    return datetime.fromtimestamp(int(match[1]), tz=zone).date() if match else None


def plan_night(config: settings.Settings, day: date, *, batch_files: int, late_days: int, zone: ZoneInfo) -> Night:
    """Bring the ledgers up to date with the landing area, and say what the night's run pushes.

    :param late_days: How many earlier days to look through for late files.
    :raises PachydermSourceError: As :func:`landed`.
    """
    if not config.landing:
        raise PachydermInvalidError(
            "No landing area is named: set the Airflow Variable tuskwatch_landing, or TUSKWATCH_LANDING, to the folder or URL of the images"
        )
    earlier = [day - timedelta(days=back) for back in range(1, late_days + 1)]
    earlier = [other for other in earlier if is_folder(ledger(config, other))]
    files = landed(config.landing, [day, *earlier], zone=zone)
    limits = batch_limits(ledger(config, day), batch_files)
    _add(ledger(config, day), files[day], prefix="", limits=limits)
    manifests = [url for url in _manifests(ledger(config, day)) if not _is_late(url)]
    late: dict[str, int] = {}
    for other in earlier:
        prefix = f"late-{day}-of-{other}-"  # a name of its own within the night: the push's key is made of it
        _add(ledger(config, other), files[other], prefix=prefix, limits=limits, others=len(manifests))
        mine = [url for url in _manifests(ledger(config, other)) if PurePosixPath(url).name.startswith(prefix)]
        if mine:
            late[str(other)] = sum(len(read_manifest(url)) for url in mine)
            manifests += mine
    return Night(day, manifests, late)


def ledger(config: settings.Settings, day: date) -> str:
    """URL of a day's ledger."""
    return f"{config.staging.rstrip('/')}/nightly/{day}"


def _manifests(folder: str) -> list[str]:
    return [file.url for file in list_folder(folder, "*.jsonl")] if is_folder(folder) else []


def _is_late(url: str) -> bool:
    return PurePosixPath(url).name.startswith("late-")


def _add(folder: str, files: Sequence[SourceFile], *, prefix: str, limits: Limits, others: int = 0) -> None:
    """Add to a ledger what is not in it. An image that changed its size since moves from its old batch into a new one.

    :param others: Batches that the run has besides.
    """
    sizes = {file.path: file.size_bytes for file in files}
    known: set[str] = set()
    urls = _manifests(folder)
    for url in urls:
        batch = read_manifest(url)
        kept = [file for file in batch if sizes.get(file.path, file.size_bytes) == file.size_bytes]
        if len(kept) < len(batch):
            log.warning("%d images of %s changed since they were listed", len(batch) - len(kept), url)
            _replace(url, kept)
        known.update(file.path for file in kept)
    names = (PurePosixPath(url).stem for url in urls)
    numbers = [int(name.removeprefix(prefix)) for name in names if re.fullmatch(rf"{re.escape(prefix)}\d+", name)]
    # Also an empty night leaves its ledger, so that late files are seen as such; an object store has no folder without a file.
    write_manifest(f"{folder}/{_BEGUN}", [])
    added = [file for file in files if file.path not in known]
    limits = fitting(lambda: added, replace(limits, batches=max(1, limits.batches - others - len(numbers))))
    for number, batch in enumerate(cut(added, limits), start=max(numbers, default=-1) + 1):
        write_manifest(f"{folder}/{prefix}{number:04}.jsonl", batch)


def _replace(url: str, files: Sequence[SourceFile]) -> None:
    if files:
        write_manifest(url, files)
    else:
        filesystem, path = open_filesystem(url)
        filesystem.rm(path)


def night_of_context(context: Mapping[str, Any], config: settings.Settings) -> Night:
    """The night of an Airflow run; see :func:`plan_night`."""
    params, run = context["params"], context["dag_run"]
    zone = ZoneInfo(settings.TIMEZONE)
    run_type = str(getattr(run.run_type, "value", run.run_type))
    day = day_of_run(
        run_type=run_type,
        run_after=run.run_after,
        interval_start=getattr(run, "data_interval_start", None),
        wanted=params["day"],
        zone=zone,
    )
    # A backfill looks at its own days only: their order is not that of the calendar.
    late_days = 0 if run_type == "backfill" else int(params["late_days"])
    night = plan_night(config, day, batch_files=int(params["batch_size"]), late_days=late_days, zone=zone)
    log.info("%s: %d batches; late files: %s", day, len(night.manifests), night.late or "none")
    return night
