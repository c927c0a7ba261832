"""Repos, commits, directories, differences."""

from typing import Annotated

from fastapi import APIRouter, Depends

from airflow_pachyderm.dashboard import models, repos
from airflow_pachyderm.dashboard.gateway import Gateway, get_gateway
from airflow_pachyderm.dashboard.names import FilePath, HexId, Limit, Name

router = APIRouter(prefix="/api/repos")
GatewayDep = Annotated[Gateway, Depends(get_gateway)]


@router.get("")
def list_repos(gateway: GatewayDep, *, limit: Limit = 100, after: Name | None = None) -> models.Repos:
    """Repos by name."""
    return repos.list_repos(gateway, limit=limit, after=after)


@router.get("/{repo}")
def repo(gateway: GatewayDep, repo: Name) -> models.RepoDetail:
    """One repo."""
    return repos.read_repo(gateway, repo)


@router.get("/{repo}/commits")
def commits(gateway: GatewayDep, repo: Name, *, ref: Name = "master", limit: Limit = 25, before: HexId | None = None) -> models.Commits:
    """The history of a branch."""
    return repos.list_commits(gateway, repo, ref=ref, limit=limit, before=before)


@router.get("/{repo}/files")
def files(
    gateway: GatewayDep, repo: Name, *, ref: Name = "master", path: FilePath = "/", limit: Limit = 100, after: FilePath | None = None
) -> models.Files:
    """A directory."""
    return repos.list_files(gateway, repo, ref=ref, path=path, limit=limit, after=after)


@router.get("/{repo}/diff")
def diff(gateway: GatewayDep, repo: Name, *, commit: HexId, limit: Limit = 100, after: FilePath | None = None) -> models.Diff:
    """How a commit differs from its parent."""
    return repos.read_diff(gateway, repo, commit_id=commit, limit=limit, after=after)
