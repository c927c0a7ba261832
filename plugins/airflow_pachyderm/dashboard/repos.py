"""Repos, branches, commits, directories and differences."""

from typing import Any, Final

from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.dashboard import convert, models
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.exceptions import PachydermNotFoundError

DIFF_TIMEOUT_SECONDS: Final = 10.0


def list_repos(gateway: Gateway, *, limit: int, after: str | None) -> models.Repos:
    """Repos by name.

    :param after: ``next`` of the page before.
    """
    request = pfs_pb2.ListRepoRequest(type="user", projects=[gateway.project()])
    infos = gateway.stream(gateway.pfs.ListRepo, request, action="list repos")
    pipelines = _pipeline_names(gateway)
    listed = sorted((info for info in infos if info.repo.name > (after or "")), key=lambda info: str(info.repo.name))
    items = [_repo(info, pipelines) for info in listed[:limit]]
    return models.Repos(items=items, next=items[-1].name if len(listed) > limit else None)


def read_repo(gateway: Gateway, name: str) -> models.RepoDetail:
    """A repo and its branches.

    :raises NotThereError: There is no such repo.
    """
    pending = gateway.start(gateway.pfs.InspectRepo, pfs_pb2.InspectRepoRequest(repo=gateway.repo(name)), action=f"inspect repo {name}")
    branches = gateway.stream(gateway.pfs.ListBranch, pfs_pb2.ListBranchRequest(repo=gateway.repo(name)), action=f"list branches of {name}")
    try:
        info = pending.result()
    except PachydermNotFoundError as exc:
        raise NotThereError(f"There is no repo {name}") from exc
    heads = [
        models.Branch(
            name=branch.branch.name,
            head=branch.head.id,
            provenance=[f"{source.repo.name}@{source.name}" for source in branch.direct_provenance if source.repo.type == "user"],
        )
        for branch in branches
    ]
    return models.RepoDetail(**_repo(info, _pipeline_names(gateway)).model_dump(), heads=heads)


def read_commit(gateway: Gateway, repo: str, ref: str) -> models.Commit:
    """A commit.

    :param ref: Its id, or a branch's name for the branch's head.
    :raises NotThereError: There is no such commit, branch or repo.
    """
    request = pfs_pb2.InspectCommitRequest(commit=gateway.commit(repo, ref))
    try:
        return convert.commit(gateway.ask(gateway.pfs.InspectCommit, request, action=f"inspect {repo}@{ref}"))
    except PachydermNotFoundError as exc:
        raise NotThereError(f"Repo {repo} has no branch or commit {ref}") from exc


def list_commits(gateway: Gateway, repo: str, *, ref: str, limit: int, before: str | None) -> models.Commits:
    """The history of a branch, newest first.

    :param ref: Branch name or commit id where it begins.
    :param before: ``next`` of the page before.
    """
    start = gateway.commit(repo, read_commit(gateway, repo, before or ref).id)
    request = pfs_pb2.ListCommitRequest(repo=gateway.repo(repo), to=start, number=limit + 1, all=True)
    found = gateway.stream(gateway.pfs.ListCommit, request, action=f"list commits of {repo}@{ref}").first(limit + 1)
    items = [convert.commit(info) for info in found[:limit]]
    return models.Commits(items=items, next=found[limit].commit.id if len(found) > limit else None)


def newest_finished(gateway: Gateway, repo: str, *, ref: str = "master") -> models.Commit | None:
    """The newest commit of a branch that readers can rely on; None when there is none yet, nor the repo."""
    request = pfs_pb2.ListCommitRequest(repo=gateway.repo(repo), to=gateway.commit(repo, ref), all=True)
    stream = gateway.stream(gateway.pfs.ListCommit, request, action=f"look for a finished commit of {repo}@{ref}")
    try:
        for info in stream:
            if info.HasField("finished") and not info.error:
                stream.cancel()
                return convert.commit(info)
    except PachydermNotFoundError:
        pass
    return None


def list_files(gateway: Gateway, repo: str, *, ref: str, path: str, limit: int, after: str | None) -> models.Files:
    """A directory.

    :param after: ``next`` of the page before.
    """
    commit = read_commit(gateway, repo, ref)
    request = pfs_pb2.ListFileRequest(file=gateway.file(repo, commit.id, path), number=limit + 1)
    if after:
        request.paginationMarker.CopyFrom(gateway.file(repo, commit.id, after))
    found = gateway.stream(gateway.pfs.ListFile, request, action=f"list {repo}@{ref}:{path}").first(limit + 1)
    items = [convert.entry(info) for info in found[:limit]]
    return models.Files(commit=commit, items=items, next=items[-1].path if len(found) > limit else None)


def read_diff(gateway: Gateway, repo: str, *, commit_id: str, limit: int, after: str | None) -> models.Diff:
    """How a commit differs from its parent, file by file.

    :param after: ``next`` of the page before. The server has no pages here: what was shown is passed over.
    """
    commit = read_commit(gateway, repo, commit_id)
    if commit.parent is None or _is_empty(gateway, repo, commit.parent):
        return _all_added(gateway, repo, commit, limit=limit, after=after)
    request = pfs_pb2.DiffFileRequest(new_file=gateway.file(repo, commit.id, "/"))
    stream = gateway.stream(gateway.pfs.DiffFile, request, action=f"diff {repo}@{commit_id}", timeout=DIFF_TIMEOUT_SECONDS)
    changes: list[models.Change] = []
    for answer in stream:
        change = _change(answer)
        if change is None or (after and change.path <= after):
            continue
        changes.append(change)
        if len(changes) > limit:
            break
    stream.cancel()
    return models.Diff(commit=commit, items=changes[:limit], next=changes[limit - 1].path if len(changes) > limit else None)


def _is_empty(gateway: Gateway, repo: str, commit_id: str) -> bool:
    request = pfs_pb2.ListFileRequest(file=gateway.file(repo, commit_id, "/"), number=1)
    return not gateway.stream(gateway.pfs.ListFile, request, action=f"look into {repo}@{commit_id}").first(1)


def _all_added(gateway: Gateway, repo: str, commit: models.Commit, *, limit: int, after: str | None) -> models.Diff:
    """The difference to nothing, which the server gives in pages: the first commit is often the largest."""
    request = pfs_pb2.WalkFileRequest(file=gateway.file(repo, commit.id, "/"), number=2 * limit + 2)
    changes: list[models.Change] = []
    marker = after
    while len(changes) <= limit:
        if marker:
            request.paginationMarker.CopyFrom(gateway.file(repo, commit.id, marker))
        found = gateway.stream(gateway.pfs.WalkFile, request, action=f"walk {repo}@{commit.id}").first(request.number)
        entries = [convert.entry(info) for info in found]
        changes += [
            models.Change(path=entry.path, change="added", old_size_bytes=None, new_size_bytes=entry.size_bytes)
            for entry in entries
            if not entry.is_dir
        ]
        if len(found) < request.number:
            break
        marker = found[-1].file.path  # perhaps a directory's
    return models.Diff(commit=commit, items=changes[:limit], next=changes[limit - 1].path if len(changes) > limit else None)


def _change(answer: Any) -> models.Change | None:
    new = answer.new_file if answer.HasField("new_file") else None
    old = answer.old_file if answer.HasField("old_file") else None
    sides = [side for side in (new, old) if side is not None and side.file_type == pfs_pb2.FILE]
    if not sides:
        return None
    kind: models.ChangeKind = "modified" if len(sides) == 2 else "removed" if new is None or new.file_type != pfs_pb2.FILE else "added"
    return models.Change(
        path=sides[0].file.path,
        change=kind,
        old_size_bytes=old.size_bytes if old is not None else None,
        new_size_bytes=new.size_bytes if new is not None else None,
    )


def _repo(info: Any, pipelines: set[str]) -> models.Repo:
    return models.Repo(
        name=info.repo.name,
        description=info.description,
        created=convert.seconds(info, "created"),
        size_bytes=info.details.size_bytes or info.size_bytes_upper_bound,
        branches=[branch.name for branch in info.branches],
        pipeline=info.repo.name in pipelines,
    )


def _pipeline_names(gateway: Gateway) -> set[str]:
    request = pps_pb2.ListPipelineRequest(details=False, projects=[gateway.project()])
    return {info.pipeline.name for info in gateway.stream(gateway.pps.ListPipeline, request, action="list pipelines")}
