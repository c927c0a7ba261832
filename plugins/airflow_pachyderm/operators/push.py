"""The operator that DAGs are made of: put a batch of files as one commit and wait for all that it causes."""

import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_pachyderm.arguments import check_flags, check_seconds
from airflow_pachyderm.assets import commit_asset, emit_commit
from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import Batch, SourceFile, files_from, read_manifest
from airflow_pachyderm.links import PachydermCommitLink, commit_url, push_link
from airflow_pachyderm.operators.base import PachydermWaitingOperator
from airflow_pachyderm.outcome import job_summary
from airflow_pachyderm.states import JOB_FAILED

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_pachyderm.client.push import Push

XCOM_COMMIT = "commit"
XCOM_PUSH = "push"


class PachydermPushOperator(PachydermWaitingOperator):
    """Push files into a repo as one commit, then wait for every job downstream of it.

    The repo is created if it is missing. Every try leads to the same one commit: a finished one of an earlier try is used unless its jobs
    failed, an unfinished one is dropped, and a try that fails drops its own.

    The commit's id is in XCom ``commit`` as soon as the commit is finished, before the wait. An :class:`~airflow.sdk.AssetAlias` among the
    task's ``outlets`` gets an event for ``pachyderm://<host>:<port>/<project>/<repo>@<branch>`` with the summary as its extra.

    :param repo: Input repo (templated).
    :param files: URLs to push, or URL by path in the repo (templated). A URL is anything fsspec opens. Either this or ``manifest``.
    :param manifest: URL of a manifest with the batch, as :func:`airflow_pachyderm.files.write_manifest` writes it (templated).
    :param branch: Branch of ``repo`` (templated).
    :param batch_key: What makes two runs of this task the same push (templated). By default the task instance: DAG, run, task, map index. A
        DAG that should not repeat itself under a new run gives what it pushes instead: a day, a partition key. The name of the manifest is
        added to it.
    :param server_side: The server fetches the URLs itself, so that no byte passes through Airflow (templated). It must be able to read
        them, with credentials of its own. Sizes are not checked.
    :param branch_timeout: Seconds to wait while another commit is open on the branch, for each such commit.
    :param wait: Wait for the jobs. If False the task ends with the push.
    :return: ``commit``, ``manifest``, ``reused``, ``files``, ``bytes``, ``seconds`` from the first try's begin to the last job's end, and
        ``jobs``: by pipeline its state, datum counts and seconds.
    :raises PachydermSourceError: A file cannot be read. No commit is left.
    :raises PachydermJobError: A job failed or was killed.
    :raises PachydermTimeoutError: Jobs still run after ``wait_timeout``. They go on running.
    """

    operator_extra_links = (PachydermCommitLink(),)
    template_fields = ("pachyderm_conn_id", "repo", "files", "manifest", "branch", "batch_key", "server_side")

    def __init__(
        self,
        *,
        repo: str,
        files: Mapping[str, str] | Sequence[str] | None = None,
        manifest: str | None = None,
        branch: str = "master",
        batch_key: str | None = None,
        server_side: bool | str = False,
        branch_timeout: float = 900.0,
        wait: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flags(self.task_id, wait=wait)
        check_seconds(self.task_id, branch_timeout=branch_timeout)
        self.repo = repo
        self.files = files
        self.manifest = manifest
        self.branch = branch
        self.batch_key = batch_key
        self.server_side = server_side
        self.branch_timeout = branch_timeout
        self.wait = wait
        self._push: Push | None = None
        self._summary: dict[str, Any] = {}

    def execute(self, context: "Context") -> dict[str, Any]:
        """Push, then wait."""
        from airflow_pachyderm.operators.owner import task_push

        started = time.time()
        files = self._files()
        if self.hook.pfs.create_repo(self.repo):
            self.log.info("Created repo %s", self.repo)
        self._push = task_push(
            context,
            self.hook.pfs,
            repo=self.repo,
            branch=self.branch,
            key=self._key(),
            batch=Batch(files, server_side=self._is_server_side()),
            accept=self._is_good,
            branch_timeout=self.branch_timeout,
        )
        result = self._push.run()
        push = {"commit": result.commit_set, "reused": result.reused, "files": result.files, "bytes": result.size_bytes, "started": started}
        # Now: links and reports must work during the wait, and what is only in this object is gone after it.
        context["ti"].xcom_push(key=XCOM_COMMIT, value=result.commit_set)
        context["ti"].xcom_push(key=XCOM_PUSH, value=push)
        push_link(context["ti"], commit_url(self.hook.connection, self.repo, result.commit_set))
        jobs = job_summary(self.wait_for_jobs(context, result.commit_set).jobs) if self.wait else {}
        return self._done(context, push, jobs)

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the trigger."""
        outcome = self.resume(context, event)
        ti: Any = context["ti"]
        push = ti.xcom_pull(key=XCOM_PUSH, task_ids=ti.task_id, map_indexes=ti.map_index)
        return self._done(context, push, job_summary(outcome.jobs))

    def _done(self, context: "Context", push: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> dict[str, Any]:
        summary = self._summary = {**_summary(push, jobs), "manifest": self.manifest}
        emit_commit(context, self.outlets, commit_asset(self.hook.connection, self.repo, self.branch), summary)
        return summary

    def _files(self) -> list[SourceFile]:
        if (self.files is None) == (self.manifest is None):
            raise PachydermInvalidError(f"Task {self.task_id} must be given either files or a manifest, not both or none")
        batch = files_from(self.files) if self.files is not None else read_manifest(str(self.manifest))
        if not batch:
            what = f"manifest {self.manifest}" if self.manifest else "the list of files"
            raise PachydermSourceError(f"Task {self.task_id} has nothing to push: {what} is empty", url=str(self.manifest or ""))
        return batch

    def _is_server_side(self) -> bool:
        text = str(self.server_side).strip().lower()  # a template gives text
        if text not in ("true", "false"):
            raise PachydermInvalidError(f"Task {self.task_id}: server_side is {self.server_side!r}; give true or false")
        return text == "true"

    def _key(self) -> str | None:
        return f"{self.batch_key}/{PurePosixPath(self.manifest).name}" if self.batch_key and self.manifest else self.batch_key

    def _is_good(self, commit_set: str) -> bool:
        """Whether an earlier try's commit will do: one whose jobs failed would fail this try too, a new one processes what failed again."""
        failed = [job.pipeline for job in self.hook.pps.inspect_job_set(commit_set) if job.state in JOB_FAILED]
        if failed:
            self.log.warning("Commit %s of an earlier try is not used: %s did not succeed; pushing again", commit_set, ", ".join(failed))
        return not failed

    def get_openlineage_facets_on_complete(self, _: Any) -> Any:
        """Lineage: the folders of the files, the branch with its new commit, and what the pipelines made of it."""
        from airflow_pachyderm.lineage import branch_dataset, operator_lineage, source_datasets

        done, connection = self._summary, self.hook.connection
        pushed = branch_dataset(connection, self.repo, self.branch, commit=done["commit"], files=done["files"], size_bytes=done["bytes"])
        made = [branch_dataset(connection, pipeline, commit=done["commit"]) for pipeline in done["jobs"]]
        return operator_lineage(inputs=source_datasets(self._files()), outputs=[pushed, *made])

    def on_kill(self) -> None:
        """End the push or the wait; nothing half done stays."""
        if self._push:
            self._push.stop()
        super().on_kill()


def _summary(push: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "commit": push["commit"],
        "reused": push["reused"],
        "files": push["files"],
        "bytes": push["bytes"],
        "seconds": round(time.time() - push["started"], 3),
        "jobs": jobs,
    }
