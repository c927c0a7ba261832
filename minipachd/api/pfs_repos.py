"""PFS's calls about projects, repos and branches."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from python_pachyderm.proto.v2.pfs import pfs_pb2

from minipachd.api import newer
from minipachd.api.admin_service import empty
from minipachd.api.dialect import Dialect
from minipachd.api.pfs_messages import (
    branch_info,
    branch_key,
    commit_reference,
    project_info,
    project_name,
    repo_info,
    repo_key,
    repo_message,
    trigger,
)
from minipachd.api.pfs_newer import refuse_propagation_specs
from minipachd.api.transactions import Transactions
from minipachd.errors import BranchNotFoundError, InvalidArgumentError
from minipachd.pfs import BranchKey, Pfs, Txn
from minipachd.pfs.names import check_name


class RepoCalls:
    """A part of ``pfs_v2.API``."""

    def __init__(self, pfs: Pfs, transactions: Transactions, dialect: Dialect) -> None:
        self._pfs, self._transactions, self._dialect = pfs, transactions, dialect
        transactions.register("create_repo", _create_repo)
        transactions.register("delete_repo", _delete_repo)
        transactions.register("create_branch", partial(_create_branch, dialect))
        transactions.register("delete_branch", partial(_delete_branch, dialect))

    async def CreateProject(self, request: Any, context: Any) -> Any:
        if not request.project.name:
            raise InvalidArgumentError("project cannot be nil: the request must be specified with the name of a project")

        def act() -> None:
            with self._pfs.transaction() as txn:
                txn.create_project(request.project.name, description=request.description, update=request.update)

        await asyncio.to_thread(act)
        return empty()

    async def InspectProject(self, request: Any, context: Any) -> Any:
        with self._pfs.snapshot() as view:
            return project_info(view.project(project_name(request.project)))

    async def ListProject(self, request: Any, context: Any) -> AsyncIterator[Any]:
        with self._pfs.snapshot() as view:
            projects = view.projects()
        for project in projects:
            yield project_info(project)

    async def DeleteProject(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                txn.delete_project(project_name(request.project))

        await asyncio.to_thread(act)
        return empty()

    async def CreateRepo(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("create_repo", request, context)

    async def InspectRepo(self, request: Any, context: Any) -> Any:
        def look() -> Any:
            with self._pfs.snapshot() as view:
                key = repo_key(request.repo)
                return repo_info(view.repo(key), size=view.repo_size(key, of_head=self._dialect.sizes_of_heads), details=True)

        return await asyncio.to_thread(look)

    async def ListRepo(self, request: Any, context: Any) -> AsyncIterator[Any]:
        def look() -> list[Any]:
            with self._pfs.snapshot() as view:
                repos = view.repos(type=request.type, projects={project_name(project) for project in request.projects})
                if self._dialect.lists_repos_by_name:
                    repos.sort(key=lambda repo: repo.key)
                return [
                    repo_info(repo, size=view.repo_size(repo.key, of_head=self._dialect.sizes_of_heads), details=False) for repo in repos
                ]

        for info in await asyncio.to_thread(look):
            yield info

    async def DeleteRepo(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("delete_repo", request, context)

    async def DeleteRepos(self, request: Any, context: Any) -> Any:
        def act() -> Any:
            with self._pfs.transaction() as txn:
                projects = {project_name(project) for project in request.projects}
                keys = [repo.key for repo in txn.repos(projects=projects)] if projects or request.all else []
                txn.delete_repos(keys, force=request.force)
                return pfs_pb2.DeleteReposResponse(repos=map(repo_message, keys))

        return await asyncio.to_thread(act)

    async def CreateBranch(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("create_branch", request, context)

    async def InspectBranch(self, request: Any, context: Any) -> Any:
        def look() -> Any:
            with self._pfs.snapshot() as view:
                return branch_info(view.branch(_named(request.branch)))

        return await asyncio.to_thread(look)

    async def ListBranch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        def look() -> list[Any]:
            with self._pfs.snapshot() as view:
                repo = repo_key(request.repo) if request.repo.name else None
                return [branch_info(branch) for branch in view.branches(repo, reverse=request.reverse)]

        for info in await asyncio.to_thread(look):
            yield info

    async def DeleteBranch(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("delete_branch", request, context)

    async def DeleteAll(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                txn.delete_all()

        await asyncio.to_thread(act)
        return empty()


def _create_repo(txn: Txn, request: Any) -> Any:
    txn.create_repo(repo_key(request.repo), description=request.description, update=request.update)
    return empty()


def _delete_repo(txn: Txn, request: Any) -> Any:
    """Older clients expect an Empty, which this looks like to them."""
    deleted = txn.delete_repo(repo_key(request.repo), force=request.force)
    return newer.message("pfs_v2.DeleteRepoResponse")(deleted=deleted)


def _create_branch(dialect: Dialect, txn: Txn, request: Any) -> Any:
    refuse_propagation_specs(request)
    for branch in (*request.provenance, request.branch):
        check_name(branch.name)
    head = request.head if request.HasField("head") and (request.head.id or request.head.branch.name) else None
    if head is not None and not (head.repo.name or head.branch.repo.name):
        head.branch.repo.CopyFrom(request.branch.repo)
    txn.create_branch(
        branch_key(request.branch),
        head=None if head is None else txn.resolve(commit_reference(head, dialect)).key,
        provenance=[branch_key(branch) for branch in request.provenance],
        trigger=trigger(request.trigger) if request.HasField("trigger") else None,
    )
    return empty()


def _named(branch: Any) -> BranchKey:
    """A branch to look up: without a name it is one that does not exist."""
    return BranchKey(repo_key(branch.repo), branch.name)


def _delete_branch(dialect: Dialect, txn: Txn, request: Any) -> Any:
    key = _named(request.branch)
    if not txn.delete_branch(key, force=request.force) and dialect.misses_branches:
        raise BranchNotFoundError(key.repo, key.name)
    return empty()
