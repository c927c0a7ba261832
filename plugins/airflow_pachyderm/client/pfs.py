"""Repos, commits and files: the calls of Pachyderm's file system that DAGs need, typed, with deadlines and retries."""

import logging
from collections.abc import Iterator
from typing import Any, Final

import grpc

from airflow_pachyderm.client.answers import Commit, FileEntry, check_commit_set, parse_commit, parse_entry
from airflow_pachyderm.client.channel import LIST_TIMEOUT_SECONDS, Client
from airflow_pachyderm.client.errors import remote, translate
from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.exceptions import PachydermUnavailableError

log = logging.getLogger(__name__)

BRANCH: Final = "master"


class PfsClient(Client):
    """Calls about data."""

    # Repos

    @remote("create repo {name}")
    def create_repo(self, name: str, *, description: str = "") -> bool:
        """Create a repo unless it exists.

        :return: False if it was there; it is left as it is.
        :raises PachydermInvalidError: The name is not allowed.
        """
        request = pfs_pb2.CreateRepoRequest(repo=self.repo_message(name), description=description)
        try:
            self._call(self.server.stubs.pfs.CreateRepo, request)
        except grpc.RpcError as exc:
            # Pachyderm words this differently from release to release; the code says it in all of them.
            if exc.code() is grpc.StatusCode.ALREADY_EXISTS:
                return False
            raise
        return True

    @remote("delete repo {name}")
    def delete_repo(self, name: str, *, force: bool = False) -> None:
        """Delete a repo with all its commits; one that is not there is no error.

        :param force: Also when pipelines read it.
        """
        try:
            self._call(self.server.stubs.pfs.DeleteRepo, pfs_pb2.DeleteRepoRequest(repo=self.repo_message(name), force=force))
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.NOT_FOUND:  # Pachyderm 2.7 does not even say so
                raise

    @remote("create branch {repo}@{branch}")
    def create_branch(self, repo: str, branch: str, *, head: str) -> bool:
        """Create a branch unless it exists.

        :param head: Branch name or commit id that it begins with.
        :return: False if it was there; it is left as it is.
        :raises PachydermNotFoundError: There is no such repo or head.
        """
        try:
            self._call(self.server.stubs.pfs.InspectBranch, pfs_pb2.InspectBranchRequest(branch=self.branch_message(repo, branch)))
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        else:
            return False
        request = pfs_pb2.CreateBranchRequest(branch=self.branch_message(repo, branch), head=self._ref(repo, head))
        self._call(self.server.stubs.pfs.CreateBranch, request)
        return True

    # Commits

    @remote("list the commits of {repo}@{branch}")
    def list_commits(self, repo: str, branch: str = BRANCH, *, since: float = 0.0, down_to: str = "") -> list[Commit]:
        """The commits that users made and that the branch holds, newest first; none when the branch does not exist.

        :param since: Only those that were started later, in seconds since the Unix epoch; the server's clock counts. Older ones are not
            even read.
        :param down_to: Only those that are newer than this commit, if the branch holds it.
        :raises PachydermNotFoundError: There is no such repo.
        """
        return list(self._walk_commits(repo, branch, since=since, down_to=down_to))

    def _walk_commits(self, repo: str, branch: str, *, since: float, down_to: str) -> Iterator[Commit]:
        # From the head towards the root. Without `to` the server lists the whole repo, and only some say which branch a commit is of; with
        # it none takes a time or the other direction.
        request = pfs_pb2.ListCommitRequest(repo=self.repo_message(repo), to=self.commit_message(repo, branch), origin_kind=pfs_pb2.USER)
        stream = self._call(self.server.stubs.pfs.ListCommit, request, timeout=LIST_TIMEOUT_SECONDS)
        try:
            for info in stream:
                commit = parse_commit(info, repo=repo, branch=branch)
                if commit.started < since or commit.commit_set == down_to:
                    break
                yield commit
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            # The repo or only the branch?
            self._call(self.server.stubs.pfs.InspectRepo, pfs_pb2.InspectRepoRequest(repo=self.repo_message(repo)))
        finally:
            stream.cancel()

    @remote("inspect {repo}@{branch}")
    def head(self, repo: str, branch: str = BRANCH) -> Commit:
        """The newest commit of the branch, open or not.

        :raises PachydermNotFoundError: The repo, the branch or a commit is missing.
        """
        request = pfs_pb2.InspectCommitRequest(commit=self.commit_message(repo, branch))
        return parse_commit(self._call(self.server.stubs.pfs.InspectCommit, request), repo=repo, branch=branch)

    @remote("inspect {repo}@{branch}={commit_set}")
    def inspect_commit(self, repo: str, branch: str, commit_set: str) -> Commit:
        """One commit.

        :raises PachydermNotFoundError: It is not there.
        """
        request = pfs_pb2.InspectCommitRequest(commit=self.commit_message(repo, branch, commit_set))
        return parse_commit(self._call(self.server.stubs.pfs.InspectCommit, request), repo=repo, branch=branch)

    def start_commit_once(self, repo: str, branch: str, description: str) -> Commit:
        """Open a commit. Not retried: when the answer is lost the commit may be there, and only the caller can tell that it is its own.

        :raises grpc.RpcError: As the server gave it.
        """
        request = pfs_pb2.StartCommitRequest(branch=self.branch_message(repo, branch), description=description)
        commit = self._call(self.server.stubs.pfs.StartCommit, request)
        return Commit(repo=repo, branch=branch, commit_set=commit.id, description=description, started=0.0, finished=False, error="")

    @remote("finish commit {commit}")
    def finish_commit(self, commit: Commit) -> None:
        """Finish an open commit: its files become visible and its jobs start.

        :raises PachydermNotFoundError: Somebody dropped it meanwhile.
        """
        request = pfs_pb2.FinishCommitRequest(commit=self.commit_message(commit.repo, commit.branch, commit.commit_set))
        try:
            self._call(self.server.stubs.pfs.FinishCommit, request)
        except grpc.RpcError as exc:
            if "has already finished" not in (exc.details() or ""):
                raise
            log.info("Commit %s is finished already: an earlier try went through", commit)

    @remote("drop commit set {commit_set}")
    def drop_commit_set(self, commit_set: str) -> bool:
        """Delete a commit and all that it caused downstream.

        :return: False if it was gone. A server of the 2.12 line does not say so: True.
        :raises PachydermConflictError: A later commit builds on it.
        :raises PachydermInvalidError: It is no id.
        """
        request = pfs_pb2.DropCommitSetRequest(commit_set=pfs_pb2.CommitSet(id=check_commit_set(commit_set)))
        try:
            self._call(self.server.stubs.pfs.DropCommitSet, request)
        except grpc.RpcError as exc:
            if exc.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise
        return True

    @remote("wait for commit {commit_set} of {repo}")
    def wait_commit(self, repo: str, commit_set: str, *, timeout: float) -> Commit:
        """Return when a commit is finished.

        :param timeout: Seconds.
        :raises PachydermUnavailableError: It is not, after ``timeout``.
        """
        request = pfs_pb2.InspectCommitRequest(commit=self._ref(repo, commit_set), wait=pfs_pb2.CommitState.Value("FINISHED"))
        return parse_commit(self._call(self.server.stubs.pfs.InspectCommit, request, timeout=timeout), repo=repo, branch="")

    # Reading

    @remote("inspect {repo}@{ref}:{path}")
    def inspect_file(self, repo: str, ref: str, path: str) -> FileEntry | None:
        """One file or directory, or None where there is none.

        :param ref: Branch name or commit id.
        :raises PachydermNotFoundError: The repo, branch or commit is missing.
        """
        try:
            return parse_entry(self._call(self.server.stubs.pfs.InspectFile, pfs_pb2.InspectFileRequest(file=self._file(repo, ref, path))))
        except grpc.RpcError as exc:
            if exc.code() is grpc.StatusCode.NOT_FOUND and (exc.details() or "").startswith("file "):
                return None
            raise

    @remote("list files {pattern} of {repo}@{ref}")
    def glob_files(self, repo: str, ref: str, pattern: str) -> list[FileEntry]:
        """The files and directories that match.

        :param ref: Branch name or commit id.
        :param pattern: Pachyderm glob, for example ``/valid/*``.
        """
        request = pfs_pb2.GlobFileRequest(commit=self._ref(repo, ref), pattern=pattern)
        return [parse_entry(info) for info in self._call(self.server.stubs.pfs.GlobFile, request, timeout=LIST_TIMEOUT_SECONDS)]

    @remote("read {repo}@{ref}:{path}")
    def read_file(self, repo: str, ref: str, path: str) -> bytes:
        """A file's whole content, for files that fit into memory.

        :param ref: Branch name or commit id.
        :raises PachydermNotFoundError: There is no such file.
        :raises PachydermUnavailableError: The stream ended early: what came is not the whole file.
        """
        info = self._call(self.server.stubs.pfs.InspectFile, pfs_pb2.InspectFileRequest(file=self._file(repo, ref, path)))
        # By the resolved commit: a branch may move between the two calls.
        request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=info.file.commit, path=path))
        content = b"".join(part.value for part in self._call(self.server.stubs.pfs.GetFile, request, timeout=LIST_TIMEOUT_SECONDS))
        if len(content) != info.size_bytes:
            raise PachydermUnavailableError(f"{repo}@{ref}:{path} ended after {len(content)} of {info.size_bytes} bytes; read it again")
        return content

    def read_blocks(self, repo: str, ref: str, path: str) -> Iterator[bytes]:
        """A file's content in the server's blocks, for files of any size. Not retried: what was handed out cannot be taken back.

        :raises PachydermError: As :meth:`read_file`; what was handed out is not the whole file.
        """
        action = f"read {repo}@{ref}:{path}"
        got = 0
        try:
            info = self._call(self.server.stubs.pfs.InspectFile, pfs_pb2.InspectFileRequest(file=self._file(repo, ref, path)))
            request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=info.file.commit, path=path))
            for part in self._call(self.server.stubs.pfs.GetFile, request, timeout=LIST_TIMEOUT_SECONDS):
                got += len(part.value)
                yield part.value
        except grpc.RpcError as exc:
            raise translate(exc, action=action, connection=self.connection) from exc
        if got != info.size_bytes:
            raise PachydermUnavailableError(f"Cannot {action}: it ended after {got} of {info.size_bytes} bytes; read it again")

    # Messages

    def repo_message(self, name: str) -> Any:
        """The repo of that name in the connection's project."""
        return pfs_pb2.Repo(name=name, type="user", project=pfs_pb2.Project(name=self.connection.project))

    def branch_message(self, repo: str, branch: str) -> Any:
        """The branch of that name."""
        return pfs_pb2.Branch(repo=self.repo_message(repo), name=branch)

    def commit_message(self, repo: str, branch: str, commit_set: str = "") -> Any:
        """The commit of that id, or the branch's head."""
        return pfs_pb2.Commit(repo=self.repo_message(repo), branch=self.branch_message(repo, branch), id=commit_set)

    def _ref(self, repo: str, ref: str) -> Any:
        # A name that is no id is resolved as a branch by the server.
        return pfs_pb2.Commit(repo=self.repo_message(repo), branch=self.branch_message(repo, ""), id=ref)

    def _file(self, repo: str, ref: str, path: str) -> Any:
        return pfs_pb2.File(commit=self._ref(repo, ref), path=path)
