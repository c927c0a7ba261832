"""Exchanging the model or the rules: checked before it is committed, and undone as easily."""

import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermNotFoundError, PachydermSourceError
from airflow_pachyderm.files import Batch, SourceFile, open_filesystem, open_source
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.operators.owner import task_push
from dags import settings
from dags.common.rotation_form import ALL_IMAGES, PUT, ROLL_BACK
from dags.common.sources import require_allowed
from stages.common.errors import StageError

log = logging.getLogger(__name__)


def prepare(context: Any, config: settings.Settings, *, repo: str, path: str, check: Callable[[Path], None]) -> dict[str, str]:
    """Fetch what is to be put, check it, and keep the checked copy for the push.

    :param repo: ``model`` or ``rules``.
    :param path: Of the file in the repo.
    :param check: Raises what is wrong with a file.
    :return: URL by path in the repo, as :class:`~airflow_pachyderm.operators.push.PachydermPushOperator` takes it.
    :raises AirflowSkipException: The repo has this content already.
    :raises PachydermInvalidError: The file is not what it should be. Nothing was committed.
    :raises PachydermSourceError: It cannot be read.
    """
    params: Mapping[str, Any] = context["params"]
    hook = PachydermHook(settings.PACHYDERM_CONN_ID)
    roll_back, source = params["action"] == ROLL_BACK, str(params["source"] or "").strip()
    if roll_back and source:
        raise PachydermInvalidError(f"{ROLL_BACK!r} takes the {repo} of the commit before, not {source}: clear File, or choose {PUT!r}")
    if source:
        require_allowed(source, config, what="File", also=[config.model, config.rules])
    content = _content_before(hook, repo, path) if roll_back else content_of(source, repo)
    check_content(content, check, name=path.removeprefix("/"), what=f"{'The earlier' if roll_back else params['source']} {repo}")
    current = _head_content(hook, repo, path)
    if content == current:
        raise AirflowSkipException(f"Repo {repo} has this {path} already: nothing to do")
    staged = stage(context, config, path, content)
    log.info("Checked %s for %s: %d bytes (the one before: %s)", path, repo, len(content), "none" if current is None else len(current))
    return {path: staged}


def stage(context: Any, config: settings.Settings, path: str, content: bytes) -> str:
    """Keep a checked copy for the task that puts it: what was checked is what is put, to the byte.

    :return: Its URL.
    """
    ti = context["ti"]
    # A push is known by its URLs. With one URL for all tries, a run that is cleared for a file that was corrected would find it done.
    staged = f"{config.staging.rstrip('/')}/{ti.dag_id}/{re.sub(r'[^A-Za-z0-9_.-]', '-', ti.run_id)}/{ti.try_number}{path}"
    filesystem, there = open_filesystem(staged)
    filesystem.makedirs(there.rpartition("/")[0], exist_ok=True)
    filesystem.pipe_file(there, content)
    return staged


def check_content(content: bytes, check: Callable[[Path], None], *, name: str, what: str) -> None:
    """Check a file before it is put.

    :param check: :func:`check_model` or :func:`check_rules`.
    :param name: Of the file in its repo.
    :param what: How to call it in the error.
    :raises PachydermInvalidError: It is not what it should be.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, name)
        local.write_bytes(content)
        try:
            check(local)
        except StageError as exc:
            raise PachydermInvalidError(f"{what} is not put: {exc}") from exc


def set_images_aside(context: Any) -> str | None:
    """Empty the head of the images repo, so that only new images meet what is put next.

    The images so far, and all that was found in them, stay in the commits before, and under the branch that is returned.

    :return: Name of the branch that keeps them, or None when the form wants all images processed again.
    """
    if context["params"]["reprocess"] == ALL_IMAGES:
        log.info("All images will be processed again")
        return None
    pfs = PachydermHook(settings.PACHYDERM_CONN_ID).pfs
    branch = "before-" + re.sub(r"[^A-Za-z0-9_-]", "-", context["ti"].run_id)
    if pfs.create_branch(settings.IMAGES_REPO, branch, head="master"):
        log.info("Branch %s@%s keeps the images so far", settings.IMAGES_REPO, branch)
    result = task_push(context, pfs, repo=settings.IMAGES_REPO, branch="master", batch=Batch(deletes=["/"])).run()
    log.info("Commit %s empties %s@master", result.commit_set, settings.IMAGES_REPO)
    return branch


def content_of(source: str, repo: str) -> bytes:
    """A file that somebody named for ``repo``.

    :raises PachydermInvalidError: None is named.
    :raises PachydermSourceError: It cannot be read.
    """
    if not source:
        raise PachydermInvalidError(f"No file is given: fill in File with the path or URL of the new {repo}, or choose {ROLL_BACK!r}")
    try:
        with open_source(SourceFile(f"/{repo}", source)) as stream:
            content: bytes = stream.read()
    except PachydermSourceError:
        raise
    except Exception as exc:  # each fsspec back end raises its own SDK's errors; this is their edge
        raise PachydermSourceError(f"Cannot read {source}: {exc}; check the path and who may read it", url=source) from exc
    return content


def _head_content(hook: PachydermHook, repo: str, path: str) -> bytes | None:
    try:
        return hook.pfs.read_file(repo, "master", path)
    except PachydermNotFoundError:
        return None


def _content_before(hook: PachydermHook, repo: str, path: str) -> bytes:
    """The content of the newest commit in which the file was another one."""
    now = hook.pfs.inspect_file(repo, "master", path)
    for commit in hook.pfs.list_commits(repo):
        if commit.error or not commit.finished:
            continue
        then = hook.pfs.inspect_file(repo, commit.commit_set, path)
        if then and (now is None or then.digest != now.digest):
            log.info("Rolling back to commit %s", commit)
            return hook.pfs.read_file(repo, commit.commit_set, path)
    raise PachydermNotFoundError(f"Repo {repo} has no other {path} in any commit: there is nothing to roll back to")
