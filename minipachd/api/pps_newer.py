"""PPS's calls since Pachyderm 2.8: pipelines as JSON over defaults, and summaries."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from python_pachyderm.proto.v2.pps import pps_pb2

from minipachd.api import newer
from minipachd.api.pfs_messages import project_name
from minipachd.api.pipeline_json import check_defaults, effective_request, effective_spec_json, request_json, user_spec_json
from minipachd.api.pps_spec_messages import parse_pipeline, parse_request
from minipachd.api.transactions import Transactions
from minipachd.errors import InvalidArgumentError, InvalidError
from minipachd.pfs import Txn, View
from minipachd.pps import Pps, records
from minipachd.pps.records import Defaults, Pipeline
from minipachd.pps.spec import JobState, PipelineKey, PipelineSpec, PipelineState
from minipachd.pps.validate import complete

_EMPTY_DEFAULTS = "{}"
_FAILED = frozenset({PipelineState.FAILURE, PipelineState.CRASHING})
_UNHEALTHY = frozenset({JobState.KILLED, JobState.FAILURE, JobState.UNRUNNABLE})


class NewerPipelineCalls:
    """A part of ``pps_v2.API``, and what it shares with the older ``CreatePipeline``."""

    def __init__(self, pps: Pps, transactions: Transactions) -> None:
        self._pps, self._transactions = pps, transactions
        transactions.register("create_pipeline", self._create_pipeline)
        transactions.register("create_pipeline_v2", self._create_pipeline_v2)

    async def CreatePipelineV2(self, request: Any, context: Any) -> Any:
        def effective() -> Any:
            with self._pps.pfs.snapshot() as view:
                return _effective(view, request.create_pipeline_request_json)

        spec = await asyncio.to_thread(effective)
        if request.dry_run:
            return _created(complete(parse_request(spec), now_ns=time.time_ns()))
        spec.update, spec.reprocess = request.update, request.reprocess
        call = newer.message("pps_v2.CreatePipelineTransaction")(user_json=request.create_pipeline_request_json)
        call.create_pipeline_request.MergeFromString(spec.SerializeToString())
        return await self._transactions.perform("create_pipeline_v2", call, context)

    async def RerunPipeline(self, request: Any, context: Any) -> Any:
        key = parse_pipeline(request.pipeline)

        def act() -> None:
            with self._pps.pfs.transaction() as txn:
                spec = records.get_pipeline(txn.db, key).spec
                self._pps.create_pipeline(txn, spec, update=True, reprocess=request.reprocess)

        await asyncio.to_thread(act)
        return Empty()

    async def GetClusterDefaults(self, request: Any, context: Any) -> Any:
        with self._pps.pfs.snapshot() as view:
            found = records.defaults(view.db, None)
        return newer.message("pps_v2.GetClusterDefaultsResponse")(cluster_defaults_json=found.json or _EMPTY_DEFAULTS)

    async def SetClusterDefaults(self, request: Any, context: Any) -> Any:
        affected = await asyncio.to_thread(self._set_defaults, None, request.cluster_defaults_json, request)
        return newer.message("pps_v2.SetClusterDefaultsResponse")(affected_pipelines=map(_pipeline, affected))

    async def GetProjectDefaults(self, request: Any, context: Any) -> Any:
        with self._pps.pfs.snapshot() as view:
            found = records.defaults(view.db, view.project(project_name(request.project)).name)
        answer = newer.message("pps_v2.GetProjectDefaultsResponse")(project_defaults_json=found.json or _EMPTY_DEFAULTS)
        if found.json:
            answer.created_at.FromNanoseconds(found.created_ns)
        return answer

    async def SetProjectDefaults(self, request: Any, context: Any) -> Any:
        affected = await asyncio.to_thread(self._set_defaults, project_name(request.project), request.project_defaults_json, request)
        return newer.message("pps_v2.SetProjectDefaultsResponse")(affected_pipelines=map(_pipeline, affected))

    async def PipelinesSummary(self, request: Any, context: Any) -> Any:
        def look() -> list[Any]:
            with self._pps.pfs.snapshot() as view:
                names = [picker.name for picker in request.projects] or [project.name for project in view.projects()]
                every = [(pipeline, records.last_job(view.db, pipeline.key)) for pipeline in records.list_pipelines(view.db)]
            found = []
            for name in names:
                mine = [(pipeline, job) for pipeline, job in every if pipeline.key.project == name]
                if mine:
                    states = [pipeline.state for pipeline, _ in mine]
                    failed, paused = sum(state in _FAILED for state in states), states.count(PipelineState.PAUSED)
                    summary = newer.message("pps_v2.PipelinesSummary")(
                        active_pipelines=len(states) - failed - paused,
                        paused_pipelines=paused,
                        failed_pipelines=failed,
                        unhealthy_pipelines=sum(job is not None and job.state in _UNHEALTHY for _, job in mine),
                    )
                    summary.project.name = name
                    found.append(summary)
            return found

        return newer.message("pps_v2.PipelinesSummaryResponse")(summaries=await asyncio.to_thread(look))

    async def CheckStatus(self, request: Any, context: Any) -> AsyncIterator[Any]:
        alerts: list[Any] = []  # are for pipelines past their maximum_expected_uptime, a field of specs that is refused here
        for alert in alerts:
            yield alert

    def _create_pipeline(self, txn: Txn, request: Any) -> Any:
        if request.update and request.HasField("spec_commit"):
            raise InvalidError("cannot update a pipeline and provide a spec commit at the same time")
        user_json = request_json(request)
        draft = parse_request(_effective(txn, user_json), user_json=user_json)
        self._pps.create_pipeline(txn, draft, update=request.update, reprocess=request.reprocess)
        return Empty()

    def _create_pipeline_v2(self, txn: Txn, call: Any) -> Any:
        request = pps_pb2.CreatePipelineRequest.FromString(call.create_pipeline_request.SerializeToString())
        draft = parse_request(request, user_json=call.user_json)
        return _created(self._pps.create_pipeline(txn, draft, update=request.update, reprocess=request.reprocess).spec)

    def _set_defaults(self, project: str | None, text: str, request: Any) -> list[PipelineKey]:
        """:return: The pipelines that get (or would get) another spec by it."""
        if request.reprocess and not request.regenerate:
            raise InvalidArgumentError("reprocess needs regenerate: only pipelines with a new spec can be processed again")
        check_defaults(text)
        with self._pps.pfs.rehearsal() if request.dry_run else self._pps.pfs.transaction() as txn:
            if project is not None:
                txn.project(project)
            every = records.list_pipelines(txn.db) if request.regenerate else ()
            before = [(pipeline, _regenerated(txn, pipeline)) for pipeline in every if project in (None, pipeline.key.project)]
            records.set_defaults(txn.db, project, Defaults(text, time.time_ns()))
            changed = [(pipeline, after) for pipeline, spec in before if (after := _regenerated(txn, pipeline)) != spec]
            for pipeline, spec in changed:
                draft = parse_request(spec, user_json=user_spec_json(pipeline.spec))
                self._pps.create_pipeline(txn, draft, update=True, reprocess=request.reprocess)
        return [pipeline.key for pipeline, _ in changed]


def _effective(view: View, user_json: str) -> Any:
    return effective_request(user_json, lambda project: records.defaults(view.db, project).json)


def _regenerated(view: View, pipeline: Pipeline) -> Any:
    return _effective(view, user_spec_json(pipeline.spec))


def _created(spec: PipelineSpec) -> Any:
    return newer.message("pps_v2.CreatePipelineV2Response")(effective_create_pipeline_request_json=effective_spec_json(spec))


def _pipeline(key: PipelineKey) -> Any:
    message = newer.message("pps_v2.Pipeline")(name=key.name)
    message.project.name = key.project
    return message
