"""The nouns of PFS, as frozen values: what the rest of the engine passes around and what the API translates to messages."""

from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, NewType

import msgspec

if TYPE_CHECKING:
    from minipachd.pfs.ancestry import Ancestry

CommitSetId = NewType("CommitSetId", str)
"""32 lower-case hex digits, a UUID v4 without dashes. Shared by every commit and job that one user action made."""

DEFAULT_PROJECT = "default"
DEFAULT_TAG = "default"
USER_REPO, META_REPO, SPEC_REPO = "user", "meta", "spec"


class Origin(IntEnum):
    """Why a commit exists (values are the protocol's)."""

    USER = 1
    AUTO = 2
    FSCK = 3


class FileKind(IntEnum):
    """What a path names (values are the protocol's)."""

    FILE = 1
    DIR = 2


class CommitState(IntEnum):
    """States that one can wait for; each includes those before it (values are the protocol's)."""

    UNKNOWN = 0
    STARTED = 1
    READY = 2
    FINISHING = 3
    FINISHED = 4


@dataclass(frozen=True, slots=True, order=True)
class RepoKey:
    """Names a repo; prints as ``project/name``, or ``project/name.type`` for a system repo."""

    project: str
    name: str
    type: str = USER_REPO

    def __str__(self) -> str:
        return f"{self.project}/{self.name}" if self.type == USER_REPO else f"{self.project}/{self.name}.{self.type}"


@dataclass(frozen=True, slots=True, order=True)
class BranchKey:
    """Names a branch; prints as ``repo@branch``."""

    repo: RepoKey
    name: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class CommitKey:
    """Names a commit: a repo has at most one with a given id. Prints as ``repo@id``.

    :ivar branch: Name of the branch on which it was made, where that is known; no part of its identity.
    """

    repo: RepoKey
    id: CommitSetId
    branch: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.repo}@{self.id}"


@dataclass(frozen=True, slots=True)
class CommitReference:
    """What a client calls a commit by: an id, else a branch; perhaps an ancestor of it.

    :ivar branch: Where there is an id, too: the branch that the client named beside it.
    """

    repo: RepoKey
    branch: str | None = None
    id: str = ""
    ancestry: "Ancestry | None" = None
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.repo}@{self.id or self.branch or ''}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a branch follows another branch of its repo."""

    branch: str
    all: bool = False
    rate_limit_spec: str = ""
    size: str = ""
    commits: int = 0
    cron_spec: str = ""


@dataclass(frozen=True, slots=True)
class Project:
    name: str
    description: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class Repo:
    """:ivar branches: Names, sorted."""

    key: RepoKey
    description: str
    created_ns: int
    branches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A movable name for a commit.

    :ivar direct_provenance: As the user gave it.
    :ivar provenance: Its transitive closure, upstream.
    :ivar subvenance: The transitive inverse, downstream.
    """

    key: BranchKey
    head: CommitKey
    direct_provenance: tuple[BranchKey, ...]
    provenance: tuple[BranchKey, ...]
    subvenance: tuple[BranchKey, ...]
    trigger: Trigger | None
    created_ns: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One version of a repo's files.

    :ivar branch: The branch on which it was made.
    :ivar finishing_ns: Set when its content was frozen; in this engine at the same moment as ``finished_ns``.
    :ivar error: Not empty when its job failed or its content was refused; children do not inherit from it.
    :ivar root: Its file tree; for an open commit, what has been written so far.
    :ivar size: Bytes in all its files.
    """

    key: CommitKey
    branch: BranchKey
    origin: Origin
    description: str
    parent: CommitKey | None
    started_ns: int
    finishing_ns: int | None
    finished_ns: int | None
    error: str
    root: bytes
    size: int
    direct_provenance: tuple[CommitKey, ...]

    @property
    def finished(self) -> bool:
        return self.finished_ns is not None

    @property
    def id(self) -> CommitSetId:
        return self.key.id

    def __str__(self) -> str:
        return str(self.key)


CHUNK_ID_BYTES = 32


class FileEntry(msgspec.Struct, frozen=True, gc=False):
    """One piece of content at a path.

    :ivar path: Absolute, as ``/dir/name``.
    :ivar tag: Who wrote it: ``default`` for users, a datum id for pipelines.
    :ivar size: Bytes.
    :ivar chunks: The concatenated ids of its chunks; equal content has equal chunks.
    """

    path: str
    tag: str
    size: int
    chunks: bytes

    @property
    def hash(self) -> bytes:
        """32 bytes; equal exactly when the content is."""
        return blake2b(self.chunks, digest_size=32).digest()

    def moved(self, path: str, *, tag: str) -> "FileEntry":
        """The same content under another path or tag; no byte is copied."""
        return FileEntry(path, tag, self.size, self.chunks)


class FileInfo(msgspec.Struct, frozen=True, gc=False):
    """What listings show. A directory's path ends in ``/``, its size is that of everything below it."""

    path: str
    kind: FileKind
    size: int
    hash: bytes
    tag: str
