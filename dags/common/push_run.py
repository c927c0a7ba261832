"""The two tasks around the pushes of ``push_images``."""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from airflow_pachyderm.exceptions import PachydermError, PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import SourceFile, list_folder, read_manifest_lines
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from dags import settings
from dags.common.batching import Limits, plan_batches, run_folder
from dags.common.report import Run, collect, write

log = logging.getLogger(__name__)


def plan_push(context: Any, config: settings.Settings) -> list[str]:
    """List the folder that the form names, and cut it into batches.

    :return: URLs of the manifests; none in a dry run, whose plan is in XCom ``plan``.
    :raises PachydermInvalidError: The form names no folder.
    :raises PachydermSourceError: The folder cannot be read, or nothing in it matches.
    """
    params: Mapping[str, Any] = context["params"]
    source, pattern = str(params["source"] or "").strip(), str(params["glob"]).strip()
    if not source:
        raise PachydermInvalidError("No folder is given: fill in Folder in the trigger form with a path or URL of images")
    folder = run_folder(config.staging, context["ti"].dag_id, context["ti"].run_id)
    plan = plan_batches(unique(list_folder(source, pattern)), folder=folder, limits=batch_limits(folder, int(params["batch_size"])))
    if not plan.files:
        raise PachydermSourceError(f"Nothing to push: no file in {source} matches {pattern}; correct the folder or the glob", url=source)
    log.info("%d images, %d bytes in %s: %d batches", plan.files, plan.size_bytes, source, len(plan.manifests))
    if params["dry_run"]:
        context["ti"].xcom_push(key="plan", value={"files": plan.files, "bytes": plan.size_bytes, "batches": len(plan.manifests)})
        return []
    return plan.manifests


def report_push(
    context: Any, config: settings.Settings, *, manifests: Sequence[str] | None, pushes: Iterable[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Collect and write the report of a run of ``push_images``; see :func:`finish_run`.

    :param manifests: What ``list_images`` returned; None when it failed.
    """
    ti = context["ti"]
    if manifests is not None and context["params"]["dry_run"]:
        return {"dry_run": ti.xcom_pull(task_ids="list_images", key="plan")}
    if not manifests:
        raise PachydermError("Nothing was listed: see the task list_images")
    run = Run(ti.dag_id, ti.run_id, str(context["params"]["source"]), pushes_of(manifests, pushes), len(manifests))
    return finish_run(run, manifests=manifests, folder=run_results(config, ti.dag_id, ti.run_id))


def pushes_of(manifests: Sequence[str], pushes: Iterable[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """The results of a run's pushes, one for each manifest that was pushed.

    :param pushes: What the mapped task returned. When a planning task that was cleared gives fewer batches, Airflow removes the instances
        that are too many and keeps what they returned: that is left out.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for push in pushes or ():
        if push:
            found.setdefault(push["manifest"], push)
    return [found[manifest] for manifest in manifests if manifest in found]


def run_results(config: settings.Settings, dag_id: str, name: str) -> str:
    """URL of the folder for one report."""
    return f"{config.results.rstrip('/')}/{dag_id}/{re.sub(r'[^A-Za-z0-9_.-]', '-', name)}"


def finish_run(run: Run, *, manifests: Iterable[str], folder: str) -> dict[str, Any]:
    """Collect and write the report of a run.

    :param folder: URL of the run's own folder.
    :return: Counts, and where the report is.
    :raises PachydermError: Batches failed; the report about the others is written first.
    """
    if run.batches and not run.pushes:
        raise PachydermError(f"No batch of {run.batches} was pushed: see the push tasks")
    hook = PachydermHook(settings.PACHYDERM_CONN_ID)
    report = collect(hook, run, chain.from_iterable(read_manifest_lines(url) for url in manifests))
    counts = {**report.counts(), "summary": write(hook, report, folder)}
    log.info("Report: %s", json.dumps(counts))
    failed = run.batches - len(run.pushes)
    if failed:
        raise PachydermError(f"{failed} of {run.batches} batches failed: clear their push tasks; the report is {counts['summary']}")
    return counts


def batch_limits(folder: str, files: int) -> Limits:
    """Limits for a run whose manifests lie in ``folder``: their URLs must fit into an XCom."""
    most = settings.MAX_XCOM_BYTES // (len(folder) + len('"/0000.jsonl", '))
    return Limits(files=files, size_bytes=max(settings.BATCH_BYTES, files * (1 << 20)), batches=max(1, min(settings.MAX_BATCHES, most)))


def unique(files: Iterable[SourceFile]) -> Iterator[SourceFile]:
    """The files, flat: images lie in the root of their repo whatever folder they come from.

    :raises PachydermSourceError: Two files have the same name.
    """
    seen: dict[str, str] = {}
    for file in files:
        path = "/" + file.path.rpartition("/")[2]
        if path in seen:
            raise PachydermSourceError(f"{seen[path]} and {file.url} have the same name; images need unique names", url=file.url)
        seen[path] = file.url
        yield SourceFile(path, file.url, file.size_bytes)
