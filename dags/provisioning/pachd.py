"""Pachyderm itself, by way of its hook: does it answer, what runs in it, and its pipelines' end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc

from airflow_pachyderm.client.errors import translate
from airflow_pachyderm.client.protocol import pps_pb2
from airflow_pachyderm.exceptions import PachydermUnavailableError
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.states import JobState, PipelineState
from dags.provisioning.outcome import Change, Done, Outcome, Pending

TIMEOUT: Final = 30.0  # seconds


@dataclass(frozen=True)
class PipelineStatus:
    """One pipeline and its last job.

    :ivar version: 1 when it was created, one more with each update.
    :ivar last_job: State of its last job, None before the first.
    """

    name: str
    state: PipelineState
    reason: str
    last_job: JobState | None
    last_job_id: str = ""
    last_job_reason: str = ""
    version: int = 1


def pachd_answers(hook: PachydermHook, *, way_in: str) -> Outcome:
    """Wait until Pachyderm answers at the connection's address.

    :param way_in: How to reach it, for the message while it does not answer.
    """
    answers, message = hook.test_connection()
    if answers:
        return Done(change=Change.FOUND, message=message)
    return Pending(message=f"Pachyderm does not answer yet: {message}. {way_in}")


def pipelines(hook: PachydermHook) -> list[PipelineStatus]:
    """All pipelines of the connection's project, by name.

    :raises PachydermError: The server does not answer, or refuses.
    """
    with _calling(hook, "list the pipelines"):
        return [_status(hook, info) for info in _pipeline_infos(hook)]


def remove_pipelines(hook: PachydermHook) -> Done:
    """Delete every pipeline, so that Pachyderm takes down the workers that it started, which Helm does not know of.

    :raises PachydermError: The server refuses.
    """
    try:
        with _calling(hook, "delete the pipelines"):
            found = [info.pipeline for info in _pipeline_infos(hook)]
            for pipeline in found:
                # force: also one that others read from, since those go too.
                _call(hook, hook.server.stubs.pps.DeletePipeline, pps_pb2.DeletePipelineRequest(pipeline=pipeline, force=True))
    except PachydermUnavailableError as exc:
        # Its workers go with the namespace. A teardown that needs a working Pachyderm could not remove a broken one.
        return Done(
            change=Change.KEPT, message=f"Left the pipelines to be removed with their namespace, since Pachyderm does not answer: {exc}"
        )
    if not found:
        return Done(change=Change.ABSENT, message="Pachyderm has no pipelines")
    return Done(change=Change.REMOVED, message=f"Deleted {len(found)} pipelines: {', '.join(sorted(pipeline.name for pipeline in found))}")


def _status(hook: PachydermHook, info: Any) -> PipelineStatus:
    jobs = _call(hook, hook.server.stubs.pps.ListJob, pps_pb2.ListJobRequest(pipeline=info.pipeline, number=1))
    last = next(iter(jobs), None)
    jobs.cancel()
    return PipelineStatus(
        name=info.pipeline.name,
        state=PipelineState.from_number(info.state),
        reason=info.reason,
        last_job=JobState.from_number(last.state) if last else None,
        last_job_id=last.job.id if last else "",
        last_job_reason=last.reason if last else "",
        version=int(info.version),
    )


def _pipeline_infos(hook: PachydermHook) -> list[Any]:
    infos = _call(hook, hook.server.stubs.pps.ListPipeline, pps_pb2.ListPipelineRequest(details=False))
    ours = [info for info in infos if info.pipeline.project.name in ("", hook.connection.project)]
    return sorted(ours, key=lambda info: str(info.pipeline.name))


def _call(hook: PachydermHook, method: Any, request: Any) -> Any:
    return method(request, timeout=TIMEOUT, metadata=hook.server.stubs.metadata)


@contextmanager
def _calling(hook: PachydermHook, action: str) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as exc:
        raise translate(exc, action=action, connection=hook.connection) from exc
