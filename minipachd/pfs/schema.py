"""PFS's tables, and rows of them as values."""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from minipachd.pfs.types import BranchKey, Commit, CommitKey, Origin, RepoKey, Trigger
from minipachd.storage import Schema

SCHEMA = Schema(
    "pfs",
    (
        """
        CREATE TABLE cluster (name TEXT PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE projects (
            id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, description TEXT NOT NULL, created_ns INTEGER NOT NULL);
        CREATE TABLE repos (
            id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL,
            description TEXT NOT NULL, created_ns INTEGER NOT NULL, UNIQUE (project, name, type));
        CREATE TABLE commits (
            id INTEGER PRIMARY KEY AUTOINCREMENT, repo INTEGER NOT NULL REFERENCES repos (id), set_id TEXT NOT NULL, branch TEXT NOT NULL,
            origin INTEGER NOT NULL, description TEXT NOT NULL, parent INTEGER REFERENCES commits (id), started_ns INTEGER NOT NULL,
            finishing_ns INTEGER, finished_ns INTEGER, error TEXT NOT NULL DEFAULT '',
            base_root BLOB NOT NULL, root BLOB NOT NULL, size INTEGER NOT NULL, UNIQUE (repo, set_id));
        CREATE INDEX commits_by_set ON commits (set_id);
        CREATE INDEX commits_by_parent ON commits (parent);
        CREATE TABLE commit_provenance (
            commit_id INTEGER NOT NULL REFERENCES commits (id) ON DELETE CASCADE,
            upstream INTEGER NOT NULL REFERENCES commits (id) ON DELETE CASCADE,
            PRIMARY KEY (commit_id, upstream)) WITHOUT ROWID;
        CREATE INDEX commit_subvenance ON commit_provenance (upstream);
        CREATE TABLE branches (
            id INTEGER PRIMARY KEY AUTOINCREMENT, repo INTEGER NOT NULL REFERENCES repos (id), name TEXT NOT NULL,
            head INTEGER REFERENCES commits (id), trigger_json TEXT, created_ns INTEGER NOT NULL, UNIQUE (repo, name));
        CREATE INDEX branches_by_head ON branches (head);
        CREATE TABLE branch_provenance (
            branch INTEGER NOT NULL REFERENCES branches (id) ON DELETE CASCADE,
            upstream INTEGER NOT NULL REFERENCES branches (id) ON DELETE CASCADE,
            PRIMARY KEY (branch, upstream)) WITHOUT ROWID;
        CREATE INDEX branch_subvenance ON branch_provenance (upstream);
        CREATE TABLE transactions (
            id TEXT PRIMARY KEY, seq INTEGER NOT NULL, started_ns INTEGER NOT NULL, requests BLOB NOT NULL, responses BLOB NOT NULL);
        """,
        """
        CREATE TABLE filesets (
            id TEXT PRIMARY KEY, deletes BLOB NOT NULL, root BLOB NOT NULL, created_ns INTEGER NOT NULL, expires_ns INTEGER NOT NULL);
        """,
    ),
)

_COMMITS_OF = """
    SELECT r.project, r.name, r.type, c.set_id, c.branch, c.origin, c.description, p.set_id, p.branch, c.started_ns, c.finishing_ns,
           c.finished_ns, c.error, c.root, c.size, c.id
    FROM json_each(?) wanted JOIN commits c ON c.id = wanted.value JOIN repos r ON r.id = c.repo LEFT JOIN commits p ON p.id = c.parent
    ORDER BY wanted.key
"""
_PROVENANCE_OF = """
    SELECT v.commit_id, r.project, r.name, r.type, c.set_id, c.branch
    FROM json_each(?) wanted JOIN commit_provenance v ON v.commit_id = wanted.value JOIN commits c ON c.id = v.upstream
    JOIN repos r ON r.id = c.repo ORDER BY r.project, r.name, r.type
"""

BRANCH_KEYS = "SELECT r.project, r.name, r.type, b.name FROM branches b JOIN repos r ON r.id = b.repo"

_UPSTREAM = """
    WITH RECURSIVE closure (id) AS (
        SELECT upstream FROM branch_provenance WHERE branch = ?
        UNION SELECT upstream FROM branch_provenance JOIN closure ON branch = closure.id)
    SELECT id FROM closure
"""
_DOWNSTREAM = """
    WITH RECURSIVE closure (id) AS (
        SELECT branch FROM branch_provenance WHERE upstream = ?
        UNION SELECT branch FROM branch_provenance JOIN closure ON upstream = closure.id)
    SELECT id FROM closure
"""


def upstream_rows(connection: sqlite3.Connection, branch_row: int) -> list[int]:
    """The rows of every branch that a branch is made from, directly or not."""
    return [row for (row,) in connection.execute(_UPSTREAM, (branch_row,))]


def downstream_rows(connection: sqlite3.Connection, branch_row: int) -> list[int]:
    """The rows of every branch that is made from a branch, directly or not."""
    return [row for (row,) in connection.execute(_DOWNSTREAM, (branch_row,))]


def commits_of(connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, Commit]:
    """Commits by row, in this order, in two queries; rows that are gone are left out."""
    wanted = msgspec.json.encode(rows).decode()
    upstream: defaultdict[int, list[CommitKey]] = defaultdict(list)
    for row, project, name, kind, set_id, branch in connection.execute(_PROVENANCE_OF, (wanted,)):
        upstream[row].append(CommitKey(RepoKey(project, name, kind), set_id, branch))
    return {row[-1]: _commit(row, upstream[row[-1]]) for row in connection.execute(_COMMITS_OF, (wanted,))}


def _commit(row: tuple[Any, ...], upstream: Sequence[CommitKey]) -> Commit:
    (
        project,
        name,
        kind,
        set_id,
        branch,
        origin,
        description,
        parent,
        parent_branch,
        started,
        finishing,
        finished,
        error,
        root,
        size,
        _,
    ) = row
    repo = RepoKey(project, name, kind)
    return Commit(
        key=CommitKey(repo, set_id, branch),
        branch=BranchKey(repo, branch),
        origin=Origin(origin),
        description=description,
        parent=CommitKey(repo, parent, parent_branch) if parent is not None else None,
        started_ns=started,
        finishing_ns=finishing,
        finished_ns=finished,
        error=error,
        root=root,
        size=size,
        direct_provenance=tuple(upstream),
    )


def encode_trigger(trigger: Trigger) -> str:
    return msgspec.json.encode(trigger).decode()


def decode_trigger(text: str | None) -> Trigger | None:
    return None if text is None else msgspec.json.decode(text, type=Trigger)
