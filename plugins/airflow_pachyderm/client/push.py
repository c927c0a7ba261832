"""Putting a batch of files into a repo as exactly one commit, however often it is tried.

A push leaves its key in the description of its commit. Each try first looks for what the tries before it left: an unfinished commit of the
key is dropped, a finished one of the same files is used. A try that fails drops its own commit; one that is killed leaves it to the next,
or to whatever else wants to push to the branch and learns that its owner is gone. Where two tasks share a key, the later one waits for the
earlier one's commit.
"""

import hashlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import grpc

from airflow_pachyderm.client.answers import Commit
from airflow_pachyderm.client.errors import remote
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.exceptions import (
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermUnavailableError,
)
from airflow_pachyderm.files import Batch, SourceFile, read_ahead, server_url

log = logging.getLogger(__name__)

PROGRESS_SECONDS: Final = 5.0
_GLOB: Final = re.compile(r"[*?\[\]{}!()@+^]")  # which no path in a repo has
_PARENT_OPEN: Final = re.compile(r"parent commit .* has not been finished")


@dataclass(frozen=True)
class PushResult:
    """A finished commit that holds a batch.

    :ivar commit_set: Its id, 32 hex digits.
    :ivar reused: An earlier try had made it: nothing was sent.
    :ivar size_bytes: Sent by this try.
    :ivar seconds: From the first look at the server to the finished commit.
    """

    commit_set: str
    reused: bool
    files: int
    size_bytes: int
    seconds: float


class Owner:
    """Who pushes. This one leaves no trace, and takes every commit of others for one that somebody works on.

    :param name: Stands at the end of the commit's description; no spaces.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name

    def opened(self, commit: Commit) -> None:
        """Called when the commit is open, before anything is put into it."""

    def is_gone(self, commit: Commit) -> bool:  # noqa: ARG002 - what a subclass looks at
        """Whether nobody will ever finish an open commit that is in the way; if so it is dropped."""
        return False

    def is_busy(self, commit: Commit) -> bool:  # noqa: ARG002 - likewise
        """Whether another task works on an open commit of the same push; if not it is dropped."""
        return False


class Push:
    """One try to push one batch.

    :param pfs: The server to push to.
    :param repo: An existing repo.
    :param branch: Made if it does not exist.
    :param key: Names this push for ever, the same in every try: made of run, task and map index.
    :param batch: What to change. Files are read again from the start when the stream to the server breaks.
    :param accept: Whether a finished commit of an earlier try will do; asked once, for the newest.
    :param owner: Who pushes.
    :param branch_timeout: Seconds to wait while somebody else has a commit open on the branch, for each such commit.
    :param since: No try has begun before, in seconds since the Unix epoch by the server's clock: earlier commits need no look.
    """

    def __init__(
        self,
        pfs: PfsClient,
        *,
        repo: str,
        branch: str,
        key: str,
        batch: Batch,
        accept: Callable[[str], bool] = lambda _: True,
        owner: Owner | None = None,
        branch_timeout: float = 900.0,
        since: float = 0.0,
    ) -> None:
        self._pfs, self._repo, self._branch, self._batch, self._accept = pfs, repo, branch, batch, accept
        self._owner, self._branch_timeout, self._since = owner or Owner(), branch_timeout, since
        self._prefix = description_prefix(key)
        self._mark = f"{self._prefix}{batch.digest}]"
        # Tells this try's commit from another's, when the answer to StartCommit was lost.
        self._description = f"{self._mark} {batch}, try {secrets.token_hex(4)}" + (f" by {self._owner.name}" if self._owner.name else "")
        self._call: Any = None
        self._stopped = threading.Event()
        self._waiting_for, self._give_up = "", 0.0
        self._missing_ok = batch.missing_ok
        self._seen = ""  # the newest finished commit that was looked at

    @property
    def connection(self) -> Any:
        """Where the server is."""
        return self._pfs.connection

    @property
    def retry(self) -> Any:
        """How long transient errors are retried."""
        return self._pfs.retry

    def run(self) -> PushResult:
        """Push, or find what an earlier try pushed.

        :raises PachydermSourceError: A file cannot be read. No commit is left.
        :raises PachydermConflictError: The branch stayed occupied. No commit is left.
        :raises PachydermUnavailableError: The server went away; a commit that could not be dropped stays open until the next try.
        """
        started = time.monotonic()
        while True:
            earlier = self._earlier()
            if earlier and self._accept(earlier.commit_set):
                log.info("Commit %s of an earlier try holds these %s: nothing to send", earlier, self._batch)
                return PushResult(
                    earlier.commit_set, reused=True, files=len(self._batch.files), size_bytes=0, seconds=time.monotonic() - started
                )
            # What an earlier try deleted, this one need not find.
            self._missing_ok = self._missing_ok or earlier is not None
            commit = self._begin()
            if commit is not None and (size_bytes := self._put(commit)) is not None:
                break
        seconds = time.monotonic() - started
        log.info("Finished commit %s: %s, %d bytes in %.1f s", commit, self._batch, size_bytes, seconds)
        return PushResult(commit.commit_set, reused=False, files=len(self._batch.files), size_bytes=size_bytes, seconds=seconds)

    def _put(self, commit: Commit) -> int | None:
        """Fill the open commit and finish it.

        :return: Bytes sent. None: the commit is dropped, since another task finished this same push before it was opened.
        """
        try:
            if self._came_between():  # as long as this commit is open nobody else can open one
                log.info("Dropping commit %s: the same push was finished just before it was opened", commit)
                self._pfs.drop_commit_set(commit.commit_set)
                return None
            log.info("Opened commit %s at %s", commit, self.connection)
            self._owner.opened(commit)
            size_bytes = self._send(commit, self._deletions(commit))
            self._pfs.finish_commit(commit)
        except BaseException as exc:  # also of a task that is told to stop: nothing half done may stay
            self._abandon(commit, exc)
            raise
        return size_bytes

    def stop(self) -> None:
        """End :meth:`run` soon, from another thread or a signal handler; it drops its commit and raises."""
        self._stopped.set()
        if self._call is not None:
            self._call.cancel()

    def drop_unfinished(self) -> list[Commit]:
        """Drop what earlier tries of this push left unfinished, and nobody works on; :meth:`run` does it first.

        :return: What they finished, newest first.
        """
        finished: list[Commit] = []
        looked_at = self._pfs.list_commits(self._repo, self._branch, since=self._since)
        self._seen = next((commit.commit_set for commit in looked_at if commit.finished), "")
        for commit in looked_at:
            if not commit.description.startswith(self._prefix):
                continue
            if commit.finished:
                finished.append(commit)
            elif not self._owner.is_busy(commit):
                log.warning("Dropping commit %s: an earlier try of this push did not finish it", commit)
                self._pfs.drop_commit_set(commit.commit_set)
        return finished

    def _earlier(self) -> Commit | None:
        """The newest commit of this push and these files that is finished without an error."""
        return next((commit for commit in self.drop_unfinished() if commit.description.startswith(self._mark) and not commit.error), None)

    def _came_between(self) -> bool:
        """Whether another task has finished this same push since the last look."""
        new = self._pfs.list_commits(self._repo, self._branch, since=self._since, down_to=self._seen)
        return any(commit.description.startswith(self._mark) and commit.finished and not commit.error for commit in new)

    @remote("open a commit")
    def _begin(self) -> Commit | None:
        """Open the commit, after whoever has one open on the branch. None: that was of this same push, so it may be done by now."""
        while True:
            try:
                return self._pfs.start_commit_once(self._repo, self._branch, self._description)
            except grpc.RpcError as exc:
                if not _PARENT_OPEN.search(exc.details() or ""):
                    raise
            head = self._pfs.head(self._repo, self._branch)
            if head.description == self._description and not head.finished:
                return head  # ours: the call went through and its answer was lost
            if not head.finished and self._owner.is_gone(head):
                log.warning("Dropping commit %s, which was left open on the branch (%s)", head, head.description)
                self._pfs.drop_commit_set(head.commit_set)
                continue
            if head.commit_set != self._waiting_for:  # several may stand in a line before us: each of them has its own time
                self._waiting_for, self._give_up = head.commit_set, time.monotonic() + self._branch_timeout
                log.info("Waiting for commit %s (%s) to be finished by its owner", head, head.description or "no description")
            elif time.monotonic() > self._give_up:
                raise PachydermConflictError(
                    f"Commit {head} at {self.connection} is open for more than {self._branch_timeout:.0f} s "
                    f"(description: {head.description or 'none'}) and no other can be made on its branch; "
                    f"if nobody works on it any more, remove it: pachctl delete commit {head.commit_set}"
                )
            self._await_end(head, seconds=min(self.retry.max_pause_seconds, max(0.0, self._give_up - time.monotonic())))
            if self._stopped.is_set():
                raise PachydermError("The push was stopped before it began")
            if head.description.startswith(self._prefix) or self._came_between():
                return None

    def _await_end(self, other: Commit, *, seconds: float) -> None:
        """Wait until somebody else's commit is finished or gone, this push is stopped, or the time is over."""
        stubs = self._pfs.server.stubs
        request = pfs_pb2.InspectCommitRequest(
            commit=self._pfs.commit_message(other.repo, other.branch, other.commit_set), wait=pfs_pb2.CommitState.Value("FINISHED")
        )
        self._call = call = stubs.pfs.InspectCommit.future(request, timeout=seconds, metadata=stubs.metadata)
        if self._stopped.is_set():
            call.cancel()
        try:
            call.result()
        except grpc.FutureCancelledError:
            return
        except grpc.RpcError as exc:
            if exc.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:  # it is gone, or the next try to open ours meets the same trouble
                self._stopped.wait(self.retry.pause(1))

    def _deletions(self, commit: Commit) -> list[str]:
        """The paths that the batch's deletions mean.

        Looked up before anything is sent: what a stream deleted whose answer was lost is not missed when it is sent again.

        :raises PachydermNotFoundError: One matches nothing, and the batch does not allow that.
        """
        found: list[str] = []
        for pattern in self._batch.deletes:
            if self._missing_ok and not _GLOB.search(pattern) and pattern.strip("/"):
                found.append(pattern)  # nobody needs to know whether it is there
                continue
            matches = matching(self._pfs, commit.repo, commit.commit_set, pattern)
            if not matches and not self._missing_ok:
                raise PachydermNotFoundError(
                    f"{commit.repo}@{commit.branch} at {self.connection} has nothing to delete that matches {pattern}"
                )
            found += matches
        return found

    # The stream

    @remote("put files")
    def _send(self, commit: Commit, deletes: Sequence[str]) -> int:
        """Send the batch as one stream, which the server applies whole or not at all.

        Safe to repeat: every file of the stream replaces the one of its path.
        """
        sender = _Sender(self._requests(commit, deletes))
        stubs = self._pfs.server.stubs
        call = stubs.pfs.ModifyFile.future(iter(sender), metadata=stubs.metadata)
        self._call = sender.call = call
        sender.ready.set()
        if self._stopped.is_set():  # looked at when stop() can find the call, so that none of the two misses the other
            call.cancel()
        while True:
            try:
                call.result(timeout=PROGRESS_SECONDS)
            except grpc.FutureTimeoutError:
                log.info("Put %d of %d files, %d bytes so far", sender.files, len(self._batch.files), sender.size_bytes)
            except grpc.FutureCancelledError as exc:
                if sender.error:
                    raise sender.error from exc
                raise PachydermError(f"The push into {commit} was stopped") from exc
            else:
                return sender.size_bytes

    def _requests(self, commit: Commit, deletes: Sequence[str]) -> Iterator[Any]:
        yield pfs_pb2.ModifyFileRequest(set_commit=self._pfs.commit_message(commit.repo, commit.branch, commit.commit_set))
        for path in deletes:
            yield pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=path))
        if self._batch.server_side:
            for file in self._batch.files:
                yield pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=file.path))
                add = pfs_pb2.AddFile(path=file.path)
                add.url.URL = server_url(file.url)
                yield pfs_pb2.ModifyFileRequest(add_file=add)
            return
        for block in read_ahead(self._batch.files):
            if block.first:
                yield pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path=block.file.path))
            add = pfs_pb2.AddFile(path=block.file.path)
            add.raw.value = block.data
            yield pfs_pb2.ModifyFileRequest(add_file=add)

    # After a failure

    def _abandon(self, commit: Commit, cause: BaseException) -> None:
        try:
            if self._pfs.inspect_commit(commit.repo, commit.branch, commit.commit_set).finished:
                log.warning("Commit %s is finished all the same: the next try of this task will find it", commit)
                return
            log.warning("Dropping commit %s: %s", commit, cause or type(cause).__name__)
            self._pfs.drop_commit_set(commit.commit_set)
        except PachydermNotFoundError:
            log.warning("Commit %s is gone already: another try of this push dropped it", commit)
        except PachydermUnavailableError as exc:
            log.warning("Commit %s stays open until the next try of this task drops it: %s", commit, exc)
        except PachydermError as exc:
            log.error("Commit %s stays open: %s", commit, exc)  # noqa: TRY400 - the cause is being raised; this is its aftermath


def holds(pfs: PfsClient, repo: str, branch: str, file: SourceFile) -> bool:
    """Whether the head of a branch has the file with the same content.

    :raises PachydermSourceError: The source cannot be read.
    """
    try:
        there = pfs.inspect_file(repo, branch, file.path)
    except PachydermNotFoundError:  # not even the branch
        return False
    if there is None or there.is_dir or (file.size_bytes is not None and file.size_bytes != there.size_bytes):
        return False
    mine, theirs = hashlib.sha256(), hashlib.sha256()
    for block in read_ahead([file]):
        mine.update(block.data)
    for data in pfs.read_blocks(repo, branch, file.path):
        theirs.update(data)
    return mine.digest() == theirs.digest()


def matching(pfs: PfsClient, repo: str, ref: str, pattern: str) -> list[str]:
    """The paths that a deletion means. A server takes no globs to delete, and those of the 2.12 line not even ``/``.

    :param ref: Branch or commit id.
    :param pattern: Path or Pachyderm glob of files, of directories if it ends in a slash, of everything if it is only that.
    :raises PachydermInvalidError: It matches nothing but directories, and has no slash at its end.
    """
    entries = pfs.glob_files(repo, ref, pattern.rstrip("/") or "/*")
    if not pattern.strip("/"):
        return [entry.path for entry in entries]
    found = [entry.path for entry in entries if entry.is_dir is pattern.endswith("/")]
    if entries and not found and not pattern.endswith("/"):
        raise PachydermInvalidError(
            f"{pattern} matches only directories in {repo}@{ref}, for example {entries[0].path}; "
            "end it in a slash to delete them with all that is in them"
        )
    return found


class _Sender:
    """The request stream, watched: gRPC would turn an error in it into its own, and a mere end into a shorter but complete stream."""

    def __init__(self, requests: Iterator[Any]) -> None:
        self._requests = requests
        self.ready = threading.Event()
        self.call: Any = None
        self.error: Exception | None = None
        self.files = 0
        self.size_bytes = 0

    def __iter__(self) -> Iterator[Any]:
        try:
            for request in self._requests:
                if request.HasField("add_file"):
                    self.size_bytes += len(request.add_file.raw.value)
                elif request.HasField("delete_file"):
                    self.files += 1
                yield request
        except Exception as exc:  # noqa: BLE001 - handed to the thread that waits for the call
            self.error = exc
            self.ready.wait()
            self.call.cancel()  # after this the end of the stream is not sent


def description_prefix(key: str) -> str:
    """How the description of every commit of a push begins; the digest of its files follows."""
    return f"[airflow:{quote(key, safe=' /:+-_.~@,=|')}#"
