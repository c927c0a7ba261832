"""PFS's calls since Pachyderm 2.8: single commits taken out of the history, and summaries."""

import asyncio
from typing import Any

from minipachd.api import newer
from minipachd.api.dialect import Dialect
from minipachd.api.pfs_messages import commit_reference, project_info, project_name
from minipachd.errors import UnsupportedError
from minipachd.pfs import USER_REPO, Pfs
from minipachd.pps import records


class NewerFileSystemCalls:
    """A part of ``pfs_v2.API``."""

    def __init__(self, pfs: Pfs, dialect: Dialect) -> None:
        self._pfs, self._dialect = pfs, dialect

    async def SquashCommit(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                txn.squash_commit(txn.resolve(commit_reference(request.commit, self._dialect)).key, recursive=request.recursive)

        await asyncio.to_thread(act)
        return newer.message("pfs_v2.SquashCommitResponse")()

    async def DropCommit(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                txn.drop_commit(txn.resolve(commit_reference(request.commit, self._dialect)).key, recursive=request.recursive)

        await asyncio.to_thread(act)
        return newer.message("pfs_v2.DropCommitResponse")()

    async def InspectProjectV2(self, request: Any, context: Any) -> Any:
        def look() -> Any:
            with self._pfs.snapshot() as view:
                project = view.project(project_name(request.project))
                answer = newer.message("pfs_v2.InspectProjectV2Response")(
                    defaults_json=records.defaults(view.db, project.name).json or "{}"
                )
                answer.info.MergeFromString(project_info(project).SerializeToString())
                return answer

        return await asyncio.to_thread(look)

    async def ReposSummary(self, request: Any, context: Any) -> Any:
        def look() -> Any:
            answer = newer.message("pfs_v2.ReposSummaryResponse")()
            with self._pfs.snapshot() as view:
                for picker in request.projects:
                    repos = view.repos(type=USER_REPO, projects=[picker.name])
                    if repos:
                        summary = answer.summaries.add(
                            user_repo_count=len(repos), size_bytes=sum(view.repo_size(repo.key) for repo in repos)
                        )
                        summary.project.name = picker.name
            return answer

        return await asyncio.to_thread(look)


def refuse_propagation_specs(request: Any) -> None:
    """:raises UnsupportedError: A ``CreateBranchRequest`` has them; python-pachyderm's message does not know the field."""
    if newer.parsed(request).branch_propagation_specs:
        raise UnsupportedError(
            "branch_propagation_specs are not supported by minipachd: every new commit of its provenance makes one on a branch"
        )
