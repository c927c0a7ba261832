"""Checking the invariants of a store, each by its number.

1. Every tree that a commit names can be read whole, and its nodes have their hashes.
2. Every chunk that a tree names is in the index, inside a pack that exists and is long enough.
3. A commit's recorded size is that of its tree.
4. A finished commit's ancestors are finished.
5. Every branch has a head, a commit of its own repo.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from minipachd.errors import CorruptError
from minipachd.storage import CHUNK_ID_BYTES

if TYPE_CHECKING:
    from minipachd.pfs.engine import Pfs
    from minipachd.pfs.txn import Txn
    from minipachd.pfs.view import View


def findings(pfs: "Pfs") -> list[str]:
    """What is wrong, a sentence each; nothing in a consistent store. Reads all metadata and no content."""
    with pfs.snapshot() as view:
        return [*_check_trees(pfs, view), *_check_history(view)]


def fix(txn: "Txn") -> list[str]:
    """Put right what can be without a guess: recorded sizes that are not those of the trees. Says what it did, a sentence each."""
    fixed = []
    for commit in list(txn.commits()):
        try:
            size = txn.files(commit).size
        except CorruptError:
            continue  # findings tells
        if size != commit.size:
            txn.db.execute("UPDATE commits SET size = ? WHERE id = ?", (size, txn.commit_row(commit.key)))
            fixed.append(f"commit {commit} said {commit.size} bytes, its files have {size}: corrected")
    return fixed


def _check_trees(pfs: "Pfs", view: "View") -> Iterator[str]:
    missing_chunks = pfs.chunks.missing_packs()
    checked: dict[bytes, int] = {}
    for commit in view.commits():
        if commit.root in checked:
            if checked[commit.root] != commit.size:
                yield f"invariant 3: commit {commit} says {commit.size} bytes, its files have {checked[commit.root]}"
            continue
        size = 0
        try:
            for entry in view.files(commit).pieces():
                size += entry.size
                for at in range(0, len(entry.chunks), CHUNK_ID_BYTES):
                    problem = pfs.chunks.problem(entry.chunks[at : at + CHUNK_ID_BYTES], missing_chunks)
                    if problem:
                        yield f"invariant 2: file {entry.path} of commit {commit}: {problem}"
        except CorruptError as exc:
            yield f"invariant 1: commit {commit}: {exc}"
            continue
        checked[commit.root] = size
        if size != commit.size:
            yield f"invariant 3: commit {commit} says {commit.size} bytes, its files have {size}"


def _check_history(view: "View") -> Iterator[str]:
    for commit in view.commits():
        if commit.finished and commit.parent is not None and not view.commit(commit.parent).finished:
            yield f"invariant 4: commit {commit} is finished, its parent {commit.parent} is not"
    rows = view.db.execute("SELECT b.id FROM branches b LEFT JOIN commits c ON c.id = b.head WHERE c.id IS NULL OR c.repo != b.repo")
    for (row,) in rows.fetchall():
        yield f"invariant 5: branch {view.branch_key(row)} has no head in its repo"
