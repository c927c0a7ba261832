"""Every error that minipachd raises on purpose.

::

    MinipachdError
    ├── NotFoundError                 NOT_FOUND
    │   ├── ProjectNotFoundError
    │   ├── RepoNotFoundError
    │   ├── BranchNotFoundError
    │   ├── CommitNotFoundError
    │   ├── CommitSetNotFoundError
    │   └── PathNotFoundError
    ├── AlreadyExistsError            ALREADY_EXISTS
    ├── InvalidError                  UNKNOWN, as real Pachyderm answers a request that it refuses; clients match the text
    │   ├── CommitFinishedError
    │   └── BeyondRootError           NOT_FOUND in Pachyderm 2.7
    ├── InvalidArgumentError          INVALID_ARGUMENT
    ├── FailedPreconditionError       FAILED_PRECONDITION
    ├── ConflictError                 ABORTED: the same call may succeed when repeated
    ├── NotReadyError                 UNAVAILABLE: the thing exists, and is not finished yet
    ├── ForbiddenError                PERMISSION_DENIED
    ├── UnsupportedError              UNIMPLEMENTED
    ├── StorageFullError              RESOURCE_EXHAUSTED
    ├── LimitError                    RESOURCE_EXHAUSTED
    ├── ReadOnlyError                 FAILED_PRECONDITION
    ├── UnreadableError               INTERNAL
    ├── CorruptError                  DATA_LOSS
    └── DataDirError                  the server does not start
        └── InUseError

The texts are those that Pachyderm's clients look for. ``minipachd.api.errors`` is the one table from class to gRPC code.
"""


class MinipachdError(Exception):
    """Root of the tree; its text names the thing, the cause and the way out."""


class NotFoundError(MinipachdError):
    """Something that the call names does not exist."""


class ProjectNotFoundError(NotFoundError):
    """A project does not exist."""

    def __init__(self, project: str) -> None:
        super().__init__(f'project "{project}" not found')
        self.project = project


class RepoNotFoundError(NotFoundError):
    """A repo does not exist.

    :param repo: A ``RepoKey``, or its text ``project/name``.
    """

    def __init__(self, repo: object) -> None:
        super().__init__(f"repo {repo} not found")
        self.repo = str(repo)


class BranchNotFoundError(NotFoundError):
    """A branch does not exist. Clients match this text from its first character on: never put anything before it."""

    def __init__(self, repo: object, branch: str) -> None:
        super().__init__(f'branch "{branch}" not found in repo {repo}')
        self.repo, self.branch = str(repo), branch


class CommitNotFoundError(NotFoundError):
    """A commit does not exist.

    :param commit: A ``CommitKey``, or its text ``project/repo@id``.
    """

    def __init__(self, commit: object) -> None:
        super().__init__(f"commit {commit} not found")
        self.commit = str(commit)


class CommitSetNotFoundError(NotFoundError):
    """No commit has this id."""

    def __init__(self, commit_set: str) -> None:
        super().__init__(f"no commits found for commitset {commit_set}")
        self.commit_set = commit_set


class PathNotFoundError(NotFoundError):
    """A commit holds nothing at a path. Clients match this text from its first character on: never put anything before it."""

    def __init__(self, path: str, repo: object, commit: str) -> None:
        super().__init__(f"file {path} not found in repo {repo} at commit {commit}")
        self.path, self.repo, self.commit = path, str(repo), commit


class AlreadyExistsError(MinipachdError):
    """Something with this name exists already."""


class InvalidError(MinipachdError):
    """The request breaks a rule of Pachyderm's."""


class CommitFinishedError(InvalidError):
    """A finished commit cannot be finished, written to or cleared again."""

    def __init__(self, commit: object) -> None:
        super().__init__(f"commit {commit} has already finished")
        self.commit = str(commit)


class BeyondRootError(InvalidError):
    """A reference goes further back than the history.

    :param commit: The reference, or its text.
    """

    def __init__(self, commit: object) -> None:
        super().__init__(f"commit {commit} not found: the history is not that long")
        self.commit = str(commit)


class CycleError(InvalidError):
    """A branch would be made from itself, through others.

    :param branch: The branch.
    """

    def __init__(self, branch: object) -> None:
        super().__init__(f"branch {branch} cannot be in its own provenance")
        self.branch = str(branch)


class SecondCommitError(InvalidError):
    """A transaction may make one commit in a repo.

    :param repo: The repo.
    :param set_id: The transaction, and the set of its commits.
    """

    def __init__(self, repo: object, set_id: str) -> None:
        super().__init__(f"inconsistent dependencies: repo {repo} already has a commit in this transaction ({set_id})")
        self.repo, self.set_id = str(repo), set_id


class InvalidArgumentError(MinipachdError):
    """A required field of the request is missing."""


class FailedPreconditionError(MinipachdError):
    """The thing is not in the state that the call needs."""


class ConflictError(MinipachdError):
    """Another change came in between; repeat the call."""


class NotReadyError(MinipachdError):
    """The thing exists but is not finished yet."""


class ForbiddenError(MinipachdError):
    """The server could, and may not: what is asked for would use its own rights on this machine."""


class UnsupportedError(MinipachdError):
    """minipachd does not do this; real Pachyderm may."""


class StorageFullError(MinipachdError):
    """The disk under the data directory is full. Nothing of the call was kept."""


class LimitError(MinipachdError):
    """The system gives this process no more of something: open files, threads, memory. Nothing is wrong with what is stored."""


class ReadOnlyError(MinipachdError):
    """The file system below the data directory takes no writes."""


class UnreadableError(MinipachdError):
    """Stored bytes could not be read, so nobody knows whether they are right."""


class CorruptError(MinipachdError):
    """Stored bytes are not those that were written. They are not served."""


class DataDirError(MinipachdError):
    """The data directory cannot be used: locked by another server, of a newer version, not writable."""


class InUseError(DataDirError):
    """Another process serves the data directory.

    :param address: Where, as ``host:port``; empty when it has not said so yet.
    """

    def __init__(self, message: str, address: str) -> None:
        super().__init__(message)
        self.address = address
