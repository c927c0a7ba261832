"""``pps_v2.API``: translates between messages and :class:`~minipachd.pps.Pps`, and nothing else."""

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any

from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.pps import pps_pb2, pps_pb2_grpc

from minipachd.api import newer
from minipachd.api.pps_messages import (
    datum_info,
    dry_datum_info,
    job_info,
    log_message,
    parse_job,
    pipeline_info,
    pipeline_message,
    secret_info,
)
from minipachd.api.pps_newer import NewerPipelineCalls
from minipachd.api.pps_spec_messages import parse_input, parse_pipeline
from minipachd.api.threads import stream, wait_for
from minipachd.api.transactions import Transactions
from minipachd.errors import InvalidError, UnsupportedError
from minipachd.pfs import CommitSetId, Txn, View
from minipachd.pps import Pps, jobs, pipelines, records
from minipachd.pps.logs import LogQuery
from minipachd.pps.records import Job, Pipeline, PipelineNotFoundError
from minipachd.pps.spec import DatumId, JobKey, PipelineKey

_ANCESTRY = re.compile(r"(.*?)((?:[\^~]\d*)*)")
_STATE_FILTER = re.compile(r'\s*\.state\s*==\s*"([A-Z_]+)"\s*')
_DAY_NS = 24 * 3600 * 10**9
_HOUR_NS = 3600 * 10**9


class PpsService(NewerPipelineCalls, pps_pb2_grpc.APIServicer):  # type: ignore[misc] # generated code has no types
    """Methods of the protocol that are not here are refused by name (:mod:`minipachd.api.errors`)."""

    def __init__(self, pps: Pps, transactions: Transactions) -> None:
        super().__init__(pps, transactions)
        transactions.register("stop_job", self._stop_job)

    # Pipelines

    async def CreatePipeline(self, request: Any, context: Any) -> Any:
        if request.dry_run:
            await asyncio.to_thread(self._rehearse_pipeline, request)
            return Empty()
        return await self._transactions.perform("create_pipeline", request, context)

    async def InspectPipeline(self, request: Any, context: Any) -> Any:
        key = parse_pipeline(request.pipeline)
        name, back = _ancestry(key.name)

        def look(view: View) -> Any:
            pipeline = records.get_pipeline(view.db, PipelineKey(key.project, name))
            if back:
                older = records.find_pipeline(view.db, pipeline.key, version=pipeline.version - back)
                if older is None:
                    raise PipelineNotFoundError(key)
                pipeline = older
            return self._pipeline_info(view, pipeline, details=request.details)

        return self._read(look)

    async def ListPipeline(self, request: Any, context: Any) -> AsyncIterator[Any]:
        wanted = _filter(request.jqFilter, pps_pb2.PipelineState)
        key = parse_pipeline(request.pipeline) if request.HasField("pipeline") and request.pipeline.name else None
        projects = {project.name for project in request.projects}
        set_id = request.commit_set.id

        def look(view: View) -> list[Any]:
            if key is not None:
                records.get_pipeline(view.db, key)
            every = _pipelines_of_set(view, set_id) if set_id else records.list_pipelines(view.db, history=request.history)
            return [
                self._pipeline_info(view, pipeline, details=True)
                for pipeline in every
                if (key is None or pipeline.key == key) and (not projects or pipeline.key.project in projects) and wanted(pipeline.state)
            ]

        for info in await asyncio.to_thread(self._read, look):
            yield info

    async def StartPipeline(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(self._change, lambda txn: pipelines.start(txn, parse_pipeline(request.pipeline)))
        return Empty()

    async def StopPipeline(self, request: Any, context: Any) -> Any:
        key = parse_pipeline(request.pipeline)

        def stop(txn: Txn) -> None:
            _check_exists(txn, key, request)
            pipelines.stop(txn, key)

        await asyncio.to_thread(self._change, stop)
        return Empty()

    async def DeletePipeline(self, request: Any, context: Any) -> Any:
        if request.all:
            await asyncio.to_thread(self._pps.delete_pipelines, force=request.force, keep_repo=request.keep_repo)
        else:
            key = parse_pipeline(request.pipeline)
            self._read(lambda view: _check_exists(view, key, request))
            await asyncio.to_thread(self._pps.delete_pipeline, key, force=request.force, keep_repo=request.keep_repo)
        return Empty()

    async def DeletePipelines(self, request: Any, context: Any) -> Any:
        projects = [project.name for project in request.projects]
        if not projects and not request.all:
            return pps_pb2.DeletePipelinesResponse()
        deleted = await asyncio.to_thread(
            self._pps.delete_pipelines, projects=() if request.all else projects, force=request.force, keep_repo=request.keep_repo
        )
        return pps_pb2.DeletePipelinesResponse(pipelines=[pipeline_message(key) for key in deleted])

    async def RunPipeline(self, request: Any, context: Any) -> Any:
        raise UnsupportedError("RunPipeline is unimplemented in Pachyderm 2: commit to an input, or update the pipeline with reprocess")

    async def RunCron(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(self._pps.run_cron, parse_pipeline(request.pipeline))
        return Empty()

    async def DeleteAll(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(self._pps.delete_all)
        return Empty()

    # Jobs

    async def InspectJob(self, request: Any, context: Any) -> Any:
        key = parse_job(request.job)

        def look() -> Any:
            return self._read(ended)

        def ended(view: View) -> Any:
            job = records.get_job(view.db, key)
            return None if request.wait and not job.terminal else self._job_info(view, job, details=request.details)

        return await wait_for(self._pps.changes, look)

    async def InspectJobSet(self, request: Any, context: Any) -> AsyncIterator[Any]:
        set_id = request.job_set.id
        if not set_id:
            raise InvalidError("must specify a job set")
        for key in [job.key for job in await asyncio.to_thread(self._read, lambda view: records.job_set(view.db, set_id))]:
            yield await self.InspectJob(
                pps_pb2.InspectJobRequest(
                    job=pps_pb2.Job(pipeline=pipeline_message(key.pipeline), id=key.id), wait=request.wait, details=request.details
                ),
                context,
            )

    async def ListJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        infos = await asyncio.to_thread(self._read, lambda view: list(self._list_jobs(view, request)))
        for info in infos:
            yield info

    async def ListJobSet(self, request: Any, context: Any) -> AsyncIterator[Any]:
        infos = await asyncio.to_thread(self._read, lambda view: list(self._list_job_sets(view, request)))
        for info in infos:
            yield info

    async def SubscribeJob(self, request: Any, context: Any) -> AsyncIterator[Any]:
        key = parse_pipeline(request.pipeline)
        sent = 0

        def look(view: View) -> list[tuple[int, Any]]:
            records.get_pipeline(view.db, key)
            return [
                (job.seq, self._job_info(view, job, details=request.details)) for job in records.active_jobs(view.db, key) if job.seq > sent
            ]

        while True:
            for seq, info in await wait_for(self._pps.changes, lambda: self._read(look) or None):
                sent = max(sent, seq)
                yield info

    async def StopJob(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("stop_job", request, context)

    async def DeleteJob(self, request: Any, context: Any) -> Any:
        key = parse_job(request.job)

        def delete(txn: Txn) -> None:
            jobs.stop(txn, key, reason="job was deleted")
            records.delete_job(txn.db, key)

        await asyncio.to_thread(self._change, delete)
        return Empty()

    # Datums

    async def InspectDatum(self, request: Any, context: Any) -> Any:
        if not request.datum.id:
            raise InvalidError("must specify a datum")
        key = parse_job(request.datum.job)

        def look(view: View) -> Any:
            job = records.get_job(view.db, key)
            return datum_info(self._pps.datum(job, DatumId(request.datum.id)), job, branch=self._output_branch(view, job))

        return await asyncio.to_thread(self._read, look)

    async def ListDatum(self, request: Any, context: Any) -> AsyncIterator[Any]:
        by_job, by_input = request.HasField("job"), request.HasField("input")
        if by_job and by_input:
            raise InvalidError("cannot specify both job and input")
        if not by_job and not by_input:
            raise InvalidError("must specify a job or an input")
        if request.reverse and request.number <= 0:
            raise InvalidError("number must be > 0 when reverse is set")
        if by_input:
            ended = threading.Event()
            try:
                found = await asyncio.to_thread(self._pps.dry_run, parse_input(request.input), "default", cancelled=ended.is_set)
            finally:
                ended.set()
            infos: Iterator[Any] = map(dry_datum_info, found)
        else:
            infos = await asyncio.to_thread(self._job_datums, request)
        wanted = set(request.filter.state)
        infos = (info for info in infos if not wanted or info.state in wanted)
        async for info in stream(islice(infos, request.number) if request.number > 0 else infos):
            yield info

    async def RestartDatum(self, request: Any, context: Any) -> Any:
        key = parse_job(request.job)
        self._read(lambda view: records.get_job(view.db, key))
        self._pps.restart_datum(key, tuple(request.data_filters))
        return Empty()

    # Logs

    async def GetLogs(self, request: Any, context: Any) -> AsyncIterator[Any]:
        query = await asyncio.to_thread(self._read, lambda view: _log_query(view, request))
        reader, changes = self._pps.logs.open(query), self._pps.logs.changes
        while True:
            seen = changes.version
            complete = not request.follow or (query.job is not None and await asyncio.to_thread(self._has_ended, query))
            async for line in stream(reader.read()):
                yield log_message(line, query.pipeline)
            if complete:
                return
            await changes.wait_async(seen)

    # Secrets

    async def CreateSecret(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(self._pps.secrets.create, request.file, now_ns=time.time_ns())
        return Empty()

    async def DeleteSecret(self, request: Any, context: Any) -> Any:
        await asyncio.to_thread(self._pps.secrets.delete, request.secret.name)
        return Empty()

    async def InspectSecret(self, request: Any, context: Any) -> Any:
        return secret_info(await asyncio.to_thread(self._pps.secrets.inspect, request.secret.name))

    async def ListSecret(self, request: Any, context: Any) -> Any:
        return pps_pb2.SecretInfos(secret_info=map(secret_info, await asyncio.to_thread(self._pps.secrets.list)))

    # Helpers

    def _has_ended(self, query: LogQuery) -> bool:
        """Whether no more lines can come for the job of a query."""
        with self._pps.pfs.database.reading() as db:
            job = None if query.job is None else records.find_job(db, JobKey(query.pipeline, query.job))
        return job is None or job.terminal

    def _rehearse_pipeline(self, request: Any) -> None:
        with self._pps.pfs.rehearsal() as txn:
            self._create_pipeline(txn, request)

    def _stop_job(self, txn: Txn, request: Any) -> Any:
        jobs.stop(txn, parse_job(request.job), reason=request.reason)
        return Empty()

    def _read(self, look: Callable[[View], Any]) -> Any:
        with self._pps.pfs.snapshot() as view:
            return look(view)

    def _change(self, change: Callable[[Txn], object]) -> None:
        with self._pps.pfs.transaction() as txn:
            change(txn)

    def _pipeline_info(self, view: View, pipeline: Pipeline, *, details: bool) -> Any:
        last = records.last_job(view.db, pipeline.key)
        return pipeline_info(pipeline, last_job=last.state if last else None, workers=self._pps.worker_count(pipeline.key), details=details)

    def _job_info(self, view: View, job: Job, *, details: bool) -> Any:
        pipeline = records.find_pipeline(view.db, job.key.pipeline, version=job.version)
        workers = [] if job.terminal or not details else self._pps.worker_statuses(job.key.pipeline)
        return job_info(job, pipeline, workers=workers, details=details)

    def _output_branch(self, view: View, job: Job) -> str:
        return records.get_pipeline(view.db, job.key.pipeline, version=job.version).spec.output_branch

    def _list_jobs(self, view: View, request: Any) -> Iterator[Any]:
        wanted = _filter(request.jqFilter, pps_pb2.JobState)
        key = parse_pipeline(request.pipeline) if request.HasField("pipeline") and request.pipeline.name else None
        pipeline = None if key is None else records.get_pipeline(view.db, key)
        projects = {project.name for project in request.projects}
        inputs = {(commit.branch.repo.name or commit.repo.name, commit.id) for commit in request.input_commit}
        newest: dict[PipelineKey, int] = {}
        found = 0
        for job in records.scan_jobs(view.db, pipeline=None if pipeline is None else pipeline.key, reverse=request.reverse):
            current = newest.get(job.key.pipeline)
            if current is None:
                current = newest[job.key.pipeline] = records.get_pipeline(view.db, job.key.pipeline).version
            if (
                (projects and job.key.pipeline.project not in projects)
                or (request.history >= 0 and job.version < current - request.history)
                or not wanted(job.state)
                or not _beyond(job.created_ns, request)
                or (inputs and not _reads(view, job, inputs))
            ):
                continue
            yield self._job_info(view, job, details=request.details)
            found += 1
            if request.number and found >= request.number:
                return

    def _list_job_sets(self, view: View, request: Any) -> Iterator[Any]:
        wanted = _filter(request.jqFilter, pps_pb2.JobState)
        projects = {project.name for project in request.projects}
        seen: set[str] = set()
        found = 0
        for job in records.scan_jobs(view.db, reverse=request.reverse):
            if job.key.id in seen or not _beyond(job.created_ns, request):
                continue
            seen.add(job.key.id)
            members = records.job_set(view.db, job.key.id)
            if projects and not any(member.key.pipeline.project in projects for member in members):
                continue
            if not any(wanted(member.state) for member in members):
                continue
            infos = [self._job_info(view, member, details=request.details) for member in members]
            yield pps_pb2.JobSetInfo(job_set=pps_pb2.JobSet(id=job.key.id), jobs=infos)
            found += 1
            if request.number and found >= request.number:
                return

    def _job_datums(self, request: Any) -> Iterator[Any]:
        key = parse_job(request.job)

        def look(view: View) -> tuple[Job, str]:
            job = records.get_job(view.db, key)
            return job, self._output_branch(view, job)

        job, branch = self._read(look)
        found = self._pps.datums(job, after=request.paginationMarker, reverse=request.reverse)
        return (datum_info(record, job, branch=branch) for record in found)


def _check_exists(view: View, key: PipelineKey, request: Any) -> None:
    """:raises PipelineNotFoundError: The request is a newer client's that wants this to be an error."""
    if newer.parsed(request).must_exist:
        records.get_pipeline(view.db, key)


def _ancestry(name: str) -> tuple[str, int]:
    """``edges^^`` and ``edges~2`` are ``edges``, two versions back."""
    match = _ANCESTRY.fullmatch(name)
    if match is None:
        return name, 0
    return match[1], sum(int(steps or 1) for steps in re.findall(r"[\^~](\d*)", match[2]))


def _filter(text: str, states: Any) -> Callable[[int], bool]:
    """The jq filter that pachctl sends for ``--state``: ``.state == "A" or .state == "B"``.

    :raises UnsupportedError: Any other program of jq.
    """
    if not text.strip():
        return lambda _state: True
    names = [_STATE_FILTER.fullmatch(part) for part in text.split(" or ")]
    if not all(names):
        raise UnsupportedError(f'jqFilter {text!r} is not supported by minipachd: it knows .state == "A" or .state == "B"')
    wanted = {states.Value(name[1]) for name in names if name and name[1] in states.keys()}  # noqa: SIM118 - not a dict
    return lambda state: int(state) in wanted


def _beyond(created_ns: int, request: Any) -> bool:
    """Whether a job lies behind the pagination marker, which is a time."""
    if not request.HasField("paginationMarker"):
        return True
    marker = request.paginationMarker.ToNanoseconds()
    return bool(created_ns > marker if request.reverse else created_ns < marker)


def _reads(view: View, job: Job, inputs: set[tuple[str, str]]) -> bool:
    commit = view.commit(jobs.output_commit(job.key))
    return inputs <= {(upstream.repo.name, str(upstream.id)) for upstream in commit.direct_provenance}


def _job_set(view: View, set_id: str) -> list[Job]:
    found = records.job_set(view.db, set_id)
    if not found:
        view.commit_set(CommitSetId(set_id))  # tells a set without jobs from none at all
    return found


def _pipelines_of_set(view: View, set_id: str) -> list[Pipeline]:
    """The pipelines that had a job in a commit set, in the versions that ran it."""
    found = (records.find_pipeline(view.db, job.key.pipeline, version=job.version) for job in _job_set(view, set_id))
    return [pipeline for pipeline in found if pipeline is not None]


def _log_query(view: View, request: Any) -> LogQuery:
    """:raises InvalidError: It is not clear whose lines are wanted. :raises NotFoundError: There is no such pipeline or job."""
    pipeline = parse_pipeline(request.pipeline) if request.HasField("pipeline") and request.pipeline.name else None
    datum, job = request.datum.id, request.job
    if not request.HasField("job") and request.datum.job.id:
        job = request.datum.job
    if job.id and not job.pipeline.name:
        raise InvalidError("pipeline must be specified for the given job")
    if pipeline is None and not job.id:
        raise InvalidError("must specify the Job or Pipeline that the log should be from; minipachd's own log is on its standard error")
    asked_ns = request.since.ToNanoseconds()  # 0, which pachctl sends when it was told nothing, is as good as none
    since_ns = time.time_ns() - (asked_ns or _DAY_NS)
    tail = request.tail if request.tail > 0 else None
    common = {"datum": datum, "data_filters": tuple(request.data_filters), "master": request.master, "tail": tail}
    if not job.id:
        assert pipeline is not None  # noqa: S101 - just seen
        records.get_pipeline(view.db, pipeline)
        return LogQuery(pipeline, since_ns=since_ns, **common)
    key = parse_job(job)
    if pipeline is not None and key.pipeline != pipeline:
        raise InvalidError("job is from the wrong pipeline")
    found = records.get_job(view.db, key)
    if not asked_ns:
        since_ns = found.created_ns - _HOUR_NS
    return LogQuery(key.pipeline, key.id, since_ns=since_ns, **common)
