"""Performs calls on one server and says what it answered, without what two servers cannot have in common: ids, times, order of sets."""

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from minipachd.api import newer
from tests.compare.sequences import UNKNOWN, Call

_SECONDS = 120.0
_REPOS = ("r", "q", "p")  # those that can hold something: the other names are bad
_CLEANING_SECONDS = 600.0
_MOST_COMMITS = 1  # whose files are read at the end of a sequence
_OPTIONS = (("grpc.max_receive_message_length", 20 << 20),)
_RETRIES = 5
_TAKEN_BACK = (
    "commit unexpectedly resulted in rollback",
    "current transaction is aborted",
)  # by a busy server's database: nothing happened
_CHANGES = frozenset(
    (
        *("CreateRepo", "DeleteRepo", "CreateBranch", "DeleteBranch", "StartCommit", "FinishCommit", "ClearCommit", "ModifyFile"),
        *("DropCommitSet", "SquashCommitSet", "DropCommit", "SquashCommit", "AddFileSet"),
    )
)

Answer = tuple[str, Any]
"""The name of the status code, and what came: plain values, or of an error its text."""


class Player:
    """One server, and one project on it that the calls of a sequence are about.

    :param address: ``host:port``.
    :param project: Its name; made here, and removed by :meth:`clean`.
    """

    def __init__(self, address: str, project: str) -> None:
        self.address, self.project = address, project
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._pfs = pfs_pb2_grpc.APIStub(self._channel)
        self._symbols: dict[str, str] = {UNKNOWN: "unknown"}
        self._ids: dict[str, str] = {}
        self._hashes: dict[bytes, str] = {}
        self._finished: dict[tuple[str, str], str] = {}
        self._present: set[str] = set()
        self._pfs.CreateProject(pfs_pb2.CreateProjectRequest(project=self._project()), timeout=_SECONDS)

    def play(self, call: Call) -> Answer:
        """Perform a call. After one that changes something, wait until everything that was finished is, and look at the branches."""
        answer = self._perform(call)
        if call.name in _CHANGES:
            heads = self._attempt(lambda: self._settle(call))
            answer = (answer[0], [answer[1], heads])
        return answer

    def state(self) -> Answer:
        """Everything that can be seen of the project."""
        return self._attempt(self._everything)

    def clean(self) -> None:
        """Remove the project and all that is in it."""
        with self._channel:
            repos = self._pfs.ListRepo(pfs_pb2.ListRepoRequest(type="user", projects=[self._project()]), timeout=_CLEANING_SECONDS)
            for info in list(repos):
                self._pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=info.repo, force=True), timeout=_CLEANING_SECONDS)
            self._pfs.DeleteProject(pfs_pb2.DeleteProjectRequest(project=self._project()), timeout=_CLEANING_SECONDS)

    # Performing

    def _perform(self, call: Call) -> Answer:
        return self._attempt(lambda: getattr(self, f"_{call.name}")(**call.arguments))

    def _attempt(self, act: Callable[[], Any]) -> Answer:
        tries = 0
        while True:
            tries += 1
            try:
                return "OK", act()
            except grpc.RpcError as exc:
                details = exc.details() or ""
                if tries > _RETRIES or not any(text in details for text in _TAKEN_BACK):
                    return exc.code().name, self._hide(details)

    def _settle(self, call: Call) -> Any:
        heads = []
        if call.name in ("CreateRepo", "DeleteRepo"):
            self._present = set(_REPOS)
        for name in _REPOS:
            if name not in self._present:
                continue
            try:
                infos = list(self._pfs.ListBranch(pfs_pb2.ListBranchRequest(repo=self._repo(name)), timeout=_SECONDS))
            except grpc.RpcError:
                self._present.discard(name)
                continue
            for info in infos:
                self._learn(info.head.id, call.number)
                heads.append((self._branch_name(info.branch), self._symbols[info.head.id], self._end(name, info.head.id)))
        return heads

    def _end(self, repo: str, set_id: str) -> str:
        """How a commit ended, once it has if it is about to; ``open`` when nobody finished it."""
        if (repo, set_id) in self._finished:
            return self._finished[repo, set_id]
        request = pfs_pb2.InspectCommitRequest(commit=self._commit(repo, self._symbols[set_id]))
        commit = self._pfs.InspectCommit(request, timeout=_SECONDS)
        if commit.HasField("finishing") and not commit.HasField("finished"):
            request.wait = pfs_pb2.CommitState.FINISHED
            commit = self._pfs.InspectCommit(request, timeout=_SECONDS)
        if not commit.HasField("finished"):
            return "open"
        return self._finished.setdefault((repo, set_id), f"finished {_brief(commit.error)}")

    def _learn(self, set_id: str, number: int) -> None:
        if set_id not in self._symbols:
            symbol = next(name for name in _symbols(number) if name not in self._ids)
            self._symbols[set_id], self._ids[symbol] = symbol, set_id

    def _everything(self) -> Any:
        found: dict[str, Any] = {"repos": self._ListRepo(type="")}
        for name in _REPOS:
            try:
                found[name] = self._InspectRepo(repo=name)
            except grpc.RpcError:
                continue
            found[f"{name} branches"] = self._ListBranch(repo=name, reverse=False)
            commits = list(self._pfs.ListCommit(pfs_pb2.ListCommitRequest(repo=self._repo(name), all=True), timeout=_SECONDS))
            for commit in reversed(commits):
                self._learn(commit.commit.id, 999)
            found[f"{name} commits"] = [self._commit_info(info) for info in commits]
            for info in commits[:_MOST_COMMITS]:
                symbol = self._symbols[info.commit.id]
                for method in (self._WalkFile, self._GetFileTAR):
                    code, seen = self._attempt(lambda method=method, name=name, symbol=symbol: method(repo=name, commit=symbol, path="/"))
                    found[f"{name}@{symbol} {method.__name__}"] = seen if code == "OK" else (code, _brief(seen).partition(" PROJECT")[0])
        return found

    # Calls

    def _CreateRepo(self, repo: str, update: bool = False, description: str = "") -> Any:
        request = pfs_pb2.CreateRepoRequest(repo=self._repo(repo), update=update, description=description)
        self._pfs.CreateRepo(request, timeout=_SECONDS)

    def _DeleteRepo(self, repo: str, force: bool) -> Any:
        self._pfs.DeleteRepo(pfs_pb2.DeleteRepoRequest(repo=self._repo(repo), force=force), timeout=_SECONDS)

    def _InspectRepo(self, repo: str) -> Any:
        return self._repo_info(self._pfs.InspectRepo(pfs_pb2.InspectRepoRequest(repo=self._repo(repo)), timeout=_SECONDS))

    def _ListRepo(self, type: str) -> Any:  # noqa: A002 - the protocol's word
        request = pfs_pb2.ListRepoRequest(type=type, projects=[self._project()])
        return [self._repo_info(info) for info in self._pfs.ListRepo(request, timeout=_SECONDS)]

    def _CreateBranch(self, repo: str, branch: str, head: str, provenance: list[list[str]]) -> Any:
        request = pfs_pb2.CreateBranchRequest(branch=self._branch(repo, branch), provenance=[self._branch(*names) for names in provenance])
        if head:
            request.head.CopyFrom(self._commit(repo, head))
        self._pfs.CreateBranch(request, timeout=_SECONDS)

    def _InspectBranch(self, repo: str, branch: str) -> Any:
        return self._branch_info(self._pfs.InspectBranch(pfs_pb2.InspectBranchRequest(branch=self._branch(repo, branch)), timeout=_SECONDS))

    def _ListBranch(self, repo: str, reverse: bool) -> Any:
        request = pfs_pb2.ListBranchRequest(repo=self._repo(repo), reverse=reverse)
        return [self._branch_info(info) for info in self._pfs.ListBranch(request, timeout=_SECONDS)]

    def _DeleteBranch(self, repo: str, branch: str, force: bool) -> Any:
        self._pfs.DeleteBranch(pfs_pb2.DeleteBranchRequest(branch=self._branch(repo, branch), force=force), timeout=_SECONDS)

    def _StartCommit(self, repo: str, branch: str, parent: str, description: str) -> Any:
        request = pfs_pb2.StartCommitRequest(branch=self._branch(repo, branch), description=description)
        if parent:
            request.parent.CopyFrom(self._commit(repo, parent))
        return bool(self._pfs.StartCommit(request, timeout=_SECONDS).id)

    def _FinishCommit(self, repo: str, commit: str, description: str, error: str) -> Any:
        request = pfs_pb2.FinishCommitRequest(commit=self._commit(repo, commit), description=description, error=error)
        self._pfs.FinishCommit(request, timeout=_SECONDS)

    def _ClearCommit(self, repo: str, commit: str) -> Any:
        self._pfs.ClearCommit(pfs_pb2.ClearCommitRequest(commit=self._commit(repo, commit)), timeout=_SECONDS)

    def _DropCommitSet(self, set: str) -> Any:  # noqa: A002 - the protocol's word
        self._pfs.DropCommitSet(pfs_pb2.DropCommitSetRequest(commit_set=self._set(set)), timeout=_SECONDS)

    def _SquashCommitSet(self, set: str) -> Any:  # noqa: A002 - the protocol's word
        self._pfs.SquashCommitSet(pfs_pb2.SquashCommitSetRequest(commit_set=self._set(set)), timeout=_SECONDS)

    def _DropCommit(self, repo: str, commit: str, recursive: bool) -> Any:
        self._newer("DropCommit", repo, commit, recursive)

    def _SquashCommit(self, repo: str, commit: str, recursive: bool) -> Any:
        self._newer("SquashCommit", repo, commit, recursive)

    def _InspectCommit(self, repo: str, commit: str) -> Any:
        request = pfs_pb2.InspectCommitRequest(commit=self._commit(repo, commit))
        return self._commit_info(self._pfs.InspectCommit(request, timeout=_SECONDS))

    def _ListCommit(self, repo: str, to: str, older: str, number: int, reverse: bool, all: bool, origin: int) -> Any:  # noqa: A002 - the protocol's word
        request = pfs_pb2.ListCommitRequest(repo=self._repo(repo), number=number, reverse=reverse, all=all, origin_kind=origin)
        if to:
            request.to.CopyFrom(self._commit(repo, to))
        if older:
            getattr(request, "from").CopyFrom(self._commit(repo, older))
        return [self._commit_info(info) for info in self._pfs.ListCommit(request, timeout=_SECONDS)]

    def _InspectCommitSet(self, set: str) -> Any:  # noqa: A002 - the protocol's word
        request = pfs_pb2.InspectCommitSetRequest(commit_set=self._set(set))
        return sorted(self._commit_info(info) for info in self._pfs.InspectCommitSet(request, timeout=_SECONDS))

    def _FindCommits(self, repo: str, commit: str, path: str, limit: int) -> Any:
        request = pfs_pb2.FindCommitsRequest(start=self._commit(repo, commit), file_path=path, limit=limit)
        return [
            (answer.WhichOneof("result"), self._commit_name(getattr(answer, answer.WhichOneof("result"))), answer.commits_searched)
            for answer in self._pfs.FindCommits(request, timeout=_SECONDS)
        ]

    def _ModifyFile(self, repo: str, commit: str, edits: list[dict[str, Any]]) -> Any:
        self._pfs.ModifyFile(self._modifications(repo, commit, edits), timeout=_SECONDS)

    def _AddFileSet(self, repo: str, commit: str, edits: list[dict[str, Any]]) -> Any:
        requests = list(self._modifications("", "", edits))[1:]
        created = self._pfs.CreateFileSet(iter(requests), timeout=_SECONDS)
        self._pfs.AddFileSet(
            pfs_pb2.AddFileSetRequest(commit=self._commit(repo, commit), file_set_id=created.file_set_id), timeout=_SECONDS
        )

    def _InspectFile(self, repo: str, commit: str, path: str) -> Any:
        return self._file_info(self._pfs.InspectFile(pfs_pb2.InspectFileRequest(file=self._file(repo, commit, path)), timeout=_SECONDS))

    def _ListFile(self, repo: str, commit: str, path: str, number: int = 0, reverse: bool = False, marker: str = "") -> Any:
        request = pfs_pb2.ListFileRequest(file=self._file(repo, commit, path), number=number, reverse=reverse)
        if marker:
            request.paginationMarker.CopyFrom(self._file(repo, commit, marker))
        return [self._file_info(info) for info in self._pfs.ListFile(request, timeout=_SECONDS)]

    def _WalkFile(self, repo: str, commit: str, path: str, number: int = 0, reverse: bool = False, marker: str = "") -> Any:
        request = pfs_pb2.WalkFileRequest(file=self._file(repo, commit, path), number=number, reverse=reverse)
        if marker:
            request.paginationMarker.CopyFrom(self._file(repo, commit, marker))
        return [self._file_info(info) for info in self._pfs.WalkFile(request, timeout=_SECONDS)]

    def _GlobFile(self, repo: str, commit: str, pattern: str) -> Any:
        request = pfs_pb2.GlobFileRequest(commit=self._commit(repo, commit), pattern=pattern)
        return [self._file_info(info) for info in self._pfs.GlobFile(request, timeout=_SECONDS)]

    def _GetFile(self, repo: str, commit: str, path: str, offset: int = 0) -> Any:
        request = pfs_pb2.GetFileRequest(file=self._file(repo, commit, path), offset=offset)
        return _abridged(b"".join(piece.value for piece in self._pfs.GetFile(request, timeout=_SECONDS)))

    def _GetFileTAR(self, repo: str, commit: str, path: str) -> Any:
        request = pfs_pb2.GetFileRequest(file=self._file(repo, commit, path))
        data = b"".join(piece.value for piece in self._pfs.GetFileTAR(request, timeout=_SECONDS))
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            return [(member.name, _abridged(file.read()) if (file := tar.extractfile(member)) else "") for member in tar]

    def _DiffFile(self, repo: str, commit: str, path: str, old_repo: str = "", old_commit: str = "", old_path: str = "") -> Any:
        request = pfs_pb2.DiffFileRequest(new_file=self._file(repo, commit, path))
        if old_commit:
            request.old_file.CopyFrom(self._file(old_repo, old_commit, old_path))
        return [
            tuple(self._file_info(getattr(answer, side)) if answer.HasField(side) else None for side in ("old_file", "new_file"))
            for answer in self._pfs.DiffFile(request, timeout=_SECONDS)
        ]

    def _newer(self, method: str, repo: str, commit: str, recursive: bool) -> None:
        request, answer = newer.message(f"pfs_v2.{method}Request"), newer.message(f"pfs_v2.{method}Response")
        message = request(recursive=recursive)
        message.commit.MergeFromString(self._commit(repo, commit).SerializeToString())
        self._channel.unary_unary(
            f"/pfs_v2.API/{method}", request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        )(message, timeout=_SECONDS)

    # Requests

    def _project(self) -> Any:
        return pfs_pb2.Project(name=self.project)

    def _repo(self, name: str) -> Any:
        return pfs_pb2.Repo(name=name, type="user", project=self._project())

    def _branch(self, repo: str, name: str) -> Any:
        return pfs_pb2.Branch(repo=self._repo(repo), name=name)

    def _commit(self, repo: str, text: str) -> Any:
        """As clients write it: what is not a set's id, with ancestry or without, goes to the branch's place; ancestry stays an id."""
        if text.startswith("#") or text[:32] in (UNKNOWN, UNKNOWN.upper()):
            base, _, suffix = _partition(text)
            set_id = self._ids.get(base, UNKNOWN) if base.startswith("#") else base
            return pfs_pb2.Commit(repo=self._repo(repo), branch=self._branch(repo, ""), id=set_id + suffix)
        base, ancestry, suffix = _partition(text)
        if ancestry:
            return pfs_pb2.Commit(repo=self._repo(repo), branch=self._branch(repo, ""), id=text)
        return pfs_pb2.Commit(repo=self._repo(repo), branch=self._branch(repo, base))

    def _set(self, text: str) -> Any:
        return pfs_pb2.CommitSet(id=self._ids.get(text, UNKNOWN))

    def _file(self, repo: str, commit: str, path: str) -> Any:
        return pfs_pb2.File(commit=self._commit(repo, commit), path=path)

    def _modifications(self, repo: str, commit: str, edits: list[dict[str, Any]]) -> Iterator[Any]:
        """As python-pachyderm sends them: a put is a deletion, a file without bytes, and the bytes."""
        yield pfs_pb2.ModifyFileRequest(set_commit=self._commit(repo, commit))
        for edit in edits:
            path, datum = edit["path"], edit.get("datum", "")
            match edit["kind"]:
                case "put":
                    yield pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path, datum=datum))
                    yield pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, datum=datum, raw=BytesValue()))
                    raw = BytesValue(value=edit["data"].encode())
                    yield pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, datum=datum, raw=raw))
                case "append":
                    raw = BytesValue(value=edit["data"].encode())
                    yield pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, datum=datum, raw=raw))
                case "empty":
                    yield pfs_pb2.ModifyFileRequest(add_file=pfs_pb2.AddFile(path=path, datum=datum))
                case "delete":
                    yield pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path, datum=datum))
                case "copy":
                    source = self._file(edit["of_repo"], edit["of"], edit["source"])
                    yield pfs_pb2.ModifyFileRequest(copy_file=pfs_pb2.CopyFile(dst=path, datum=datum, src=source, append=edit["append"]))

    # Answers

    def _hide(self, text: str) -> str:
        for set_id, symbol in self._symbols.items():
            text = text.replace(set_id, symbol)
        return text.replace(self.project, "PROJECT")

    def _name(self, set_id: str) -> str:
        return self._symbols.get(set_id, "new")

    def _commit_name(self, commit: Any) -> str:
        branch = f" on {commit.branch.name}" if commit.branch.name else ""
        return f"{commit.repo.name}@{self._name(commit.id)}{branch}"

    def _branch_name(self, branch: Any) -> str:
        return f"{branch.repo.name}@{branch.name}"

    def _repo_info(self, info: Any) -> Any:
        size = ("size", info.details.size_bytes) if info.HasField("details") else ()
        return (info.repo.name, info.repo.type, info.description, sorted(branch.name for branch in info.branches), *size)

    def _branch_info(self, info: Any) -> Any:
        related = [sorted(map(self._branch_name, branches)) for branches in (info.direct_provenance, info.provenance, info.subvenance)]
        return (self._branch_name(info.branch), self._commit_name(info.head), *related)

    def _commit_info(self, info: Any) -> Any:
        return (
            self._commit_name(info.commit),
            info.origin.kind,
            info.description,
            self._commit_name(info.parent_commit) if info.HasField("parent_commit") else "root",
            sorted(self._commit_name(commit).partition(" on ")[0] for commit in info.child_commits),  # without a branch that is gone
            sorted(self._commit_name(commit).partition(" on ")[0] for commit in info.direct_provenance),
            [name for name in ("started", "finishing", "finished") if info.HasField(name)],
            _brief(info.error),
            info.details.size_bytes if info.HasField("finished") else 0,
        )

    def _file_info(self, info: Any) -> Any:
        """Hashes are told apart, not compared; those of directories depend on how a server computes them."""
        digest = ""
        if info.file_type == pfs_pb2.FileType.FILE:
            digest = self._hashes.setdefault(info.hash, f"h{len(self._hashes)}")
        return (
            self._commit_name(info.file.commit),
            info.file.path,
            info.file.datum,
            info.file_type,
            info.size_bytes,
            digest,
            info.HasField("committed"),
        )


def _symbols(number: int) -> Iterator[str]:
    yield f"#{number}"
    for letter in "bcdefghijklmnopqrstuvwxyz":
        yield f"#{number}{letter}"


def _partition(text: str) -> tuple[str, str, str]:
    """Base, first character of the ancestry, and all of the ancestry."""
    at = min((found for found in map(text.find, "^~.") if found >= 0), default=len(text))
    return text[:at], text[at : at + 1], text[at:]


def _brief(error: str) -> str:
    """What went wrong with which path; the advice behind it is each server's own."""
    return error.partition(")")[0]


def _abridged(data: bytes) -> str:
    return data.decode(errors="replace") if len(data) < 20 else f"{len(data)} bytes of {data[:1]!r}"
