"""Jobs by commit set, their datums and logs."""

import logging
from collections import deque
from dataclasses import asdict
from typing import Any, Final

from airflow_pachyderm.client.answers import repo_type_of
from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.dashboard import convert, models
from airflow_pachyderm.dashboard.errors import NotOfferedError, NotThereError
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.exceptions import PachydermError, PachydermNotFoundError, PachydermUnavailableError
from airflow_pachyderm.pod_logs import read_pod_logs

log = logging.getLogger(__name__)

LOG_LINES: Final = 500
OUTPUTS: Final = 100
_SCAN_SECONDS: Final = 4.0
_SCANNED: Final = 20_000  # files of an output commit looked at for a datum's


def list_job_sets(gateway: Gateway, *, limit: int, before: str | None) -> models.JobSets:
    """The newest commit sets that have jobs.

    :param before: ``next`` of the page before.
    """
    request = pps_pb2.ListJobSetRequest(projects=[gateway.project()], number=limit + 1)
    if before:
        nanoseconds = int(before)
        request.paginationMarker.seconds, request.paginationMarker.nanos = divmod(nanoseconds, 1_000_000_000)
    found = gateway.stream(gateway.pps.ListJobSet, request, action="list job sets").first(limit + 1)
    items = [convert.job_set(info.job_set.id, info.jobs) for info in found[:limit]]
    return models.JobSets(items=items, next=_marker(found[limit - 1]) if len(found) > limit else None)


def _marker(info: Any) -> str:
    """Where the page after this set begins: the creation of its oldest job, exactly. Servers page over jobs, and each names its set."""
    return str(min(job.created.seconds * 1_000_000_000 + job.created.nanos for job in info.jobs))


def read_job_set(gateway: Gateway, set_id: str) -> models.JobSetDetail:
    """One commit set: its jobs, upstream ones first, and the commits that started it.

    :raises NotThereError: There is no such commit set.
    """
    jobs = gateway.stream(
        gateway.pps.InspectJobSet, pps_pb2.InspectJobSetRequest(job_set=pps_pb2.JobSet(id=set_id)), action="inspect job set"
    )
    commits = gateway.stream(
        gateway.pfs.InspectCommitSet, pfs_pb2.InspectCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=set_id)), action="inspect commit set"
    )
    try:
        pushed = [convert.pushed(info) for info in commits if _is_push(info, set_id)]
        found = convert.job_set(set_id, jobs)
    except PachydermNotFoundError as exc:
        raise NotThereError(f"There is no commit set {set_id}") from exc
    return models.JobSetDetail(**found.model_dump(), pushed=pushed)


def _is_push(info: Any, set_id: str) -> bool:
    # The set also lists older commits that its commits build on.
    return bool(info.commit.id == set_id and info.origin.kind == pfs_pb2.USER and repo_type_of(info.commit) == "user")


def read_job(gateway: Gateway, pipeline: str, job_id: str) -> models.Job:
    """One job.

    :raises NotThereError: There is no such job.
    """
    request = pps_pb2.InspectJobRequest(job=gateway.job(pipeline, job_id))
    try:
        return convert.job(gateway.ask(gateway.pps.InspectJob, request, action=f"inspect job {pipeline}@{job_id}"))
    except PachydermNotFoundError as exc:
        raise NotThereError(f"Pipeline {pipeline} has no job {job_id}") from exc


def list_datums(gateway: Gateway, pipeline: str, job_id: str, *, limit: int, after: str | None, state: str | None) -> models.Datums:
    """A job's datums. While it runs, those that are done.

    :param after: ``next`` of the page before.
    :param state: Only those in this state: ``failed``, ``success``, ``skipped``, ``recovered``.
    """
    request = pps_pb2.ListDatumRequest(job=gateway.job(pipeline, job_id), number=limit + 1, paginationMarker=after or "")
    if state:
        request.filter.state.append(pps_pb2.DatumState.Value(state.upper()))
    found = gateway.stream(gateway.pps.ListDatum, request, action=f"list datums of {pipeline}@{job_id}").first(limit + 1)
    items = [convert.datum(info) for info in found[:limit]]
    return models.Datums(items=items, next=items[-1].id if len(found) > limit else None)


def read_datum(gateway: Gateway, pipeline: str, job_id: str, datum_id: str) -> models.DatumDetail:
    """A datum with its inputs, and what it wrote as far as the server keeps that apart.

    :raises NotThereError: The job has no such datum.
    """
    request = pps_pb2.InspectDatumRequest(datum=pps_pb2.Datum(job=gateway.job(pipeline, job_id), id=datum_id))
    try:
        info = gateway.ask(gateway.pps.InspectDatum, request, action=f"inspect datum {datum_id} of {pipeline}@{job_id}")
    except PachydermNotFoundError as exc:
        raise NotThereError(f"Job {job_id} of pipeline {pipeline} has no datum {datum_id}") from exc
    outputs, note = _outputs(gateway, info, pipeline=pipeline, job_id=job_id)
    return models.DatumDetail(
        **convert.datum(info).model_dump(), files=[convert.file_ref(item) for item in info.data], outputs=outputs, outputs_note=note
    )


def _outputs(gateway: Gateway, info: Any, *, pipeline: str, job_id: str) -> tuple[list[models.FileRef], str]:
    """What the datum wrote: its folder ``out`` in the pipeline's meta repo, given as the same files of the output commit."""
    state = info.pfs_state
    root = f"{state.path.rstrip('/')}/out"
    request = pfs_pb2.WalkFileRequest(file=pfs_pb2.File(commit=state.commit, path=root), number=OUTPUTS + 1)
    try:
        found = gateway.stream(gateway.pfs.WalkFile, request, action="list a datum's outputs").first(OUTPUTS + 1)
    except (PachydermNotFoundError, NotOfferedError):  # a server without that copy in the meta repo, or nothing was written
        return _tagged_outputs(gateway, info.datum.id, pipeline=pipeline, job_id=job_id)
    files = [
        models.FileRef(
            repo=pipeline, commit=job_id, path=item.file.path.removeprefix(root) or "/", size_bytes=item.size_bytes, digest=item.hash.hex()
        )
        for item in found[:OUTPUTS]
        if item.file_type == pfs_pb2.FILE
    ]
    return files, f"Only the first {OUTPUTS} are shown." if len(found) > OUTPUTS else ""


def _tagged_outputs(gateway: Gateway, datum_id: str, *, pipeline: str, job_id: str) -> tuple[list[models.FileRef], str]:
    """What the datum wrote, by the mark that a worker leaves on each file of the output commit."""
    request = pfs_pb2.GlobFileRequest(commit=gateway.commit(pipeline, job_id), pattern="/**")
    stream = gateway.stream(gateway.pfs.GlobFile, request, action="look for a datum's outputs", timeout=_SCAN_SECONDS)
    files: list[models.FileRef] = []
    try:
        for scanned, item in enumerate(stream):
            if item.file.datum == datum_id and item.file_type == pfs_pb2.FILE:
                files.append(convert.file_ref(item))
            if len(files) == OUTPUTS or scanned == _SCANNED:
                stream.cancel()
                return files, "There may be more: the output commit has all files of the job."
    except PachydermUnavailableError:
        return files, "There may be more, but the search took too long: the output commit has all files of the job."
    except PachydermNotFoundError:
        return [], "The output commit is gone."
    return files, ""


def read_log(gateway: Gateway, pipeline: str, job_id: str, *, datum_id: str | None) -> models.Log:
    """The last lines of a job's log, or of one datum's: from Pachyderm, else from its workers' pods, else the reason why there are none."""
    request = pps_pb2.GetLogsRequest(pipeline=gateway.pipeline(pipeline), job=gateway.job(pipeline, job_id))
    if datum_id:
        request.datum.CopyFrom(pps_pb2.Datum(job=gateway.job(pipeline, job_id), id=datum_id))
    lines: deque[Any] = deque(maxlen=LOG_LINES + 1)
    refused = False
    try:
        lines.extend(map(convert.log_line, gateway.stream(gateway.pps.GetLogs, request, action=f"read logs of {pipeline}@{job_id}")))
    except PachydermUnavailableError:
        raise
    except PachydermError as exc:
        log.warning("%s", exc)
        refused = True
    cluster, note = gateway.connection.cluster, ""
    if not lines and cluster is not None:
        try:
            pods = read_pod_logs(cluster, project=gateway.connection.project, pipeline=pipeline, job=job_id, datum=datum_id or "")
            lines.extend(models.LogLine(**asdict(line)) for line in pods)
            note = "Pachyderm keeps no logs here; these are from the pods of its workers."
        except PachydermError as exc:
            log.warning("Cannot read the pods' logs of %s@%s: %s", pipeline, job_id, exc)
            note = f"Pachyderm keeps no logs here, and there are none in its workers' pods: {exc}."
    elif refused:
        note = "Pachyderm cannot give it: without Loki it has only what living workers wrote. The log of Airflow's API server says more."
    cut = len(lines) > LOG_LINES
    return models.Log(lines=list(lines)[-LOG_LINES:], cut=cut, note=note)
