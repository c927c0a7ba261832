"""Repos, branches, commits and files."""

from minipachd.pfs.changes import Changes
from minipachd.pfs.engine import Pfs
from minipachd.pfs.filetree import FileTree
from minipachd.pfs.globs import Glob, GlobError
from minipachd.pfs.modification import Modification
from minipachd.pfs.txn import Txn
from minipachd.pfs.types import (
    DEFAULT_PROJECT,
    DEFAULT_TAG,
    META_REPO,
    SPEC_REPO,
    USER_REPO,
    Branch,
    BranchKey,
    Commit,
    CommitKey,
    CommitReference,
    CommitSetId,
    CommitState,
    FileEntry,
    FileInfo,
    FileKind,
    Origin,
    Project,
    Repo,
    RepoKey,
    Trigger,
)
from minipachd.pfs.upload import Upload
from minipachd.pfs.view import EVER_NS, View
from minipachd.pfs.writing import CommitObserver

__all__ = [
    "DEFAULT_PROJECT",
    "DEFAULT_TAG",
    "EVER_NS",
    "META_REPO",
    "SPEC_REPO",
    "USER_REPO",
    "Branch",
    "BranchKey",
    "Changes",
    "Commit",
    "CommitKey",
    "CommitObserver",
    "CommitReference",
    "CommitSetId",
    "CommitState",
    "FileEntry",
    "FileInfo",
    "FileKind",
    "FileTree",
    "Glob",
    "GlobError",
    "Modification",
    "Origin",
    "Pfs",
    "Project",
    "Repo",
    "RepoKey",
    "Trigger",
    "Txn",
    "Upload",
    "View",
]
