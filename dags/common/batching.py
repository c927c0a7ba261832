"""Cutting a listing of any length into batches, in manifests, with only one batch in memory."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from airflow_pachyderm.files import SourceFile, open_filesystem, read_manifest_lines, write_manifest


@dataclass(frozen=True)
class Limits:
    """How large batches and their number may be.

    :ivar files: Files of one batch; more when there would be too many batches.
    :ivar size_bytes: Bytes of one batch, likewise. A larger file is a batch of its own.
    :ivar batches: Batches of one run.
    """

    files: int
    size_bytes: int
    batches: int

    def grown(self, factor: int) -> "Limits":
        """Limits for fewer, larger batches."""
        return Limits(self.files * factor, self.size_bytes * factor, self.batches)


@dataclass(frozen=True)
class Plan:
    """The batches of one run.

    :ivar manifests: URLs, one per batch.
    """

    manifests: list[str]
    files: int
    size_bytes: int


def run_folder(staging: str, dag_id: str, run_id: str) -> str:
    """The folder for a run's manifests: short, since its URL is repeated in every batch's, and the same whenever the run is repeated."""
    return f"{staging.rstrip('/')}/{hashlib.sha256(f'{dag_id}/{run_id}'.encode()).hexdigest()[:16]}"


def plan_batches(files: Iterable[SourceFile], *, folder: str, limits: Limits) -> Plan:
    """Write the manifests of a run; those of an earlier try are replaced.

    :param files: What to push, in order; read once.
    :param folder: URL of the run's own folder.
    """
    filesystem, path = open_filesystem(folder)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)
    listing = f"{folder}/listing.jsonl"
    write_manifest(listing, files)
    count, size_bytes = 0, 0
    for file in read_manifest_lines(listing):
        count, size_bytes = count + 1, size_bytes + (file.size_bytes or 0)
    limits = fitting(lambda: read_manifest_lines(listing), limits)
    manifests = []
    for number, batch in enumerate(cut(read_manifest_lines(listing), limits)):
        manifests.append(f"{folder}/{number:04}.jsonl")
        write_manifest(manifests[-1], batch)
    return Plan(manifests, count, size_bytes)


def fitting(listed: Callable[[], Iterable[SourceFile]], limits: Limits) -> Limits:
    """Limits by which a listing gives no more batches than it may.

    :param listed: Gives the files; called several times.
    """
    while (batches := sum(1 for _ in cut(listed(), limits))) > limits.batches:
        limits = limits.grown(math.ceil(batches / limits.batches))
    return limits


def cut(files: Iterable[SourceFile], limits: Limits) -> Iterator[list[SourceFile]]:
    """The batches of a listing, by count and by bytes."""
    batch: list[SourceFile] = []
    size_bytes = 0
    for file in files:
        size = file.size_bytes or 0
        if batch and (len(batch) >= limits.files or size_bytes + size > limits.size_bytes):
            yield batch
            batch, size_bytes = [], 0
        batch.append(file)
        size_bytes += size
    if batch:
        yield batch
