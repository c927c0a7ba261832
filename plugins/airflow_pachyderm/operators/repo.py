"""Operators about repos and the files in them."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.files import SourceFile
from airflow_pachyderm.operators.base import PachydermOperator
from airflow_pachyderm.operators.push import instance_key

if TYPE_CHECKING:
    from airflow.sdk import Context


class PachydermCreateRepoOperator(PachydermOperator):
    """Create a repo unless it exists.

    :param repo: Name (templated).
    :param description: For people (templated).
    :return: Whether it was created.
    :raises PachydermInvalidError: The name is not allowed.
    """

    template_fields = ("pachyderm_conn_id", "repo", "description")

    def __init__(self, *, repo: str, description: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.repo = repo
        self.description = description

    def execute(self, context: "Context") -> bool:  # noqa: ARG002 - Airflow's signature
        """Create it."""
        created = self.hook.pfs.create_repo(self.repo, description=self.description)
        self.log.info("Repo %s %s", self.repo, "created" if created else "exists")
        return created


class PachydermPutFileOperator(PachydermOperator):
    """Put one file into a repo as one commit, unless the repo's file is the same already.

    :param repo: Existing repo (templated).
    :param path: Path in the repo (templated).
    :param source: URL of the content, anything fsspec opens (templated). Either this or ``text``.
    :param text: The content itself (templated).
    :param branch: Branch of ``repo`` (templated).
    :return: The commit's id, or None when nothing had to be changed.
    :raises PachydermSourceError: The source cannot be read. No commit is left.
    """

    template_fields = ("pachyderm_conn_id", "repo", "path", "source", "text", "branch")

    def __init__(
        self, *, repo: str, path: str, source: str | None = None, text: str | None = None, branch: str = "master", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.repo = repo
        self.path = path
        self.source = source
        self.text = text
        self.branch = branch

    def execute(self, context: "Context") -> str | None:
        """Compare, then put."""
        if (self.source is None) == (self.text is None):
            raise PachydermInvalidError(f"Task {self.task_id} must be given either a source or a text, not both or none")
        if self.source is not None:
            return self._put(self.source, context)
        with tempfile.TemporaryDirectory() as folder:
            content = Path(folder, "text")
            content.write_text(str(self.text))
            return self._put(str(content), context)

    def _put(self, url: str, context: "Context") -> str | None:
        from airflow_pachyderm.client.push import Push, holds

        file = SourceFile(self.path if self.path.startswith("/") else f"/{self.path}", url)
        push = Push(self.hook.pfs, repo=self.repo, branch=self.branch, key=instance_key(context), files=[file], accept=lambda _: False)
        push.drop_unfinished()
        if holds(self.hook.pfs, self.repo, self.branch, file):
            self.log.info("%s@%s:%s is the same already: no commit", self.repo, self.branch, file.path)
            return None
        return push.run().commit_set
