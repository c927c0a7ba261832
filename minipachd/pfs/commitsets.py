"""Squashing and dropping commits and commit sets: taking commits out of the history."""

from minipachd.errors import CommitNotFoundError, InvalidError
from minipachd.pfs import branches
from minipachd.pfs.types import SPEC_REPO, Commit, CommitKey, Origin
from minipachd.pfs.writing import Writing

_SUBVENANCE = """
    WITH RECURSIVE made (id) AS (
        SELECT ?
        UNION SELECT v.commit_id FROM commit_provenance v JOIN made ON v.upstream = made.id)
    SELECT id FROM made ORDER BY id DESC
"""


def squash(txn: Writing, set_id: str) -> None:
    """See :meth:`Txn.squash_commit_set`."""
    _squash(txn, *_members(txn, set_id))


def squash_commit(txn: Writing, key: CommitKey, *, recursive: bool) -> None:
    """See :meth:`Txn.squash_commit`."""
    _squash(txn, *_with_subvenance(txn, key, recursive=recursive))


def drop(txn: Writing, set_id: str) -> None:
    """See :meth:`Txn.drop_commit_set`."""
    _drop(txn, *_members(txn, set_id))


def drop_commit(txn: Writing, key: CommitKey, *, recursive: bool) -> None:
    """See :meth:`Txn.drop_commit`."""
    _drop(txn, *_with_subvenance(txn, key, recursive=recursive))


def _squash(txn: Writing, rows: list[int], commits: list[Commit]) -> None:
    for row, commit in zip(rows, commits, strict=True):
        children = txn.db.execute("SELECT id, finishing_ns FROM commits WHERE parent = ?", (row,)).fetchall()
        if not children:
            raise InvalidError(f"cannot squash a commit that has no children, as that would cause data loss: {commit}; drop it instead")
        for child, finishing_ns in children:
            if finishing_ns is None:
                raise InvalidError(f"cannot squash until child commit {txn.commit_at(child)} is finished")
    delete_commits(txn, rows, commits)


def _drop(txn: Writing, rows: list[int], commits: list[Commit]) -> None:
    doomed = set(rows)
    for row, commit in zip(rows, commits, strict=True):
        children = txn.db.execute("SELECT id FROM commits WHERE parent = ?", (row,))
        if any(child not in doomed for (child,) in children):
            raise InvalidError(f"cannot drop a commit that has children: {commit}; drop those first, or squash it")
    delete_commits(txn, rows, commits)


def delete_commits(txn: Writing, rows: list[int], commits: list[Commit]) -> None:
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
        key = txn.branch_key(branch)
        try:
            head = txn.commit_row(CommitKey(key.repo, txn.set_id))
        except CommitNotFoundError:
            branches.add_head(txn, branch, key)
        else:
            txn.move_head(branch, head)  # another branch of the repo has got one: a set has one commit in each repo


def _members(txn: Writing, set_id: str) -> tuple[list[int], list[Commit]]:
    """The real members of a set, downstream first; none of one that does not exist.

    :raises InvalidError: Other sets were made from them, or they changed a pipeline.
    """
    rows = [row for (row,) in txn.db.execute("SELECT id FROM commits WHERE set_id = ? ORDER BY id DESC", (set_id,))]
    commits = _checked(txn, rows)
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


def _with_subvenance(txn: Writing, key: CommitKey, *, recursive: bool) -> tuple[list[int], list[Commit]]:
    """A commit and everything that was made from it, downstream first.

    :raises InvalidError: Something was made from it, and ``recursive`` is not set; or one of them changed a pipeline.
    """
    rows = [row for (row,) in txn.db.execute(_SUBVENANCE, (txn.commit_row(key),))]
    if len(rows) > 1 and not recursive:
        made = ", ".join(str(txn.commit_at(row)) for row in rows[:-1])
        raise InvalidError(f"cannot squash or drop commit {key} without recursive, as it has subvenance: {made}")
    return rows, _checked(txn, rows)


def _checked(txn: Writing, rows: list[int]) -> list[Commit]:
    commits = [txn.commit_at(row) for row in rows]
    for commit in commits:
        if commit.key.repo.type == SPEC_REPO and commit.origin is Origin.USER:
            raise InvalidError(f"cannot squash or drop commit {commit} because it updated a pipeline")
    return commits


def remove_repo_commits(txn: Writing, repo_row: int) -> None:
    """Everything of a repo that is about to disappear."""
    rows = [row for (row,) in txn.db.execute("SELECT id FROM commits WHERE repo = ? ORDER BY id DESC", (repo_row,))]
    if txn.observer is not None and rows:
        txn.observer.commits_deleted(txn, [txn.commit_at(row) for row in rows])
    txn.db.execute("DELETE FROM branches WHERE repo = ?", (repo_row,))
    txn.db.execute("UPDATE commits SET parent = NULL WHERE repo = ?", (repo_row,))
    txn.db.execute("DELETE FROM commits WHERE repo = ?", (repo_row,))
    txn.created = [created for created in txn.created if created not in set(rows)]
