"""Changing PFS: one transaction, whole or not at all."""

import time
from collections.abc import Collection, Iterable, Sequence

from minipachd.errors import AlreadyExistsError, FailedPreconditionError, InvalidError, ProjectNotFoundError
from minipachd.pfs import branches, commits, commitsets
from minipachd.pfs.names import check_project_name, check_repo_name, new_id
from minipachd.pfs.schema import downstream_rows
from minipachd.pfs.types import (
    DEFAULT_PROJECT,
    META_REPO,
    SPEC_REPO,
    USER_REPO,
    BranchKey,
    Commit,
    CommitKey,
    CommitReference,
    FileEntry,
    RepoKey,
    Trigger,
)
from minipachd.pfs.upload import Upload
from minipachd.pfs.writing import Writing
from minipachd.storage import Tree


class Txn(Writing):
    """A write transaction: what the layers above can do to PFS. Its reads see its own changes; an error in it undoes everything.

    What each method does stands in the module that it calls; this one only puts them together.
    """

    # Projects

    def create_project(self, name: str, *, description: str = "", update: bool = False) -> None:
        """:raises AlreadyExistsError: It exists, and ``update`` is not set (which changes its description)."""
        check_project_name(name)
        row = self.db.execute("SELECT id FROM projects WHERE name = ?", (name,)).fetchone()
        if row is None:
            self.db.execute("INSERT INTO projects (name, description, created_ns) VALUES (?, ?, ?)", (name, description, time.time_ns()))
        elif update:
            self.db.execute("UPDATE projects SET description = ? WHERE id = ?", (description, row[0]))
        else:
            raise AlreadyExistsError(f"project {name} already exists")

    def delete_project(self, name: str) -> None:
        """:raises FailedPreconditionError: It still has repos."""
        self.project(name)
        repos = self.repos(projects=[name])
        if repos:
            listed = "; ".join(f"repo {repo.key} still exists" for repo in repos)
            raise FailedPreconditionError(f"cannot delete project {name}: {listed}; delete them first")
        self.db.execute("DELETE FROM projects WHERE name = ?", (name,))

    # Repos

    def create_repo(self, key: RepoKey, *, description: str = "", update: bool = False) -> None:
        """:raises AlreadyExistsError: It exists, and ``update`` is not set (which changes its description).

        :raises ProjectNotFoundError: There is no such project.
        """
        check_repo_name(key.name)
        if self.db.execute("SELECT 1 FROM projects WHERE name = ?", (key.project,)).fetchone() is None:
            raise ProjectNotFoundError(key.project)
        identity = (key.project, key.name, key.type)
        if self.db.execute("SELECT 1 FROM repos WHERE project = ? AND name = ? AND type = ?", identity).fetchone():
            if not update:
                raise AlreadyExistsError(f"repo {key} already exists")
            self.db.execute("UPDATE repos SET description = ? WHERE project = ? AND name = ? AND type = ?", (description, *identity))
            return
        if key.type != USER_REPO:
            owner = RepoKey(key.project, key.name)
            if not self.has_repo(owner):
                raise InvalidError(f"cannot create a system repo without a corresponding user repo: {owner} does not exist")
        self.db.execute(
            "INSERT INTO repos (project, name, type, description, created_ns) VALUES (?, ?, ?, ?, ?)",
            (*identity, description, time.time_ns()),
        )

    def has_repo(self, key: RepoKey) -> bool:
        """Whether a repo exists."""
        row = self.db.execute(
            "SELECT 1 FROM repos WHERE project = ? AND name = ? AND type = ?", (key.project, key.name, key.type)
        ).fetchone()
        return row is not None

    def delete_repo(self, key: RepoKey, *, force: bool = False) -> bool:
        """Delete a repo with its branches, commits and, for a user repo, its system repos.

        :param force: Also when branches elsewhere are made from its branches; they lose that provenance.
        :return: False when there was no such repo, which is no error.
        :raises InvalidError: A pipeline owns it, or branches elsewhere are made from it.
        """
        return self.delete_repos([key], force=force) > 0

    def delete_repos(self, keys: Collection[RepoKey], *, force: bool = False) -> int:
        """Delete several repos at once: provenance among them is no obstacle. See :meth:`delete_repo`.

        :return: How many of them existed.
        """
        present = [key for key in keys if self.has_repo(key)]
        doomed = dict.fromkeys(present)
        for key in present:
            if key.type == USER_REPO:
                system = (RepoKey(key.project, key.name, kind) for kind in (META_REPO, SPEC_REPO))
                doomed.update(dict.fromkeys(repo for repo in system if self.has_repo(repo)))
        for key in doomed:
            owner = None if self.observer is None else self.observer.repo_owner(self, key)
            if owner is not None:
                raise InvalidError(f"cannot delete repo {key}: it is associated with pipeline {owner}, delete the pipeline instead")
            if not force:
                self._check_not_upstream(key, doomed)
        rows = [self.repo_row(key) for key in doomed]
        for row in rows:
            commitsets.remove_repo_commits(self, row)
        for row in rows:
            self.db.execute("DELETE FROM repos WHERE id = ?", (row,))
        return len(present)

    def delete_all(self) -> None:
        """Delete every repo and project; ``default`` is there again afterwards.

        :raises InvalidError: There are still pipelines.
        """
        self.delete_repos([repo.key for repo in self.repos()], force=True)
        self.db.execute("DELETE FROM projects")
        self.create_project(DEFAULT_PROJECT)

    # Branches

    def create_branch(
        self, key: BranchKey, *, head: CommitKey | None = None, provenance: Sequence[BranchKey] = (), trigger: Trigger | None = None
    ) -> None:
        """Create or update a branch.

        :param head: Where it points; without one a new branch, or one with new provenance, gets an empty commit of this set.
        :param provenance: Exactly what it is made from; branches that do not exist are created.
        :param trigger: When it follows another branch; None leaves an earlier trigger in place.
        :raises InvalidError: Bad name; head of another repo; a cycle; one repo twice in a DAG; provenance and trigger; bad trigger.
        """
        branches.create_branch(self, key, head=head, provenance=provenance, trigger=trigger)

    def delete_branch(self, key: BranchKey, *, force: bool = False) -> bool:
        """Delete a branch; its commits stay.

        :return: False when there was none.
        :raises InvalidError: Others are made from it, and ``force`` is not set.
        """
        return branches.delete_branch(self, key, force=force)

    # Commits

    def start_commit(self, branch: BranchKey, *, parent: CommitReference | None = None, description: str = "") -> Commit:
        """Open a commit on a branch, which is created when missing.

        :param parent: Instead of the branch's head.
        :raises InvalidError: The branch has provenance; the parent is open; the repo has a commit in this set already.
        """
        return commits.start_commit(self, branch, parent=parent, description=description)

    def finish_commit(self, key: CommitKey, *, description: str = "", error: str = "", by_pipeline: bool = False) -> Commit:
        """Freeze a commit's content. What it may not hold becomes its error.

        :param error: Why it is no good: children do not inherit from it.
        :param by_pipeline: The caller owns the output or meta commit; users may not finish those.
        :raises CommitFinishedError: It was finished before.
        """
        commit = self.commit(key)
        if not by_pipeline and commit.direct_provenance and self.observer is not None and self.observer.repo_owner(self, key.repo):
            raise InvalidError(f"cannot finish a pipeline output or meta commit, use stop job instead: {commit}")
        return commits.finish_commit(self, key, description=description, error=error)

    def open_for_writing(self, reference: CommitReference) -> tuple[Commit, bool]:
        """The open commit that a client wants to write to.

        :return: The commit, and whether it was started for this call, which has to finish it too.
        :raises RepoNotFoundError: There is no such repo.
        :raises CommitFinishedError: The reference names a finished commit by its id.
        :raises InvalidError: The branch is a pipeline's output.
        """
        return commits.open_for_writing(self, reference)

    def clear_commit(self, key: CommitKey) -> None:
        """Drop what has been written to an open commit. :raises InvalidError: It is finished."""
        commits.clear_commit(self, key)

    def write_files(
        self,
        key: CommitKey,
        *,
        upload: Upload | None = None,
        delete: Iterable[tuple[str, str]] = (),
        put: Iterable[FileEntry] = (),
        append: Iterable[FileEntry] = (),
    ) -> None:
        """Change an open commit's files: first the deletions, then the puts, then the appends.

        :param upload: Sealed; where the bytes of the entries come from, and recorded with them.
        :param delete: (path, tag); a path with a slash at its end means everything below.
        :param put: Replace what the path holds under the entry's tag.
        :param append: Add to what is there.
        :raises CommitFinishedError: It is not open.
        :raises InvalidError: No file may have this path.
        :raises ConflictError: Bytes that an entry shares were deleted meanwhile.
        """
        commits.write_files(self, key, upload=upload, delete=delete, put=put, append=append)

    def edited(
        self,
        root: bytes,
        *,
        upload: Upload | None = None,
        delete: Iterable[tuple[str, str]] = (),
        put: Iterable[FileEntry] = (),
        append: Iterable[FileEntry] = (),
    ) -> Tree:
        """What the tree under a root becomes by the operations of :meth:`write_files`; no commit is touched."""
        return commits.edited(self, root, upload=upload, delete=delete, put=put, append=append)

    def set_files(self, key: CommitKey, tree_root: bytes) -> None:
        """Let an open commit begin anew with exactly the files under a root. :raises CommitFinishedError: It is not open."""
        commits.set_files(self, key, tree_root)

    def squash_commit_set(self, set_id: str) -> None:
        """Take a set out of the history; what later commits show does not change.

        :raises InvalidError: A member has no child, or an open one; other sets were made from it; it changed a pipeline.
        """
        commitsets.squash(self, set_id)

    def drop_commit_set(self, set_id: str) -> None:
        """Take a set and what it brought out of the history.

        :raises InvalidError: A member has children; other sets were made from it; it changed a pipeline.
        """
        commitsets.drop(self, set_id)

    def squash_commit(self, key: CommitKey, *, recursive: bool = False) -> None:
        """Take a commit out of the history; what later commits show does not change.

        :param recursive: Together with every commit that was made from it.
        :raises InvalidError: One of them has no child, or an open one, or changed a pipeline; or something was made from it, and this is
            not recursive.
        """
        commitsets.squash_commit(self, key, recursive=recursive)

    def drop_commit(self, key: CommitKey, *, recursive: bool = False) -> None:
        """Take a commit and what it brought out of the history.

        :param recursive: Together with every commit that was made from it.
        :raises InvalidError: One of them has children that stay, or changed a pipeline; or something was made from it, and this is not
            recursive.
        """
        commitsets.drop_commit(self, key, recursive=recursive)

    def conclude(self) -> None:
        """Propagate to branches downstream, fire triggers, tell the observer. The last thing before the commit."""
        while self.moved or self.finished:
            branches.propagate(self)
            finished, self.finished = self.finished, []
            if finished:
                before, self.set_id = self.set_id, new_id()  # what triggers set off is a commit set of its own
                commits.fire_triggers(self, finished)
                if not self.moved:
                    self.set_id = before
        created = [commit for commit in map(self.commit_at, self.created) if not commit.finished]
        if self.observer is not None and created:
            self.observer.commits_created(self, created)
        self.seal_scratch()

    def _check_not_upstream(self, key: RepoKey, doomed: Collection[RepoKey]) -> None:
        for name in self.repo(key).branches:
            branch = BranchKey(key, name)
            rows = downstream_rows(self.db, self.branch_row(branch))
            downstream = [found for found in map(self.branch_key, rows) if found.repo not in doomed]
            if downstream:
                listed = ", ".join(map(str, downstream))
                raise InvalidError(
                    f"cannot delete repo {key}: branch {branch} has {listed} as subvenance, deleting it would break those branches; "
                    "delete them first, or use force"
                )
