"""What a night's images are, and which of them no run has taken yet.

Every day has a folder of manifests in the staging area, its ledger, to which runs only add. A repeated run of the day finds its batches
there as they were, so that nothing is pushed twice; what came since becomes further batches. A file that belongs to a day whose ledger
exists but is not in it came late, and the next night takes it.
"""

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final
from zoneinfo import ZoneInfo

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import (
    SourceFile,
    is_folder,
    list_folder,
    open_filesystem,
    read_manifest,
    replacing,
    repo_path,
    write_manifest,
)
from dags import settings
from dags.common.batching import Limits, cut, fitting
from dags.common.landing import Entry, Found, PassedOver, count_files, entries, folder_roots, list_images, require_folder, root_of, unique
from dags.common.push_run import batch_limits
from dags.common.sources import local_roots
from stages.contract.names import BadNameError, time_in_name

log = logging.getLogger(__name__)

Begun = frozenset[date]

_BEGUN: Final = "begun"  # a file in every ledger
_VERSIONS: Final = "versions.json"  # another one: the version of each image when it was listed
_WAITS: Final = "no run has had its day: start a backfill, or a run by hand for it"


@dataclass(frozen=True)
class Night:
    """What one run is to push.

    :ivar manifests: URLs of its batches, those of late files last.
    :ivar late: Late files by the day that they belong to.
    :ivar passed_over: What lies in the landing area and is not pushed, and why; as :meth:`PassedOver.as_json` gives it.
    """

    day: date
    manifests: list[str]
    late: dict[str, int]
    passed_over: list[dict[str, Any]] = field(default_factory=list)


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


def landed(
    landing: str, days: Collection[date], *, zone: ZoneInfo, passed: PassedOver, begun: Begun | None = None, roots: Sequence[str] = ()
) -> dict[date, list[Found]]:
    """The images of some days in the landing area, in both layouts: below ``YYYY/MM/DD/``, and flat with a timestamp in the name.

    :param days: The first is the one that the caller is about: when its folder cannot be read, that is an error. Of the others it is told.
    :param passed: Gets what is not listed.
    :param begun: Which days a run has had; with it, images of days that wait for a run are told too.
    :param roots: Real paths of further folders that links may lead into.
    :raises PachydermSourceError: There is no landing area, or it cannot be read.
    """
    require_folder(landing)
    own = folder_roots(landing)
    roots = [*own, *roots] if own else []
    found: dict[date, list[Found]] = {day: [] for day in days}
    for number, day in enumerate(days):
        folder = f"{landing.rstrip('/')}/{day:%Y/%m/%d}"
        try:
            if is_folder(folder):
                found[day] += list_images(folder, "**", passed, shown=f"{day:%Y/%m/%d}", roots=roots)
        except PachydermSourceError as exc:
            if number == 0:
                raise
            passed.add(f"an earlier day that cannot be looked at: {exc}", f"{day:%Y/%m/%d}/")
    flat = _Flat(found, zone, passed, begun)
    root = entries(landing, "", passed, roots=roots)
    base = landing.rstrip("/") if "://" in landing else f"file://{open_filesystem(landing)[1].rstrip('/')}"
    for entry in root:
        if entry.kind == "file":
            flat.take(entry, f"{base}/{entry.name}", within=root_of(entry.link_to, roots) if entry.link_to else next(iter(roots), ""))
    _look_for_odd_folders(landing, root, days, passed, begun, roots)
    return found


class _Flat:
    """Files that lie directly in the landing area."""

    def __init__(self, found: dict[date, list[Found]], zone: ZoneInfo, passed: PassedOver, begun: Begun | None) -> None:
        self._found, self._zone, self._passed, self._begun = found, zone, passed, begun
        self._today = datetime.now(tz=zone).date()
        self._last = max(found, default=self._today)

    def take(self, entry: Entry, url: str, *, within: str) -> None:
        """Give a file to its day, or say why it has none."""
        if entry.name.startswith("."):
            self._passed.add("its name begins with a dot", entry.name)
            return
        try:
            day = datetime.fromtimestamp(time_in_name(entry.name), tz=self._zone).date()
        except BadNameError as exc:
            self._passed.add(f"no day in its name, nor in a folder YYYY/MM/DD: {exc.why}", entry.name)
            return
        if day in self._found:
            self._found[day].append(Found(SourceFile(repo_path(entry.name), url, entry.size, within), entry.version))
        elif day > self._today + timedelta(days=1):
            self._passed.add("its day has not come: is the camera's clock right?", f"{entry.name} ({day})")
        elif self._begun is not None and day < self._last and day not in self._begun:
            self._passed.add(_WAITS, f"{entry.name} ({day})")


def _look_for_odd_folders(
    landing: str, root: Sequence[Entry], days: Collection[date], passed: PassedOver, begun: Begun | None, roots: Sequence[str]
) -> None:
    """Tell of what lies beside the folders of days, as far as the years and months of these days go."""
    for level, pattern in (("", "%Y"), ("%Y", "%m"), ("%Y/%m", "%d")):
        for shown in sorted({f"{day:{level}}" if level else "" for day in days}):
            folder = f"{landing.rstrip('/')}/{shown}".rstrip("/")
            if shown and not _is_readable_folder(folder):
                continue
            for entry in entries(folder, shown, passed, roots=roots) if shown else root:
                name = f"{shown}/{entry.name}".lstrip("/")
                if entry.kind == "file":
                    if shown:
                        passed.add("not in the folder of a day, YYYY/MM/DD", name)
                elif why := _why_not_taken(name, pattern, days, begun):
                    passed.add(why, f"{name}/", count=max(1, count_files(f"{folder}/{entry.name}")))


def _why_not_taken(name: str, pattern: str, days: Collection[date], begun: Begun | None) -> str:
    """Why nothing in a folder is taken, empty where something may be.

    :param pattern: What the last part of its name should be.
    """
    if not _is_part_of_date(name.rpartition("/")[2], pattern):
        return "in a folder that is none of a day, YYYY/MM/DD"
    if pattern != "%d" or begun is None:
        return ""
    day = datetime.strptime(name, "%Y/%m/%d").date()  # noqa: DTZ007 - a day has no zone
    return _WAITS if day < max(days) and day not in begun and day not in days else ""


def _is_readable_folder(folder: str) -> bool:
    try:
        return is_folder(folder)
    except PachydermSourceError:  # told where its day is looked for
        return False


def _is_part_of_date(name: str, pattern: str) -> bool:
    try:
        return f"{datetime.strptime(name, pattern):{pattern}}" == name  # noqa: DTZ007 - a day has no zone
    except ValueError:
        return False


def plan_night(
    config: settings.Settings, day: date, *, batch_files: int, late_days: int, zone: ZoneInfo, tell_waiting: bool = True
) -> Night:
    """Bring the ledgers up to date with the landing area, and say what the night's run pushes.

    Tonight depends on no earlier day: what is odd there is told, and the rest done.

    :param late_days: How many earlier days to look through for late files.
    :param tell_waiting: Also tell of images whose days no run has had.
    :raises PachydermSourceError: As :func:`landed`.
    """
    if not config.landing:
        raise PachydermInvalidError(
            "No landing area is named: set the Airflow Variable tuskwatch_landing, or TUSKWATCH_LANDING, to the folder or URL of the images"
        )
    if day > datetime.now(tz=zone).date():
        raise PachydermInvalidError(f"Day is {day}, which has not come: no image can be of it; correct Day")
    begun = _begun_days(config)
    earlier = [day - timedelta(days=back) for back in range(1, late_days + 1)]
    earlier = [other for other in earlier if other in begun]
    passed = PassedOver()
    files = landed(
        config.landing, [day, *earlier], zone=zone, passed=passed, begun=begun if tell_waiting else None, roots=local_roots(config)
    )
    limits = batch_limits(ledger(config, day), batch_files)
    _add(ledger(config, day), files[day], passed, prefix="", limits=limits)
    manifests = [url for url in _manifests(ledger(config, day)) if not _is_late(url)]
    late: dict[str, int] = {}
    for other in earlier:
        prefix = f"late-{day}-of-{other}-"  # a name of its own within the night: the push's key is made of it
        _add(ledger(config, other), files[other], passed, prefix=prefix, limits=limits, others=len(manifests))
        mine = [url for url in _manifests(ledger(config, other)) if PurePosixPath(url).name.startswith(prefix)]
        if mine:
            late[str(other)] = sum(len(read_manifest(url)) for url in mine)
            manifests += mine
    return Night(day, manifests, late, passed.as_json())


def _begun_days(config: settings.Settings) -> Begun:
    """The days that have a ledger."""
    folder = f"{config.staging.rstrip('/')}/nightly"
    if not is_folder(folder):
        return frozenset()
    names = (entry.name for entry in entries(folder, "", PassedOver()))
    return frozenset(date.fromisoformat(name) for name in names if _is_part_of_date(name, "%Y-%m-%d"))


def ledger(config: settings.Settings, day: date) -> str:
    """URL of a day's ledger."""
    return f"{config.staging.rstrip('/')}/nightly/{day}"


def _manifests(folder: str) -> list[str]:
    return [file.url for file in list_folder(folder, "*.jsonl")] if is_folder(folder) else []


def _is_late(url: str) -> bool:
    return PurePosixPath(url).name.startswith("late-")


def _add(folder: str, found: Sequence[Found], passed: PassedOver, *, prefix: str, limits: Limits, others: int = 0) -> None:
    """Add to a ledger what is not in it. An image that was written again since moves from its old batch into a new one.

    :param found: The day's images, of which two may have one name.
    :param others: Batches that the run has besides.
    """
    urls = _manifests(folder)
    batches = {url: read_manifest(url) for url in urls}
    listed = {file.url for batch in batches.values() for file in batch}
    files = list(unique(found, passed, preferred=listed))  # what was pushed already stays the one of its name
    by_path = {one.file.path: one for one in files}
    versions = _versions(folder)
    known: set[str] = set()
    for url, batch in batches.items():
        kept = [file for file in batch if not _was_rewritten(file, by_path.get(file.path), versions)]
        if len(kept) < len(batch):
            log.warning("%d images of %s changed since they were listed", len(batch) - len(kept), url)
            _replace(url, kept)
        known.update(file.path for file in kept)
    names = (PurePosixPath(url).stem for url in urls)
    numbers = [int(name.removeprefix(prefix)) for name in names if re.fullmatch(rf"{re.escape(prefix)}\d+", name)]
    # Also an empty night leaves its ledger, so that late files are seen as such; an object store has no folder without a file.
    write_manifest(f"{folder}/{_BEGUN}", [])
    added = [one.file for one in files if one.file.path not in known]
    limits = fitting(lambda: added, replace(limits, batches=max(1, limits.batches - others - len(numbers))))
    for number, batch in enumerate(cut(added, limits), start=max(numbers, default=-1) + 1):
        write_manifest(f"{folder}/{prefix}{number:04}.jsonl", batch)
    now = {one.file.path: one.version for one in files if one.version}
    if now.items() - versions.items():
        with replacing(f"{folder}/{_VERSIONS}") as stream:  # last: after an interruption an image is pushed once more, and none is missed
            stream.write(json.dumps({**versions, **now}).encode())


def _was_rewritten(file: SourceFile, now: Found | None, versions: Mapping[str, str]) -> bool:
    if now is None:  # cleared away since
        return False
    before = versions.get(file.path, "")
    return now.file.size_bytes != file.size_bytes or bool(before and now.version and now.version != before)


def _versions(folder: str) -> dict[str, str]:
    filesystem, path = open_filesystem(f"{folder}/{_VERSIONS}")
    try:
        found: dict[str, str] = json.loads(filesystem.cat_file(path))
    except FileNotFoundError:
        return {}
    return found


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
    # Nor does it tell of days without a run, which are those that it is about to do.
    tell_waiting = run_type != "backfill"
    night = plan_night(config, day, batch_files=int(params["batch_size"]), late_days=late_days, zone=zone, tell_waiting=tell_waiting)
    log.info("%s: %d batches; late files: %s", day, len(night.manifests), night.late or "none")
    for odd in night.passed_over:
        log.warning("Passed over: %d, %s: %s", odd["count"], odd["why"], ", ".join(odd["names"]))
    return night
