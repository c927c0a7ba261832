"""Checking the invariants of a store, each by its number.

1. Every tree that a commit names can be read whole, and its nodes have their hashes.
2. Every chunk that a tree names is in the index, inside a pack that exists and is long enough.
3. A commit's recorded size is that of its tree.
4. A finished commit's ancestors are finished.
5. Every branch has a head, a commit of its own repo.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from minipachd.errors import CorruptError
from minipachd.pfs.filetree import decode_entry
from minipachd.storage import CHUNK_ID_BYTES, Entry

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


class _Checked(NamedTuple):
    """What was found below a node: the bytes of its files, and of each damaged one the path and what is wrong with it."""

    size: int
    problems: tuple[tuple[str, str], ...]


def _check_trees(pfs: "Pfs", view: "View") -> Iterator[str]:
    """Each node once, however many commits have it: the time is that of the data, not of the history."""
    missing_packs = pfs.chunks.missing_packs()
    known: dict[bytes, _Checked] = {}

    def leaf(entries: list[Entry]) -> _Checked:
        files = [decode_entry(entry) for entry in entries]
        chunks = ((file, file.chunks[at : at + CHUNK_ID_BYTES]) for file in files for at in range(0, len(file.chunks), CHUNK_ID_BYTES))
        found = ((file.path, pfs.chunks.problem(chunk, missing_packs)) for file, chunk in chunks)
        return _Checked(sum(file.size for file in files), tuple((path, problem) for path, problem in found if problem))

    def join(parts: list[_Checked]) -> _Checked:
        return _Checked(sum(part.size for part in parts), tuple(problem for part in parts for problem in part.problems))

    told: set[bytes] = set()
    for commit in view.commits():
        try:
            found = pfs.nodes.fold(commit.root, known, leaf, join) if commit.root else _Checked(0, ())
        except CorruptError as exc:
            yield f"invariant 1: commit {commit}: {exc}"
            continue
        if commit.root not in told:
            told.add(commit.root)
            for path, problem in found.problems:
                yield f"invariant 2: file {path} of commit {commit}: {problem}"
        if found.size != commit.size:
            yield f"invariant 3: commit {commit} says {commit.size} bytes, its files have {found.size}"


def _check_history(view: "View") -> Iterator[str]:
    for commit in view.commits():
        if commit.finished and commit.parent is not None and not view.commit(commit.parent).finished:
            yield f"invariant 4: commit {commit} is finished, its parent {commit.parent} is not"
    rows = view.db.execute("SELECT b.id FROM branches b LEFT JOIN commits c ON c.id = b.head WHERE c.id IS NULL OR c.repo != b.repo")
    for (row,) in rows.fetchall():
        yield f"invariant 5: branch {view.branch_key(row)} has no head in its repo"
