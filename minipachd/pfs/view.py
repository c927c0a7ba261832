"""Reading PFS at one moment."""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from minipachd.errors import (
    BeyondRootError,
    BranchNotFoundError,
    CommitNotFoundError,
    CommitSetNotFoundError,
    InvalidError,
    ProjectNotFoundError,
    RepoNotFoundError,
)
from minipachd.pfs.filetree import FileTree
from minipachd.pfs.schema import BRANCH_KEYS, commits_of, decode_trigger, downstream_rows, upstream_rows
from minipachd.pfs.types import (
    Branch,
    BranchKey,
    Commit,
    CommitKey,
    CommitReference,
    CommitSetId,
    Project,
    Repo,
    RepoKey,
)
from minipachd.storage import NodeStore, Tree

_ANCESTORS = """
    WITH RECURSIVE chain (id, parent, depth) AS (
        SELECT id, parent, 0 FROM commits WHERE id = ?
        UNION ALL SELECT c.id, c.parent, depth + 1 FROM commits c JOIN chain ON c.id = chain.parent)
    SELECT id FROM chain ORDER BY depth
"""
_ROW = "SELECT parent, started_ns, origin FROM commits WHERE id = ?"
_CHILDREN = """
    SELECT c.parent, r.project, r.name, r.type, c.set_id, c.branch
    FROM json_each(?) wanted JOIN commits c ON c.parent = wanted.value JOIN repos r ON r.id = c.repo ORDER BY c.id
"""
_PAGE = 256
EVER_NS = 2**63 - 1  # the latest time that there is a number for
_COMMIT_SETS = "SELECT set_id FROM commits GROUP BY set_id ORDER BY max(id) DESC"
_COMMIT_SETS_OF_PROJECT = """
    SELECT set_id FROM commits c JOIN repos r ON r.id = c.repo GROUP BY set_id HAVING sum(r.project = ?) > 0 ORDER BY max(c.id) DESC
"""


class View:
    """One consistent state; a :class:`Txn` is a view that sees its own changes.

    :ivar db: The connection that sees this state; the PPS reads its own tables through it.
    """

    def __init__(self, connection: sqlite3.Connection, nodes: NodeStore) -> None:
        self.db, self._nodes = connection, nodes

    # Projects and repos

    def project(self, name: str) -> Project:
        """:raises ProjectNotFoundError: There is none."""
        row = self.db.execute("SELECT name, description, created_ns FROM projects WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise ProjectNotFoundError(name)
        return Project(*row)

    def projects(self) -> list[Project]:
        """All, oldest first."""
        return [Project(*row) for row in self.db.execute("SELECT name, description, created_ns FROM projects ORDER BY id")]

    def repo(self, key: RepoKey) -> Repo:
        """:raises RepoNotFoundError: There is none."""
        return self._repo(self.repo_row(key), key)

    def repos(self, *, type: str = "", projects: Collection[str] = ()) -> list[Repo]:  # noqa: A002 - the protocol's word
        """Newest first.

        :param type: ``user``, ``meta`` or ``spec``; empty means all.
        :param projects: Only these; empty means all.
        """
        rows = self.db.execute("SELECT id, project, name, type FROM repos ORDER BY id DESC").fetchall()
        return [
            self._repo(row_id, RepoKey(project, name, kind))
            for row_id, project, name, kind in rows
            if (not type or kind == type) and (not projects or project in projects)
        ]

    def repo_size(self, key: RepoKey, *, of_head: bool = False) -> int:
        """Bytes of the newest finished commit on ``master``; 0 without one.

        :param of_head: Only the head counts.
        """
        branch = self.find_branch(BranchKey(key, "master"))
        head = None if branch is None else self.head_row_of(branch)
        commits = self._ancestors(head)
        if of_head:
            commits = islice(commits, 1)
        return next((commit.size for commit in commits if commit.finished), 0)

    # Branches

    def branch(self, key: BranchKey) -> Branch:
        """:raises BranchNotFoundError: There is none, or no such repo."""
        row = self.db.execute(
            "SELECT b.id, c.set_id, c.branch, b.trigger_json, b.created_ns FROM branches b JOIN commits c ON c.id = b.head WHERE b.id = ?",
            (self.branch_row(key),),
        ).fetchone()
        row_id, head, head_branch, trigger, created_ns = row
        return Branch(
            key=key,
            head=CommitKey(key.repo, head, head_branch),
            direct_provenance=self._branch_keys(
                found for (found,) in self.db.execute("SELECT upstream FROM branch_provenance WHERE branch = ?", (row_id,))
            ),
            provenance=self._branch_keys(upstream_rows(self.db, row_id)),
            subvenance=self._branch_keys(downstream_rows(self.db, row_id)),
            trigger=decode_trigger(trigger),
            created_ns=created_ns,
        )

    def branches(self, repo: RepoKey | None = None, *, reverse: bool = False) -> list[Branch]:
        """Newest first, oldest first when ``reverse``; of all repos when none is named.

        :raises RepoNotFoundError: There is no such repo.
        """
        where, values = ("", ()) if repo is None else (" WHERE b.repo = ?", (self.repo_row(repo),))
        order = " ORDER BY b.id" if reverse else " ORDER BY b.id DESC"
        rows = self.db.execute(BRANCH_KEYS + where + order, values).fetchall()
        return [self.branch(BranchKey(RepoKey(project, name, kind), branch)) for project, name, kind, branch in rows]

    # Commits

    def commit(self, key: CommitKey) -> Commit:
        """:raises CommitNotFoundError: The repo has no commit with this id."""
        return self.commit_at(self.commit_row(key))

    def resolve(self, reference: CommitReference) -> Commit:
        """The commit that a client means.

        :raises BranchNotFoundError: It names a branch that does not exist.
        :raises CommitNotFoundError: No such commit, nor one that the commit set read from this repo.
        :raises BeyondRootError: No ancestor that far back.
        :raises InvalidError: It names nothing.
        """
        if reference.id:
            row = self._row_of(reference.repo, reference.id)
            if row is None:
                raise CommitNotFoundError(reference)
        elif reference.branch or reference.suffix:
            row = self._head_row(BranchKey(reference.repo, reference.branch or ""))
        else:
            raise InvalidError(f"a commit of {reference.repo} must be specified by its id or by a branch")
        if reference.ancestry is None:
            return self.commit_at(row)
        chain = [found for (found,) in self.db.execute(_ANCESTORS, (row,))]
        at = reference.ancestry.index(len(chain))
        if at is None:
            raise BeyondRootError(reference)
        return self.commit_at(int(chain[at]))

    def head(self, key: BranchKey) -> Commit:
        """The commit that a branch points to. :raises BranchNotFoundError: There is no such branch."""
        return self.commit_at(self._head_row(key))

    def commits(
        self,
        repo: RepoKey | None = None,
        *,
        newest: Commit | None = None,
        oldest: Commit | None = None,
        reverse: bool = False,
        after_ns: int = -1,
        before_ns: int = EVER_NS,
    ) -> Iterator[Commit]:
        """Newest first, oldest first when ``reverse``.

        :param newest: Walk the parents from this one on, instead of listing everything.
        :param oldest: ... down to this one, which is left out.
        :param after_ns, before_ns: Only those that were started between these times, which are left out.
        :raises RepoNotFoundError: There is no such repo.
        """
        rows = self.commit_rows(repo, newest=newest, oldest=oldest, reverse=reverse, after_ns=after_ns, before_ns=before_ns)
        while page := list(islice(rows, _PAGE)):
            yield from self.commits_at(page).values()

    def commit_rows(
        self,
        repo: RepoKey | None = None,
        *,
        newest: Commit | None = None,
        oldest: Commit | None = None,
        reverse: bool = False,
        after_ns: int = -1,
        before_ns: int = EVER_NS,
        origin: int = 0,
    ) -> Iterator[int]:
        """The rows of :meth:`commits`.

        :param origin: Only those of this origin; 0 means all.
        :raises RepoNotFoundError: There is no such repo.
        """
        if newest is not None:
            row: int | None = self.commit_row(newest.key)
            last = None if oldest is None else self.commit_row(oldest.key)
            while row is not None and row != last:
                found, (parent, started_ns, kind) = row, self.db.execute(_ROW, (row,)).fetchone()
                if after_ns < started_ns < before_ns and origin in (0, kind):
                    yield found
                row = parent
            return
        where, values = " WHERE started_ns > ? AND started_ns < ? AND ? IN (0, origin)", [after_ns, before_ns, origin]
        if repo is not None:
            where, values = where + " AND repo = ?", [*values, self.repo_row(repo)]
        query = f"SELECT id FROM commits{where} ORDER BY id {'' if reverse else 'DESC'}"  # noqa: S608 - of constants
        yield from [row_id for (row_id,) in self.db.execute(query, values)]

    def commits_at(self, rows: Sequence[int]) -> dict[int, Commit]:
        """Commits by row, in this order; rows that are gone are left out."""
        return commits_of(self.db, rows)

    def children(self, key: CommitKey) -> list[CommitKey]:
        """Commits whose parent this is, oldest first."""
        rows = self.db.execute("SELECT set_id, branch FROM commits WHERE parent = ? ORDER BY id", (self.commit_row(key),))
        return [CommitKey(key.repo, set_id, branch) for set_id, branch in rows]

    def children_at(self, rows: Iterable[int]) -> dict[int, list[CommitKey]]:
        """:meth:`children` of many commits, by row; those without any are left out."""
        found: defaultdict[int, list[CommitKey]] = defaultdict(list)
        for parent, project, name, kind, set_id, branch in self.db.execute(_CHILDREN, (msgspec.json.encode(list(rows)).decode(),)):
            found[parent].append(CommitKey(RepoKey(project, name, kind), set_id, branch))
        return found

    def base(self, key: CommitKey) -> Commit | None:
        """The nearest ancestor without an error: the one whose content this commit began with."""
        parent = self.commit(key).parent
        if parent is None:
            return None
        return next((commit for commit in self._ancestors(self.commit_row(parent)) if not commit.error), None)

    def is_ready(self, commit: Commit) -> bool:
        """Whether everything that this commit is made from has been finished."""
        return all(self.commit(upstream).finished for upstream in commit.direct_provenance)

    def commit_set(self, set_id: str) -> list[Commit]:
        """The commits of a set and the older ones that they were made from, provenance first.

        :raises CommitSetNotFoundError: No commit has this id.
        """
        members = [row[0] for row in self.db.execute("SELECT id FROM commits WHERE set_id = ? ORDER BY id", (set_id,))]
        if not members:
            raise CommitSetNotFoundError(set_id)
        order: dict[int, None] = {}
        for member in members:
            self._provenance_first(member, order)
        return [self.commit_at(row) for row in order]

    def commit_set_ids(self, *, project: str = "") -> list[CommitSetId]:
        """Every id, newest first.

        :param project: Only sets with a commit in this project.
        """
        rows = self.db.execute(_COMMIT_SETS_OF_PROJECT, (project,)) if project else self.db.execute(_COMMIT_SETS)
        return [CommitSetId(row[0]) for row in rows]

    # Files

    def files(self, commit: Commit) -> FileTree:
        """What a commit holds; of an open one, what has been written so far."""
        return self.tree(commit.root)

    def base_root(self, commit: Commit) -> bytes:
        """The tree that a commit began with."""
        row = self.db.execute("SELECT base_root FROM commits WHERE id = ?", (self.commit_row(commit.key),)).fetchone()
        return bytes(row[0])

    def tree(self, root: bytes) -> FileTree:
        """The files under a root."""
        return FileTree(Tree(self._nodes, root))

    # Rows, for this package

    def repo_row(self, key: RepoKey) -> int:
        """:raises RepoNotFoundError: There is none."""
        row = self.db.execute(
            "SELECT id FROM repos WHERE project = ? AND name = ? AND type = ?", (key.project, key.name, key.type)
        ).fetchone()
        if row is None:
            raise RepoNotFoundError(key)
        return int(row[0])

    def branch_row(self, key: BranchKey) -> int:
        """:raises BranchNotFoundError: There is none."""
        row = self.find_branch(key)
        if row is None:
            raise BranchNotFoundError(key.repo, key.name)
        return row

    def find_branch(self, key: BranchKey) -> int | None:
        """The row of a branch, if it exists."""
        row = self.db.execute(
            "SELECT b.id FROM branches b JOIN repos r ON r.id = b.repo WHERE r.project = ? AND r.name = ? AND r.type = ? AND b.name = ?",
            (key.repo.project, key.repo.name, key.repo.type, key.name),
        ).fetchone()
        return None if row is None else int(row[0])

    def commit_row(self, key: CommitKey) -> int:
        """:raises CommitNotFoundError: There is none."""
        row = self.db.execute(
            "SELECT c.id FROM commits c JOIN repos r ON r.id = c.repo WHERE c.set_id = ? AND r.project = ? AND r.name = ? AND r.type = ?",
            (key.id, key.repo.project, key.repo.name, key.repo.type),
        ).fetchone()
        if row is None:
            raise CommitNotFoundError(key)
        return int(row[0])

    def commit_at(self, row: int) -> Commit:
        """The commit of a row."""
        return self.commits_at([row])[row]

    def branch_key(self, row: int) -> BranchKey:
        """The name of a branch's row."""
        project, name, kind, branch = self.db.execute(BRANCH_KEYS + " WHERE b.id = ?", (row,)).fetchone()
        return BranchKey(RepoKey(project, name, kind), branch)

    def head_row_of(self, branch_row: int) -> int | None:
        """The row of a branch's head; None only while the branch is being made."""
        row = self.db.execute("SELECT head FROM branches WHERE id = ?", (branch_row,)).fetchone()
        return None if row[0] is None else int(row[0])

    def _repo(self, row: int, key: RepoKey) -> Repo:
        description, created_ns = self.db.execute("SELECT description, created_ns FROM repos WHERE id = ?", (row,)).fetchone()
        branches = self.db.execute("SELECT name FROM branches WHERE repo = ? ORDER BY name", (row,))
        return Repo(key, description, created_ns, tuple(name for (name,) in branches))

    def _branch_keys(self, rows: Iterable[int]) -> tuple[BranchKey, ...]:
        return tuple(sorted(map(self.branch_key, rows)))

    def _head_row(self, key: BranchKey) -> int:
        row = self.head_row_of(self.branch_row(key))
        if row is None:
            raise BranchNotFoundError(key.repo, key.name)
        return row

    def _row_of(self, repo: RepoKey, set_id: str) -> int | None:
        """The commit of a repo with this id, else the older one that this commit set was made from."""
        row = self.db.execute(
            """
            WITH RECURSIVE reached (id, depth) AS (
                SELECT id, 0 FROM commits WHERE set_id = ?
                UNION SELECT v.upstream, depth + 1 FROM commit_provenance v JOIN reached ON v.commit_id = reached.id)
            SELECT c.id FROM reached JOIN commits c ON c.id = reached.id JOIN repos r ON r.id = c.repo
            WHERE r.project = ? AND r.name = ? AND r.type = ? ORDER BY depth LIMIT 1
            """,
            (set_id, repo.project, repo.name, repo.type),
        ).fetchone()
        return None if row is None else int(row[0])

    def _ancestors(self, row: int | None) -> Iterator[Commit]:
        """A commit, its parent, and so on."""
        while row is not None:
            yield self.commit_at(row)
            (row,) = self.db.execute("SELECT parent FROM commits WHERE id = ?", (row,)).fetchone()

    def _provenance_first(self, row: int, order: dict[int, None]) -> None:
        """Append a commit and everything upstream of it, upstream first. Without recursion: graphs may be deep."""
        stack = [(row, False)]
        while stack:
            current, expanded = stack.pop()
            if current in order:
                continue
            if expanded:
                order[current] = None
                continue
            stack.append((current, True))
            upstream = self.db.execute("SELECT upstream FROM commit_provenance WHERE commit_id = ? ORDER BY upstream DESC", (current,))
            stack.extend((found, False) for (found,) in upstream)
