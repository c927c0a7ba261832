"""Squashing and dropping commit sets, and taking commits out of the history."""

from typing import TYPE_CHECKING

from minipachd.errors import CommitSetNotFoundError, InvalidError
from minipachd.pfs import branches
from minipachd.pfs.types import SPEC_REPO, Commit, Origin

if TYPE_CHECKING:
    from minipachd.pfs.txn import Txn


def squash(txn: "Txn", set_id: str) -> None:
    """See :meth:`Txn.squash_commit_set`."""
    rows, commits = _members(txn, set_id)
    for row, commit in zip(rows, commits, strict=True):
        children = txn.db.execute("SELECT id, finishing_ns FROM commits WHERE parent = ?", (row,)).fetchall()
        if not children:
            raise InvalidError(f"cannot squash a commit that has no children, as that would cause data loss: {commit}; drop it instead")
        for child, finishing_ns in children:
            if finishing_ns is None:
                raise InvalidError(f"cannot squash until child commit {txn.commit_at(child)} is finished")
    delete_commits(txn, rows, commits)


def drop(txn: "Txn", set_id: str) -> None:
    """See :meth:`Txn.drop_commit_set`."""
    rows, commits = _members(txn, set_id)
    for row, commit in zip(rows, commits, strict=True):
        if txn.db.execute("SELECT 1 FROM commits WHERE parent = ? LIMIT 1", (row,)).fetchone():
            raise InvalidError(f"cannot drop a commit that has children: {commit}; drop those first, or squash it")
    delete_commits(txn, rows, commits)


def delete_commits(txn: "Txn", rows: list[int], commits: list[Commit]) -> None:
    """Take commits out of the history: children get the parent, branches go back to it, or to a new empty commit."""
    if txn.observer is not None and commits:
        txn.observer.commits_deleted(txn, commits)
    emptied: set[int] = set()
    for row in rows:
        (parent,) = txn.db.execute("SELECT parent FROM commits WHERE id = ?", (row,)).fetchone()
        txn.db.execute("UPDATE commits SET parent = ? WHERE parent = ?", (parent, row))
        heads = txn.db.execute("SELECT id FROM branches WHERE head = ?", (row,)).fetchall()
        txn.db.execute("UPDATE branches SET head = ? WHERE head = ?", (parent, row))
        txn.db.execute("DELETE FROM commits WHERE id = ?", (row,))
        (emptied if parent is None else txn.moved).update(branch for (branch,) in heads)
        txn.created = [created for created in txn.created if created != row]
    for branch in branches.upstream_first(txn, emptied):
        branches.add_head(txn, branch, txn.branch_key(branch))


def _members(txn: "Txn", set_id: str) -> tuple[list[int], list[Commit]]:
    """The real members of a set, downstream first.

    :raises InvalidError: Other sets were made from them, or they changed a pipeline.
    """
    rows = [row for (row,) in txn.db.execute("SELECT id FROM commits WHERE set_id = ? ORDER BY id DESC", (set_id,))]
    if not rows:
        raise CommitSetNotFoundError(set_id)
    commits = [txn.commit_at(row) for row in rows]
    for commit in commits:
        if commit.key.repo.type == SPEC_REPO and commit.origin is Origin.USER:
            raise InvalidError(f"cannot squash or drop commit {commit} because it updated a pipeline")
    dependent = txn.db.execute(
        """
        SELECT DISTINCT below.set_id FROM commit_provenance v JOIN commits below ON below.id = v.commit_id
        JOIN commits above ON above.id = v.upstream WHERE above.set_id = ? AND below.set_id != ?
        """,
        (set_id, set_id),
    ).fetchall()
    if dependent:
        listed = ", ".join(found for (found,) in dependent)
        raise InvalidError(f"commit set {set_id} cannot be dropped because it has subvenant commit sets: {listed}")
    return rows, commits


def remove_repo_commits(txn: "Txn", repo_row: int) -> None:
    """Everything of a repo that is about to disappear."""
    rows = [row for (row,) in txn.db.execute("SELECT id FROM commits WHERE repo = ? ORDER BY id DESC", (repo_row,))]
    if txn.observer is not None and rows:
        txn.observer.commits_deleted(txn, [txn.commit_at(row) for row in rows])
    txn.db.execute("DELETE FROM branches WHERE repo = ?", (repo_row,))
    txn.db.execute("UPDATE commits SET parent = NULL WHERE repo = ?", (repo_row,))
    txn.db.execute("DELETE FROM commits WHERE repo = ?", (repo_row,))
    txn.created = [created for created in txn.created if created not in set(rows)]
