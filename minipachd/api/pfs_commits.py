"""PFS's calls about commits and commit sets."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from python_pachyderm.proto.v2.pfs import pfs_pb2

from minipachd.api.admin_service import empty
from minipachd.api.dialect import Dialect
from minipachd.api.pfs_messages import branch_key, commit_info, commit_message, commit_reference, repo_key
from minipachd.api.threads import stream, wait_for
from minipachd.api.transactions import Transactions
from minipachd.errors import CommitNotFoundError, InvalidError, NotReadyError
from minipachd.pfs import EVER_NS, BranchKey, Commit, CommitKey, CommitState, FileTree, Pfs, Txn, View

_PAGE = 256


class CommitCalls:
    """A part of ``pfs_v2.API``."""

    def __init__(self, pfs: Pfs, transactions: Transactions, dialect: Dialect) -> None:
        self._pfs, self._transactions, self._dialect = pfs, transactions, dialect
        transactions.register("start_commit", partial(_start_commit, dialect))
        transactions.register("finish_commit", partial(_finish_commit, dialect))
        transactions.register("squash_commit_set", _squash_commit_set)

    async def StartCommit(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("start_commit", request, context)

    async def FinishCommit(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("finish_commit", request, context)

    async def SquashCommitSet(self, request: Any, context: Any) -> Any:
        return await self._transactions.perform("squash_commit_set", request, context)

    async def DropCommitSet(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                txn.drop_commit_set(request.commit_set.id)

        await asyncio.to_thread(act)
        return empty()

    async def ClearCommit(self, request: Any, context: Any) -> Any:
        def act() -> None:
            with self._pfs.transaction() as txn:
                txn.clear_commit(txn.resolve(commit_reference(request.commit, self._dialect)).key)

        await asyncio.to_thread(act)
        return empty()

    async def InspectCommit(self, request: Any, context: Any) -> Any:
        def resolve() -> CommitKey:
            with self._pfs.snapshot() as view:
                return view.resolve(commit_reference(request.commit, self._dialect)).key

        key = await asyncio.to_thread(resolve)
        return await self._reached(key, CommitState(request.wait))

    async def ListCommit(self, request: Any, context: Any) -> AsyncIterator[Any]:
        rows = await asyncio.to_thread(self._rows, request)
        pages = (rows[at : at + _PAGE] for at in range(0, len(rows), _PAGE))
        async for infos in stream(map(self._infos, pages), batch=1):
            for info in infos:
                yield info

    async def SubscribeCommit(self, request: Any, context: Any) -> AsyncIterator[Any]:
        state = CommitState(request.state)
        sent: set[CommitKey] = set()
        excluded: set[CommitKey] = set()
        if request.HasField("from"):
            start = getattr(request, "from")
            if not (start.repo.name or start.branch.repo.name):
                start.branch.repo.CopyFrom(request.repo)
            with self._pfs.snapshot() as view:
                excluded.add(view.resolve(commit_reference(start, self._dialect)).key)

        def unsent() -> list[CommitKey] | None:
            with self._pfs.snapshot() as view:
                found = [
                    commit.key
                    for commit in view.commits(repo_key(request.repo), reverse=True)
                    if (not request.branch or commit.branch.name == request.branch)
                    and _wanted(commit, request)
                    and commit.key not in sent
                    and commit.key not in excluded
                ]
            return found or None

        while True:
            for key in await wait_for(self._pfs.changes, unsent):
                sent.add(key)
                yield await self._reached(key, state)

    async def InspectCommitSet(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if not request.commit_set.id:
            raise InvalidError("commit set cannot be nil: the request must be specified with its id")

        def members() -> list[Commit]:
            with self._pfs.snapshot() as view:
                return view.commit_set(request.commit_set.id)

        commits = await asyncio.to_thread(members)
        state = CommitState.FINISHED if request.wait else CommitState.UNKNOWN
        for commit in sorted(commits, key=lambda commit: request.wait and not commit.finished):  # stable: finished ones first
            yield await self._reached(commit.key, state)

    async def ListCommitSet(self, request: Any, context: Any) -> AsyncIterator[Any]:
        def ids() -> list[Any]:
            with self._pfs.snapshot() as view:
                return list(view.commit_set_ids(project=request.project.name))

        def info(set_id: str) -> Any:
            with self._pfs.snapshot() as view:
                return pfs_pb2.CommitSetInfo(commit_set=pfs_pb2.CommitSet(id=set_id), commits=_infos(view, view.commit_set(set_id)))

        async for message in stream(map(info, await asyncio.to_thread(ids)), batch=16):
            yield message

    async def FindCommits(self, request: Any, context: Any) -> AsyncIterator[Any]:
        with self._pfs.snapshot() as view:
            chain = list(view.commits(newest=view.resolve(commit_reference(request.start, self._dialect))))
        if not chain[0].finished:
            raise NotReadyError(f"commit {chain[0]} not finished; finish it first")
        searched, found = 0, 0
        for at, commit in enumerate(chain):
            before = self._pfs.files(chain[at + 1].root if at + 1 < len(chain) else b"")
            if await asyncio.to_thread(_differs, self._pfs.files(commit.root), before, request.file_path):
                found += 1
                yield pfs_pb2.FindCommitsResponse(found_commit=commit_message(commit.key), commits_searched=searched)
            searched += 1
            if request.limit and found >= request.limit:
                break
        yield pfs_pb2.FindCommitsResponse(last_searched_commit=commit_message(chain[searched - 1].key), commits_searched=searched)

    async def _reached(self, key: CommitKey, state: CommitState) -> Any:
        """A commit's message once it is in a state.

        :raises CommitNotFoundError: It was deleted meanwhile.
        """

        def look() -> Any | None:
            with self._pfs.snapshot() as view:
                try:
                    commit = view.commit(key)
                except CommitNotFoundError as exc:
                    raise InvalidError(f"commit {key} was deleted") from exc
                return _infos(view, [commit])[0] if _is_in(view, commit, state) else None

        return await wait_for(self._pfs.changes, look)

    def _rows(self, request: Any) -> list[int]:
        has_from, has_to = request.HasField("from"), request.HasField("to")
        with self._pfs.snapshot() as view:
            repo = repo_key(request.repo) if request.repo.name else None
            if repo is not None:
                view.repo_row(repo)
            oldest = _in_repo(view, request, "from", self._dialect) if has_from else None
            newest = _in_repo(view, request, "to", self._dialect) if has_to else None
            if oldest is not None and getattr(request, "from").id != oldest.id:
                oldest = None  # Pachyderm looks for this very text among the ids on its way, so that all older commits follow
            if has_from and not has_to:
                raise InvalidError("cannot use 'from' commit without 'to' commit")
            if request.reverse and has_to:
                raise InvalidError("cannot use 'Reverse' while also using 'From' or 'To'")
            origin = 0 if request.all else request.origin_kind
            rows = view.commit_rows(
                repo, newest=newest, oldest=oldest, reverse=request.reverse, origin=origin, **({} if has_to else _times(request))
            )
            return list(islice(rows, request.number or None))

    def _infos(self, rows: Sequence[int]) -> list[Any]:
        with self._pfs.snapshot() as view:
            commits, children = view.commits_at(rows), view.children_at(rows)
        return [commit_info(commit, children.get(row, [])) for row, commit in commits.items()]


def _infos(view: View, commits: Iterable[Commit]) -> list[Any]:
    return [commit_info(commit, view.children(commit.key)) for commit in commits]


def _is_in(view: View, commit: Commit, state: CommitState) -> bool:
    match state:
        case CommitState.READY:
            return commit.finished or view.is_ready(commit)
        case CommitState.FINISHING:
            return commit.finishing_ns is not None
        case CommitState.FINISHED:
            return commit.finished
        case _:
            return True


def _wanted(commit: Commit, request: Any) -> bool:
    return bool(request.all) or request.origin_kind in (0, commit.origin.value)


def _times(request: Any) -> dict[str, int]:
    """Pachyderm's one bound: the earliest start where the oldest come first, else the latest."""
    if not request.HasField("started_time"):
        return {}
    limit: Timestamp = request.started_time
    limit_ns = min(max(-1, limit.seconds * 1_000_000_000 + limit.nanos), EVER_NS)
    return {"after_ns" if request.reverse else "before_ns": limit_ns}


def _in_repo(view: View, request: Any, field: str, dialect: Dialect) -> Commit:
    message = getattr(request, field)
    if not (message.repo.name or message.branch.repo.name):
        message.branch.repo.CopyFrom(request.repo)
    commit = view.resolve(commit_reference(message, dialect))
    if request.repo.name and commit.key.repo != repo_key(request.repo):
        raise InvalidError(f"'from' and 'to' commits need to be from repo {repo_key(request.repo)}, and {commit} is not")
    return commit


def _differs(new: FileTree, old: FileTree, path: str) -> bool:
    after, before = new.info(path), old.info(path)
    return (after and (after.kind, after.hash)) != (before and (before.kind, before.hash))


def _start_commit(dialect: Dialect, txn: Txn, request: Any) -> Any:
    parent = request.parent if request.HasField("parent") and (request.parent.id or request.parent.branch.name) else None
    if parent is not None and not (parent.repo.name or parent.branch.repo.name):
        parent.branch.repo.CopyFrom(request.branch.repo)
    key = BranchKey(repo_key(request.branch.repo), request.branch.name) if not request.branch.name else branch_key(request.branch)
    commit = txn.start_commit(key, parent=None if parent is None else commit_reference(parent, dialect), description=request.description)
    return commit_message(commit.key)


def _finish_commit(dialect: Dialect, txn: Txn, request: Any) -> Any:
    commit = txn.resolve(commit_reference(request.commit, dialect))
    txn.finish_commit(commit.key, description=request.description, error=request.error, by_pipeline=request.force)
    return empty()


def _squash_commit_set(txn: Txn, request: Any) -> Any:
    txn.squash_commit_set(request.commit_set.id)
    return empty()
