"""Branches, their provenance, and what a moved head sets off downstream."""

import time
from collections.abc import Sequence

from minipachd.errors import CycleError, InvalidError
from minipachd.pfs import commits
from minipachd.pfs.names import check_branch_name
from minipachd.pfs.schema import downstream_rows, encode_trigger, upstream_rows
from minipachd.pfs.triggers import check_trigger
from minipachd.pfs.types import SPEC_REPO, BranchKey, CommitKey, Origin, Trigger
from minipachd.pfs.writing import Writing


def create_branch(
    txn: Writing, key: BranchKey, *, head: CommitKey | None, provenance: Sequence[BranchKey], trigger: Trigger | None
) -> None:
    """See :meth:`Txn.create_branch`."""
    _check(txn, key, head, provenance, trigger)
    upstream = {_ensure_branch(txn, branch) for branch in provenance}
    if any(branch.repo == key.repo for branch in provenance):
        raise InvalidError(f"repo {key.repo} cannot be in the provenance of its own branch {key.name}")
    row = txn.find_branch(key)
    if row is None:
        row = _insert(txn, key)
    before = {found for (found,) in txn.db.execute("SELECT upstream FROM branch_provenance WHERE branch = ?", (row,))}
    if upstream != before:
        txn.db.execute("DELETE FROM branch_provenance WHERE branch = ?", (row,))
        txn.db.executemany("INSERT INTO branch_provenance VALUES (?, ?)", ((row, found) for found in sorted(upstream)))
        _check_no_cycle(txn, row, key)
    if trigger is not None:
        check_trigger(txn, key, trigger)
        txn.db.execute("UPDATE branches SET trigger_json = ? WHERE id = ?", (encode_trigger(trigger), row))
    if head is not None:
        txn.move_head(row, txn.commit_row(head))
        txn.set_anew.add(row)
    if txn.head_row_of(row) is None or (upstream and upstream != before):
        add_head(txn, row, key)


def delete_branch(txn: Writing, key: BranchKey, *, force: bool) -> bool:
    """See :meth:`Txn.delete_branch`."""
    row = txn.find_branch(key)
    if row is None:
        return False
    downstream = [txn.branch_key(found) for found in downstream_rows(txn.db, row)]
    if downstream and not force:
        listed = ", ".join(map(str, downstream))
        raise InvalidError(
            f"branch {key} has {listed} as subvenance, deleting it would break those branches; delete them first, or use force"
        )
    txn.db.execute("DELETE FROM branches WHERE id = ?", (row,))
    return True


def propagate(txn: Writing) -> None:
    """Open a commit on every branch downstream of a moved one whose head was made from other heads than those of now."""
    moved, txn.moved = txn.moved, set()
    anew = {found for row in txn.set_anew for found in downstream_rows(txn.db, row)}
    txn.set_anew = set()
    affected: set[int] = set()
    for row in moved:
        if txn.db.execute("SELECT 1 FROM branches WHERE id = ?", (row,)).fetchone():  # else it was deleted meanwhile
            check_dag(txn, row)
        affected.update(downstream_rows(txn.db, row))
    for row in upstream_first(txn, affected):
        upstream = _direct_provenance(txn, row)
        if not upstream or _spec_only(txn, upstream):
            continue
        heads = {txn.head_row_of(found) for found in upstream}
        head = txn.head_row_of(row)
        made_from = {found for (found,) in txn.db.execute("SELECT upstream FROM commit_provenance WHERE commit_id = ?", (head,))}
        if heads == made_from and row not in anew:
            continue
        if head is not None and txn.commit_at(head).id == txn.set_id:
            commits.set_commit_provenance(txn, head, upstream)
        else:
            key = txn.branch_key(row)
            commit = commits.add_commit(txn, key, origin=Origin.AUTO, parent=head, upstream_branches=upstream)
            txn.db.execute("UPDATE branches SET head = ? WHERE id = ?", (commit, row))
    txn.moved = set()


def _check(txn: Writing, key: BranchKey, head: CommitKey | None, provenance: Sequence[BranchKey], trigger: Trigger | None) -> None:
    check_branch_name(key.name)
    txn.repo_row(key.repo)
    if provenance and trigger is not None:
        raise InvalidError(f"branch {key} cannot have both provenance and a trigger")
    if head is not None and head.repo != key.repo:
        raise InvalidError(f"branch {key} and head {head} must belong to the same repo")
    for branch in provenance:
        check_branch_name(branch.name)


def _ensure_branch(txn: Writing, key: BranchKey) -> int:
    """The row of a branch, which gets an empty finished commit if it is new."""
    row = txn.find_branch(key)
    if row is None:
        txn.repo_row(key.repo)
        row = _insert(txn, key)
        add_head(txn, row, key)
    return row


def _insert(txn: Writing, key: BranchKey) -> int:
    cursor = txn.db.execute(
        "INSERT INTO branches (repo, name, created_ns) VALUES (?, ?, ?)", (txn.repo_row(key.repo), key.name, time.time_ns())
    )
    return int(cursor.lastrowid or 0)


def add_head(txn: Writing, row: int, key: BranchKey) -> None:
    """A new commit without own content on top of the head: open when something upstream is to fill it, else finished."""
    upstream = _direct_provenance(txn, row)
    head = txn.head_row_of(row)
    txn.moved.add(row)
    if head is not None and txn.commit_at(head).id == txn.set_id:
        commits.set_commit_provenance(txn, head, upstream)
        return
    commit = commits.add_commit(txn, key, origin=Origin.AUTO, parent=head, upstream_branches=upstream, finished=_spec_only(txn, upstream))
    txn.db.execute("UPDATE branches SET head = ? WHERE id = ?", (commit, row))


def _direct_provenance(txn: Writing, row: int) -> list[int]:
    return [found for (found,) in txn.db.execute("SELECT upstream FROM branch_provenance WHERE branch = ? ORDER BY upstream", (row,))]


def _spec_only(txn: Writing, upstream: Sequence[int]) -> bool:
    """Whether nothing but specs is upstream: a source, or a spout's output. True for no branch at all."""
    return all(txn.branch_key(found).repo.type == SPEC_REPO for found in upstream)


def check_dag(txn: Writing, row: int) -> None:
    """No repo twice among the branches that are connected with this one through provenance, in whatever direction.

    :raises InvalidError: Names the repo and two of its branches.
    """
    connected, pending = {row}, [row]
    while pending:
        found = pending.pop()
        neighbours = {*upstream_rows(txn.db, found), *downstream_rows(txn.db, found)} - connected
        connected |= neighbours
        pending.extend(neighbours)
    seen: dict[object, BranchKey] = {}
    for branch in sorted(map(txn.branch_key, connected)):
        other = seen.setdefault(branch.repo, branch)
        if other != branch:
            raise InvalidError(
                f"multiple branches from the same repo, {branch.repo} ({other.name} and {branch.name}), cannot participate in a DAG"
            )


def _check_no_cycle(txn: Writing, row: int, key: BranchKey) -> None:
    if row in downstream_rows(txn.db, row):
        raise CycleError(key)


def upstream_first(txn: Writing, rows: set[int]) -> list[int]:
    """Rows of branches in topological order."""
    order: dict[int, None] = {}

    def visit(row: int) -> None:
        if row in order:
            return
        for upstream in _direct_provenance(txn, row):
            if upstream in rows:
                visit(upstream)
        order[row] = None

    for row in sorted(rows):
        visit(row)
    return list(order)
