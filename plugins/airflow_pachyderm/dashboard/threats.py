"""Threats: the results of the pipeline, newest first, and the way of each image through it.

Where the files lie and what stands in them is in :mod:`stages.contract`. Their paths carry device and time, so finding the newest reads no
contents.
"""

import heapq
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.dashboard import convert, models
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.files import start_reading
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.repos import newest_finished
from airflow_pachyderm.exceptions import PachydermNotFoundError
from stages.contract import layout
from stages.contract.names import rank_in_second, seconds_of
from stages.contract.pipelines import OBJECT_DETECT, PLOT, THREAT_DETECT
from stages.contract.records import Counts, RecordError, Threat

log = logging.getLogger(__name__)

THREATS: Final = THREAT_DETECT
DETECTIONS: Final = OBJECT_DETECT

MAX_SCANNED: Final = 400  # threats looked at for one page when a filter leaves few of them
MAX_DEVICES: Final = 1000
_RECORD_MAX_BYTES: Final = 1 << 20
_RECORDS_KEPT: Final = 4096
_CHUNK: Final = 40


@dataclass(frozen=True, order=True)
class Place:
    """Where a threat stands in the list: newer ones first, devices by name within a second.

    :ivar minus_rank: Within one device and second, as a listing in reverse order of names has them.
    :ivar timestamp: Name of its files without extension: the seconds, of a PNG with ``_png`` behind them.
    """

    minus_time: int
    device: str
    minus_rank: int
    timestamp: str = field(compare=False)

    @classmethod
    def of(cls, device: str, timestamp: str) -> "Place":
        """The place of one threat.

        :raises ValueError: These are no seconds.
        """
        seconds = seconds_of(timestamp)
        if seconds is None:
            raise ValueError(f"{timestamp} tells no time")
        return cls(-seconds, device, -rank_in_second(timestamp), timestamp)

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read :meth:`__str__`'s form.

        :raises ValueError: It is none.
        """
        timestamp, _, device = text.partition("-")
        return cls.of(device, timestamp)

    def __str__(self) -> str:
        return f"{self.timestamp}-{self.device}"


@dataclass(frozen=True)
class Wanted:
    """Which threats to list.

    :ivar label: Class that one of the objects has.
    :ivar since: First second, Unix.
    :ivar until: Last second, Unix.
    :ivar after: The last threat of the page before.
    """

    device: str | None = None
    label: str | None = None
    since: int | None = None
    until: int | None = None
    after: Place | None = None


def list_threats(gateway: Gateway, wanted: Wanted, *, limit: int) -> models.Threats:
    """Threats, newest first."""
    commit = newest_finished(gateway, THREATS)
    if commit is None:
        return models.Threats(items=[], devices=[], scanned=0)
    devices = _devices(gateway, commit.id)
    chosen = [device for device in devices if wanted.device in (None, device)]
    found: list[tuple[Place, Threat]] = []
    unreadable, scanned, next_place = 0, 0, None
    names = _names(gateway, commit.id, chosen, wanted, batch=min(limit + 1, 100))
    last: Place | None = None
    for chunk in _chunks(names, min(limit, _CHUNK)):
        for (place, _), content in zip(chunk, read_json(gateway, [file for _, file in chunk]), strict=True):
            if len(found) == limit:
                next_place = last
                break
            last, scanned = place, scanned + 1
            record = _readable(content)
            if record is None:
                unreadable += 1
            elif wanted.label is None or wanted.label in {item.label for item in record.objects}:
                found.append((place, record))
        if next_place or scanned >= MAX_SCANNED:
            next_place = next_place or last
            break
    else:
        next_place = None
    images = _annotated(gateway, [place for place, _ in found])
    items = [_threat(place, record, image) for (place, record), image in zip(found, images, strict=True)]
    note = f"{unreadable} records could not be read; the files are in the repo {THREATS}." if unreadable else ""
    return models.Threats(items=items, next=str(next_place) if next_place else None, devices=devices, scanned=scanned, note=note)


def read_record(gateway: Gateway, commit_id: str, device: str, timestamp: str) -> tuple[Threat, dict[str, Any]]:
    """One threat's record, and the whole content of its file.

    :raises NotThereError: There is no such threat, or its file cannot be read.
    """
    path = layout.record(device, timestamp)
    request = pfs_pb2.InspectFileRequest(file=gateway.file(THREATS, commit_id, path))
    try:
        file = convert.file_ref(gateway.ask(gateway.pfs.InspectFile, request, action=f"inspect threat {path}"))
    except PachydermNotFoundError as exc:
        raise NotThereError(f"No threat of device {device} at {timestamp} is recorded") from exc
    [content] = read_json(gateway, [file])
    record = _readable(content)
    if content is None or record is None:
        raise NotThereError(f"The record {path} in repo {THREATS} is not as the stage writes it")
    return record, content


def threat_of(device: str, timestamp: str, record: Threat, image: models.FileRef | None) -> models.Threat:
    """A threat from its record."""
    return _threat(Place.of(device, timestamp), record, image)


def read_counts(gateway: Gateway) -> models.ThreatCounts:
    """Counts of all threats, as the plot stage wrote them."""
    repo, path = PLOT, layout.COUNTS
    commit = newest_finished(gateway, repo)
    if commit is None:
        return models.ThreatCounts(available=False)
    request = pfs_pb2.InspectFileRequest(file=gateway.file(repo, commit.id, path))
    try:
        file = convert.file_ref(gateway.ask(gateway.pfs.InspectFile, request, action="read the counts"))
    except PachydermNotFoundError:
        return models.ThreatCounts(available=False)
    [content] = read_json(gateway, [file])
    try:
        counts = Counts.read(content)
    except RecordError as exc:
        log.warning("%s:%s: %s", repo, path, exc)
        return models.ThreatCounts(available=False)
    return models.ThreatCounts(
        available=True,
        time_zone=counts.time_zone,
        total=counts.total,
        devices=sorted(_bars(counts.devices), key=lambda bar: (-bar.count, bar.name)),
        classes=sorted(_bars(counts.classes), key=lambda bar: (-bar.count, bar.name)),
        days=sorted(_bars(counts.per_day), key=lambda bar: bar.name),
    )


def _bars(counts: Mapping[str, int]) -> list[models.Bar]:
    return [models.Bar(name=name, count=count) for name, count in counts.items()]


# Names


def _devices(gateway: Gateway, commit_id: str) -> list[str]:
    request = pfs_pb2.ListFileRequest(file=gateway.file(THREATS, commit_id, "/"), number=MAX_DEVICES)
    entries = gateway.stream(gateway.pfs.ListFile, request, action="list devices").first(MAX_DEVICES)
    return [info.file.path.strip("/") for info in entries if info.file_type == pfs_pb2.DIR]


def _names(
    gateway: Gateway, commit_id: str, devices: Sequence[str], wanted: Wanted, *, batch: int
) -> Iterator[tuple[Place, models.FileRef]]:
    """The threats of several devices in one order, read from the server a batch per device at a time."""
    first = {device: _start_names(gateway, commit_id, device, _marker(device, wanted), batch) for device in devices}
    per_device = (_device_names(gateway, commit_id, device, first[device], batch) for device in devices)
    for place, file in heapq.merge(*per_device, key=lambda item: item[0]):
        if wanted.after is not None and place <= wanted.after:
            continue
        if wanted.until is not None and -place.minus_time > wanted.until:
            continue
        if wanted.since is not None and -place.minus_time < wanted.since:
            return
        yield place, file


def _marker(device: str, wanted: Wanted) -> str | None:
    """Names up to this one are wanted."""
    bounds = [bound for bound in (wanted.until, -wanted.after.minus_time if wanted.after else None) if bound is not None]
    return layout.last_of_second(device, min(bounds)) if bounds else None


def _start_names(gateway: Gateway, commit_id: str, device: str, marker: str | None, batch: int) -> Any:
    request = pfs_pb2.ListFileRequest(file=gateway.file(THREATS, commit_id, f"/{device}"), number=batch, reverse=True)
    if marker:
        request.paginationMarker.CopyFrom(gateway.file(THREATS, commit_id, marker))
    return gateway.stream(gateway.pfs.ListFile, request, action=f"list threats of {device}")


def _device_names(gateway: Gateway, commit_id: str, device: str, stream: Any, batch: int) -> Iterator[tuple[Place, models.FileRef]]:
    while True:
        infos = stream.first(batch)
        for info in infos:
            timestamp = layout.output_name_of(info.file.path)
            if info.file_type == pfs_pb2.FILE and timestamp is not None:
                yield Place.of(device, timestamp), convert.file_ref(info)
        if len(infos) < batch:
            return
        stream = _start_names(gateway, commit_id, device, infos[-1].file.path, batch)


def _chunks(items: Iterable[tuple[Place, models.FileRef]], size: int) -> Iterator[list[tuple[Place, models.FileRef]]]:
    chunk: list[tuple[Place, models.FileRef]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


# Contents


class _Records:
    """Parsed files by the digest of their file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, dict[str, Any] | None] = OrderedDict()

    def __contains__(self, digest: str) -> bool:
        with self._lock:
            return digest in self._held

    def get(self, digest: str) -> dict[str, Any] | None:
        """The record; None when it cannot be parsed."""
        with self._lock:
            return self._held.get(digest)

    def hold(self, digest: str, record: dict[str, Any] | None) -> None:
        """Remember it, and forget the oldest past the limit."""
        with self._lock:
            self._held[digest] = record
            while len(self._held) > _RECORDS_KEPT:
                self._held.popitem(last=False)


_known: Final = _Records()


def read_json(gateway: Gateway, files: list[models.FileRef]) -> list[dict[str, Any] | None]:
    """The contents of small JSON files, read at once; None where one is no JSON object."""
    streams = {
        file.digest: start_reading(gateway, file) for file in files if file.digest not in _known and file.size_bytes <= _RECORD_MAX_BYTES
    }
    fresh = {digest: _parse(b"".join(part.value for part in stream)) for digest, stream in streams.items()}
    for digest, record in fresh.items():
        _known.hold(digest, record)
    return [fresh.get(file.digest) or _known.get(file.digest) for file in files]


def _parse(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _readable(content: dict[str, Any] | None) -> Threat | None:
    """The threat that a file records; None where it is no such record."""
    try:
        return Threat.read(content)
    except RecordError as exc:
        log.info("A threat is left out: %s", exc)
        return None


def _threat(place: Place, record: Threat, image: models.FileRef | None) -> models.Threat:
    return models.Threat(
        device=place.device,
        timestamp=place.timestamp,
        source=record.source,
        objects=[models.ThreatObject(label=found.label, score=found.score) for found in record.objects],
        alert=record.alert.status,
        image=image,
    )


def _annotated(gateway: Gateway, found: list[Place]) -> list[models.FileRef | None]:
    """The image with boxes of each threat, by its resolved commit and digest."""
    commit = newest_finished(gateway, DETECTIONS) if found else None
    if commit is None:
        return [None] * len(found)
    calls = []
    for place in found:
        path = layout.picture(place.device, place.timestamp)
        request = pfs_pb2.InspectFileRequest(file=gateway.file(DETECTIONS, commit.id, path))
        calls.append(gateway.start(gateway.pfs.InspectFile, request, action=f"inspect {path}"))
    return [_file_or_none(call) for call in calls]


def _file_or_none(call: Any) -> models.FileRef | None:
    try:
        return convert.file_ref(call.result())
    except PachydermNotFoundError:
        return None
