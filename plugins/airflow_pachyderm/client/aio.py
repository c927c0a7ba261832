"""Single looks at a server on an event loop, for conditions."""

from typing import Any

import grpc

from airflow_pachyderm.client.channel import UNARY_TIMEOUT_SECONDS, Stubs
from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.states import PipelineState


async def newest_finished(stubs: Stubs, connection: PachydermConnection, repo: str, branch: str) -> str | None:
    """Id of the branch's newest commit that is finished without an error, or None, also while there is no such branch.

    What an open commit shows may yet be dropped.
    """
    commit = _commit(connection, repo, branch)
    while True:
        try:
            info = await stubs.pfs.InspectCommit(
                pfs_pb2.InspectCommitRequest(commit=commit), timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata
            )
        except grpc.RpcError as exc:
            if exc.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        if info.HasField("finished") and not info.error:
            return str(info.commit.id)
        if not info.HasField("parent_commit"):
            return None
        commit = info.parent_commit


async def first_match(stubs: Stubs, connection: PachydermConnection, repo: str, commit: str, pattern: str) -> str | None:
    """Path of the first file or directory that matches a Pachyderm glob."""
    request = pfs_pb2.GlobFileRequest(commit=_commit(connection, repo, "", commit), pattern=pattern)
    call = stubs.pfs.GlobFile(request, timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata)
    async for info in call:
        call.cancel()
        return str(info.file.path)
    return None


async def pipeline_state(stubs: Stubs, connection: PachydermConnection, pipeline: str) -> tuple[PipelineState, str]:
    """A pipeline's state and its reason.

    :raises grpc.RpcError: Also when there is no such pipeline.
    """
    name = pps_pb2.Pipeline(name=pipeline, project=pfs_pb2.Project(name=connection.project))
    info = await stubs.pps.InspectPipeline(
        pps_pb2.InspectPipelineRequest(pipeline=name), timeout=UNARY_TIMEOUT_SECONDS, metadata=stubs.metadata
    )
    return PipelineState.from_number(info.state), info.reason


def _commit(connection: PachydermConnection, repo: str, branch: str, commit: str = "") -> Any:
    named = pfs_pb2.Repo(name=repo, type="user", project=pfs_pb2.Project(name=connection.project))
    return pfs_pb2.Commit(repo=named, branch=pfs_pb2.Branch(repo=named, name=branch), id=commit)
