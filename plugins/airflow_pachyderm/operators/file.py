"""Operators about single files."""

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_pachyderm.arguments import check_flags, check_useless
from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermNotFoundError
from airflow_pachyderm.files import Batch, SourceFile, replacing
from airflow_pachyderm.operators.base import PachydermOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermPutFileOperator(PachydermOperator):
    """Put one file into a repo as one commit, unless the repo's file is the same already.

    :param repo: Existing repo (templated).
    :param path: Path in the repo (templated).
    :param source: URL of the content, anything fsspec opens (templated). Either this or ``text``.
    :param text: The content itself (templated).
    :param server_side: The server fetches ``source`` itself, so that no byte passes through Airflow; it must be able to read the URL
        (Pachyderm: http, https, s3, gs and others). Always makes a commit, since nobody compares.
    :param branch: Branch of ``repo`` (templated).
    :return: The commit's id, or None when nothing had to be changed.
    :raises PachydermSourceError: The source cannot be read. No commit is left.
    """

    template_fields = ("pachyderm_conn_id", "repo", "path", "source", "text", "branch")

    def __init__(
        self,
        *,
        repo: str,
        path: str,
        source: str | None = None,
        text: str | None = None,
        branch: str = "master",
        server_side: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, server_side=server_side)
        check_useless(self.task_id, {"server_side is for a source, and a text has none: leave it out": server_side and text is not None})
        self.repo = repo
        self.path = path
        self.source = source
        self.text = text
        self.branch = branch
        self.server_side = server_side
        self._commit: str | None = None

    def execute(self, context: "Context") -> str | None:
        """Compare, then put."""
        if (self.source is None) == (self.text is None):
            raise PachydermInvalidError(f"Task {self.task_id} must be given either a source or a text, not both or none")
        if self.source is not None:
            self._commit = self._put(self.source, context)
            return self._commit
        with tempfile.TemporaryDirectory() as folder:
            content = Path(folder, "text")
            content.write_text(str(self.text))
            self._commit = self._put(str(content), context)
            return self._commit

    def get_openlineage_facets_on_complete(self, _: Any) -> Any:
        """Lineage: the source's folder, and the branch, with its commit where one was made."""
        from airflow_pachyderm.lineage import branch_dataset, folder_datasets, operator_lineage

        put = branch_dataset(self.hook.connection, self.repo, self.branch, commit=self._commit or "", files=1 if self._commit else 0)
        return operator_lineage(inputs=folder_datasets([self.source] if self.source else []), outputs=[put])

    def _put(self, url: str, context: "Context") -> str | None:
        from airflow_pachyderm.client.push import holds
        from airflow_pachyderm.operators.owner import task_push

        file = SourceFile(self.path if self.path.startswith("/") else f"/{self.path}", url)
        batch = Batch([file], server_side=self.server_side)
        push = task_push(context, self.hook.pfs, repo=self.repo, branch=self.branch, batch=batch, accept=lambda _: False)
        push.drop_unfinished()
        if not self.server_side and holds(self.hook.pfs, self.repo, self.branch, file):
            self.log.info("%s@%s:%s is the same already: no commit", self.repo, self.branch, file.path)
            return None
        return push.run().commit_set


class PachydermDeleteFileOperator(PachydermOperator):
    """Delete files from a repo as one commit.

    :param repo: Existing repo (templated).
    :param paths: Paths of files, or of directories with a trailing slash (templated); Pachyderm globs, too: ``/dev1_*.jpg``. ``/`` alone
        means all files.
    :param missing_ok: One of them may match nothing.
    :param branch: Branch of ``repo`` (templated).
    :return: The commit's id. A retry finds that of the try before, unless some of it has come back since.
    :raises PachydermInvalidError: ``paths`` is a text, or one of them is empty, or matches only directories and has no slash at its end.
        Nothing is deleted.
    :raises PachydermNotFoundError: One of them matches nothing, and ``missing_ok`` is False. Nothing is deleted.
    """

    template_fields = ("pachyderm_conn_id", "repo", "paths", "branch")

    def __init__(self, *, repo: str, paths: Sequence[str], branch: str = "master", missing_ok: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, missing_ok=missing_ok)
        check_useless(self.task_id, {"paths is empty, so nothing would ever be deleted": paths == [] or paths == ()})
        self.missing_ok = missing_ok
        self.repo = repo
        self.paths = paths
        self.branch = branch

    def execute(self, context: "Context") -> str:
        """Delete them."""
        from airflow_pachyderm.operators.owner import task_push

        if isinstance(self.paths, str) or not all(self.paths):  # the letters of a text would be paths: "/", all files, among them
            raise PachydermInvalidError(
                f"Task {self.task_id} must be given a list of paths, none of them empty, not {self.paths!r}; / alone means all files"
            )
        batch = Batch(deletes=list(self.paths), missing_ok=self.missing_ok)
        return task_push(context, self.hook.pfs, repo=self.repo, branch=self.branch, batch=batch, accept=self._is_done).run().commit_set

    def _is_done(self, commit_set: str) -> bool:
        """Whether nothing has come back since an earlier try deleted it."""
        from airflow_pachyderm.client.push import matching

        if self.hook.pfs.head(self.repo, self.branch).commit_set == commit_set:
            return True
        return not any(matching(self.hook.pfs, self.repo, self.branch, path) for path in self.paths)


class PachydermGetFileOperator(PachydermOperator):
    """Copy files out of a repo.

    :param repo: Repo (templated).
    :param path: Path or Pachyderm glob of files (templated).
    :param target: URL of a file, or, ending in a slash, of a folder that every match goes into; anything fsspec opens (templated).
    :param ref: Branch or commit id (templated).
    :return: URLs of what was written.
    :raises PachydermNotFoundError: Nothing matches.
    :raises PachydermInvalidError: Several files match, and ``target`` is no folder, or two of them have one name. Nothing is written.
    """

    template_fields = ("pachyderm_conn_id", "repo", "path", "target", "ref")

    def __init__(self, *, repo: str, path: str, target: str, ref: str = "master", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repo = repo
        self.path = path
        self.target = target
        self.ref = ref
        self._written: list[str] = []

    def execute(self, context: "Context") -> list[str]:  # noqa: ARG002 - Airflow's signature
        """Copy them."""
        found = [entry for entry in self.hook.pfs.glob_files(self.repo, self.ref, self.path) if not entry.is_dir]
        if not found:
            raise PachydermNotFoundError(f"{self.repo}@{self.ref} at {self.hook.connection} has no file {self.path}")
        if len(found) > 1 and not self.target.endswith("/"):
            raise PachydermInvalidError(
                f"{self.path} matches {len(found)} files; let target {self.target} end in a slash to make it a folder"
            )
        targets: dict[str, str] = {}
        for entry in found:
            target = self.target + PurePosixPath(entry.path).name if self.target.endswith("/") else self.target
            if (other := targets.setdefault(target, entry.path)) != entry.path:
                raise PachydermInvalidError(f"{other} and {entry.path} would both become {target}; give a path that matches one of them")
        self._written = [self._copy(path, target) for target, path in targets.items()]
        return self._written

    def get_openlineage_facets_on_complete(self, _: Any) -> Any:
        """Lineage: the branch or commit that was read, and the folder that was written."""
        from airflow_pachyderm.lineage import branch_dataset, folder_datasets, operator_lineage

        return operator_lineage(inputs=[branch_dataset(self.hook.connection, self.repo, self.ref)], outputs=folder_datasets(self._written))

    def _copy(self, path: str, target: str) -> str:
        with replacing(target) as stream:
            for data in self.hook.pfs.read_blocks(self.repo, self.ref, path):
                stream.write(data)
        self.log.info("Wrote %s from %s@%s:%s", target, self.repo, self.ref, path)
        return target
