"""Commits: start, write, finish, clear."""

import time
from collections.abc import Iterable, Sequence

from minipachd.errors import (
    BranchNotFoundError,
    CommitFinishedError,
    CommitNotFoundError,
    ConflictError,
    InvalidError,
    NotFoundError,
    SecondCommitError,
)
from minipachd.pfs import paths, triggers
from minipachd.pfs.filetree import encode_entry
from minipachd.pfs.names import check_branch_name, check_name
from minipachd.pfs.types import BranchKey, Commit, CommitKey, CommitReference, FileEntry, Origin
from minipachd.pfs.upload import Upload
from minipachd.pfs.validation import content_error
from minipachd.pfs.writing import Writing
from minipachd.storage import CHUNK_ID_BYTES, EMPTY_ROOT, Entry, Tree


def start_commit(txn: Writing, branch: BranchKey, *, parent: CommitReference | None, description: str) -> Commit:
    """See :meth:`Txn.start_commit`."""
    if not branch.name:
        raise InvalidError("branch must be specified")
    txn.repo_row(branch.repo)
    check_name(branch.name)
    row = txn.find_branch(branch)
    if row is not None and txn.db.execute("SELECT 1 FROM branch_provenance WHERE branch = ? LIMIT 1", (row,)).fetchone():
        raise InvalidError(f"cannot start a commit on an output branch: {branch} is made from other branches; commit to one of those")
    parent_row = None if row is None else txn.head_row_of(row)
    if parent is not None:
        try:
            parent_row = txn.commit_row(txn.resolve(parent).key)
        except (BranchNotFoundError, CommitNotFoundError) as exc:
            raise NotFoundError(f"parent commit {parent} not found: {exc}") from exc
    if parent_row is not None:
        found = txn.commit_at(parent_row)
        if found.finishing_ns is None:
            raise InvalidError(f"parent commit {found} has not been finished; finish or drop it first")
    check_branch_name(branch.name)
    commit = add_commit(txn, branch, origin=Origin.USER, parent=parent_row, description=description)
    if row is None:
        cursor = txn.db.execute(
            "INSERT INTO branches (repo, name, created_ns) VALUES (?, ?, ?)", (txn.repo_row(branch.repo), branch.name, time.time_ns())
        )
        row = int(cursor.lastrowid or 0)
    txn.move_head(row, commit)
    return txn.commit_at(commit)


def add_commit(
    txn: Writing,
    branch: BranchKey,
    *,
    origin: Origin,
    parent: int | None,
    upstream_branches: Sequence[int] = (),
    finished: bool = False,
    description: str = "",
) -> int:
    """Insert a commit of this set that begins with its base's content; the branch is not moved. Returns its row."""
    repo = txn.repo_row(branch.repo)
    if txn.db.execute("SELECT 1 FROM commits WHERE repo = ? AND set_id = ?", (repo, txn.set_id)).fetchone():
        raise SecondCommitError(branch.repo, txn.set_id)
    root, size = base_content(txn, parent)
    now_ns = now()
    end_ns = now_ns if finished else None
    cursor = txn.db.execute(
        """
        INSERT INTO commits
            (repo, set_id, branch, origin, description, parent, started_ns, finishing_ns, finished_ns, base_root, root, size)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        (repo, txn.set_id, branch.name, origin, description, parent, now_ns, end_ns, end_ns, root, root, size),
    )
    row = int(cursor.lastrowid or 0)
    set_commit_provenance(txn, row, upstream_branches)
    if not finished and origin is Origin.AUTO:
        txn.created.append(row)
    return row


def set_commit_provenance(txn: Writing, row: int, upstream_branches: Sequence[int]) -> None:
    """Say that a commit is made from what these branches point to now."""
    heads = {txn.head_row_of(branch) for branch in upstream_branches} - {None}
    txn.db.execute("DELETE FROM commit_provenance WHERE commit_id = ?", (row,))
    txn.db.executemany("INSERT INTO commit_provenance VALUES (?, ?)", ((row, head) for head in heads))


def base_content(txn: Writing, parent: int | None) -> tuple[bytes, int]:
    """Root and size of the nearest commit without an error, from ``parent`` on upwards."""
    while parent is not None:
        error, root, size, above = txn.db.execute("SELECT error, root, size, parent FROM commits WHERE id = ?", (parent,)).fetchone()
        if not error:
            return root, size
        parent = above
    return EMPTY_ROOT, 0


def finish_commit(txn: Writing, key: CommitKey, *, description: str, error: str) -> Commit:
    """See :meth:`Txn.finish_commit`."""
    row = txn.commit_row(key)
    commit = txn.commit_at(row)
    if commit.finishing_ns is not None:
        raise CommitFinishedError(commit)
    (base_root,) = txn.db.execute("SELECT base_root FROM commits WHERE id = ?", (row,)).fetchone()
    error = error or content_error(txn.files(commit), txn.tree(base_root))
    now_ns = now()
    txn.db.execute(
        "UPDATE commits SET finishing_ns = ?, finished_ns = ?, error = ?, description = ? WHERE id = ?",
        (now_ns, now_ns, error, description or commit.description, row),
    )
    _rebase_children(txn, row)
    finished = txn.commit_at(row)
    if txn.observer is not None:
        txn.observer.commit_finished(txn, finished)
    if not error:
        txn.finished.append(finished)
    return finished


def fire_triggers(txn: Writing, finished: Sequence[Commit]) -> None:
    """Let the branches that follow others follow."""
    for commit in finished:
        triggers.fire(txn, commit)


def write_files(
    txn: Writing,
    key: CommitKey,
    *,
    upload: Upload | None,
    delete: Iterable[tuple[str, str]],
    put: Iterable[FileEntry],
    append: Iterable[FileEntry],
) -> None:
    """See :meth:`Txn.write_files`."""
    row = _open_row(txn, key)
    _store_root(txn, row, edited(txn, txn.commit_at(row).root, upload=upload, delete=delete, put=put, append=append))


def edited(
    txn: Writing,
    root: bytes,
    *,
    upload: Upload | None,
    delete: Iterable[tuple[str, str]],
    put: Iterable[FileEntry],
    append: Iterable[FileEntry],
) -> Tree:
    """See :meth:`Txn.edited`."""
    tree = txn.tree(root).tree
    if upload is not None:
        txn.record(upload)  # first: appending reads what it brought
    puts = {(entry.path, entry.tag): entry for entry in put}
    appended = {(entry.path, entry.tag): entry for entry in append}
    deletes = _deleted_keys(tree, delete)
    for entry in appended.values():
        puts[entry.path, entry.tag] = _appended(txn, tree, entry, puts, deletes)
    for path, _ in puts:
        paths.check(path)
    _check_content(txn, puts.values(), upload)
    return tree.edit(map(encode_entry, puts.values()), deletes)


def set_files(txn: Writing, key: CommitKey, tree_root: bytes) -> None:
    """See :meth:`Txn.set_files`."""
    row = _open_row(txn, key)
    tree = txn.tree(tree_root).tree
    txn.db.execute("UPDATE commits SET base_root = ? WHERE id = ?", (tree_root, row))
    _store_root(txn, row, tree)


def clear_commit(txn: Writing, key: CommitKey) -> None:
    """See :meth:`Txn.clear_commit`."""
    row = txn.commit_row(key)
    commit = txn.commit_at(row)
    if commit.finishing_ns is not None:
        raise InvalidError(f"cannot clear finished commit {commit}")
    root, size = base_content(txn, None if commit.parent is None else txn.commit_row(commit.parent))
    txn.db.execute("UPDATE commits SET base_root = ?, root = ?, size = ? WHERE id = ?", (root, root, size, row))


def now() -> int:
    """Wall clock in nanoseconds. Clients take a time stamp without a fraction for one that was never set."""
    now_ns = time.time_ns()
    return now_ns if now_ns % 1_000_000_000 else now_ns + 1


def _open_row(txn: Writing, key: CommitKey) -> int:
    row = txn.commit_row(key)
    if txn.db.execute("SELECT finishing_ns FROM commits WHERE id = ?", (row,)).fetchone()[0] is not None:
        raise CommitFinishedError(txn.commit_at(row))
    return row


def _store_root(txn: Writing, row: int, tree: Tree) -> None:
    txn.db.execute("UPDATE commits SET root = ?, size = ? WHERE id = ?", (tree.root, tree.aggregate().weight, row))


def _check_content(txn: Writing, entries: Iterable[FileEntry], upload: Upload | None) -> None:
    """No commit names bytes that are not there: what is shared with files that were deleted meanwhile may have been collected."""
    for entry in entries:
        for at in range(0, len(entry.chunks), CHUNK_ID_BYTES):
            chunk = entry.chunks[at : at + CHUNK_ID_BYTES]
            if (upload is None or not upload.holds(chunk)) and not txn.has_chunk(chunk):
                raise ConflictError(f"content of {entry.path} was deleted while it was being written; repeat the call")


def _deleted_keys(tree: Tree, deletes: Iterable[tuple[str, str]]) -> set[bytes]:
    """The keys that are there and that a list of deletions removes: of directories only where a path ends in a slash."""
    if not tree.root:
        return set()
    keys: set[bytes] = set()
    for path, tag in deletes:
        if not path.endswith("/"):
            key = paths.key(path, tag)
            if tree.get(key) is not None:
                keys.add(key)
            continue
        suffix = b"\0" + tag.encode()
        keys.update(entry.key for entry in tree.scan(*paths.directory_range(paths.clean(path))) if entry.key.endswith(suffix))
    return keys


def _appended(txn: Writing, tree: Tree, entry: FileEntry, puts: dict[tuple[str, str], FileEntry], deletes: set[bytes]) -> FileEntry:
    """What a file is after an append: cut anew behind its last whole chunk, so that equal content keeps having equal chunks."""
    before = puts.get((entry.path, entry.tag))
    key = paths.key(entry.path, entry.tag)
    if before is None and tree.root and key not in deletes:
        stored = tree.get(key)
        before = None if stored is None else FileEntry(entry.path, entry.tag, stored.weight, stored.value)
    if before is None or before.size == 0:
        return entry
    if entry.size == 0:
        return before
    content = txn.scratch_upload().content(before)
    content.append_stored(entry)
    return content.entry(entry.path, entry.tag)


def _rebase_children(txn: Writing, row: int) -> None:
    """Put what open children have written so far on top of what this commit, or its base, turned out to hold."""
    children = txn.db.execute("SELECT id, base_root, root FROM commits WHERE parent = ? AND finishing_ns IS NULL", (row,)).fetchall()
    for child, old_base, root in children:
        new_base, size = base_content(txn, row)
        if new_base == old_base:
            continue
        if root == old_base:
            txn.db.execute("UPDATE commits SET base_root = ?, root = ?, size = ? WHERE id = ?", (new_base, new_base, size, child))
            continue
        changed = list(txn.tree(root).tree.diff(txn.tree(old_base).tree))
        puts: list[Entry] = [after for _, _, after in changed if after is not None]
        tree = txn.tree(new_base).tree.edit(puts, [key for key, _, after in changed if after is None])
        txn.db.execute("UPDATE commits SET base_root = ? WHERE id = ?", (new_base, child))
        _store_root(txn, child, tree)


def open_for_writing(txn: Writing, reference: CommitReference) -> tuple[Commit, bool]:
    """See :meth:`Txn.open_for_writing`."""
    repo = reference.repo
    txn.repo_row(repo)
    if not reference.id and reference.branch and reference.ancestry is None:
        branch = BranchKey(repo, reference.branch)
        row = txn.find_branch(branch)
        if row is None or (head := txn.head(branch)).finished:
            return start_commit(txn, branch, parent=None, description=""), True
        if txn.observer is not None and txn.observer.repo_owner(txn, repo) and head.direct_provenance:
            raise InvalidError(f"cannot start a commit on an output branch: {branch} belongs to a pipeline; write to one of its inputs")
        return head, False
    try:
        commit = txn.resolve(reference)
    except NotFoundError:
        if reference.suffix:
            check_branch_name(f"{reference.id or reference.branch}{reference.suffix}")
        raise
    if commit.finished:
        if not reference.id:
            check_branch_name(f"{reference.branch}{reference.suffix}")  # what a new commit would be on, and what cannot be
        raise CommitFinishedError(commit)
    return commit, False
