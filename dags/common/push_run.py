"""The two tasks around the pushes of ``push_images``."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import read_manifest_lines
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from dags import settings
from dags.common.batching import Limits, plan_batches, run_folder
from dags.common.images_push import GROWING, LEFT_OUT
from dags.common.landing import MOST_COUNTED, PassedOver, count_files, list_images, unique
from dags.common.report import Report, Run, collect, markdown, untold, write
from dags.common.sources import is_local, local_roots, require_allowed
from dags.common.tell import cause_of, log_warnings, run_results, tell
from dags.common.world import names_somebody, warnings_in_use

log = logging.getLogger(__name__)


def plan_push(context: Any, config: settings.Settings) -> list[str]:
    """List the folder that the form names, and cut it into batches.

    :return: URLs of the manifests; none in a dry run, whose plan is in XCom ``plan``.
    :raises PachydermInvalidError: The form names no folder.
    :raises PachydermSourceError: The folder is not there or cannot be read, or nothing in it matches.
    """
    params: Mapping[str, Any] = context["params"]
    source, pattern = str(params["source"] or "").strip(), str(params["glob"]).strip()
    if not source:
        raise PachydermInvalidError("No folder is given: fill in Folder in the trigger form with a path or URL of images")
    require_allowed(source, config, what="Folder")
    folder = run_folder(config.staging, context["ti"].dag_id, context["ti"].run_id)
    passed = PassedOver()
    roots = local_roots(config) if is_local(source) else ()
    images = (found.file for found in unique(list_images(source, pattern, passed, roots=roots), passed))
    plan = plan_batches(images, folder=folder, limits=batch_limits(folder, int(params["batch_size"])))
    odd = passed.as_json()
    for item in odd:
        log.warning("Passed over: %d, %s: %s", item["count"], item["why"], ", ".join(item["names"]))
    if not plan.files:
        raise PachydermSourceError(_nothing(source, pattern, odd), url=source)
    log.info("%d images, %d bytes in %s: %d batches", plan.files, plan.size_bytes, source, len(plan.manifests))
    context["ti"].xcom_push(key="passed_over", value=odd)
    if params["dry_run"]:
        context["ti"].xcom_push(key="plan", value={"files": plan.files, "bytes": plan.size_bytes, "batches": len(plan.manifests)})
        return []
    return plan.manifests


def _nothing(source: str, pattern: str, odd: Sequence[Mapping[str, Any]]) -> str:
    """Why there is nothing to push, and what may help."""
    last = pattern.rpartition("/")[2]
    below = 0 if "**" in pattern else count_files(source, f"*/**/{last}")
    if below:
        more = " or more" if below >= MOST_COUNTED else ""
        hint = f"{below}{more} files lie in subfolders, where only ** looks: write **/{last} into Which files"
    else:
        hint = "correct the folder or the glob"
    told = "".join(f"; passed over: {item['count']}, {item['why']}" for item in odd if not item["why"].startswith("a folder, which"))
    return f"Nothing to push: no file in {source} matches {pattern}; {hint}{told}"


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
        raise AirflowSkipException("Nothing was listed, so there is nothing to report: the task list_images says why")
    passed = ti.xcom_pull(task_ids="list_images", key="passed_over") or []
    source = str(context["params"]["source"])
    run = Run(ti.dag_id, ti.run_id, source, pushes_of(manifests, pushes), len(manifests), passed_over=passed)
    return finish_run(context, config, run, manifests=manifests, folder=run_results(config, ti.dag_id, ti.run_id))


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


def finish_run(
    context: Any, config: settings.Settings, run: Run, *, manifests: Iterable[str], folder: str, later: bool = False
) -> dict[str, Any]:
    """Collect and write the report of a run.

    :param folder: URL of the run's own folder.
    :param later: Whether a later run takes the images that are still being written.
    :return: Counts, and where the report is.
    :raises PachydermInvalidError: Batches failed, no image was left, or most are invalid; the report is written first.
    """
    hook = PachydermHook(settings.PACHYDERM_CONN_ID)
    if run.batches and not run.pushes:
        raise PachydermInvalidError(f"No batch of {run.batches} was pushed: {cause_of(context, hook) or 'see the push tasks'}")
    report = collect(hook, run, chain.from_iterable(read_manifest_lines(url) for url in manifests))
    report.warnings += [*(untold(report) if names_somebody(hook) else ()), *warnings_in_use(hook)]
    log_warnings(report.warnings)
    counts = {**report.counts(), "summary": write(hook, report, folder)}
    log.info("Report: %s", json.dumps(counts))
    failed = run.batches - len(run.pushes)
    wrong = f"{failed} of {run.batches} batches failed: clear their push tasks" if failed else ""
    if wrong and (cause := cause_of(context, hook)):
        wrong += f"; the first one: {cause}"
    blind = report.mostly_invalid(config.max_invalid_share) or _nothing_left(report, later=later)
    facts = {"source": run.source, "reason": wrong or blind, **{key: counts[key] for key in ("files", "images", "threats", "passed_over")}}
    facts["name"] = folder.rpartition("/")[2]
    state = "failed" if wrong or blind else "success"
    tell(context, folder=folder, state=state, facts=facts, warnings=report.warnings, report=markdown(report))
    if wrong:
        raise PachydermInvalidError(f"{wrong}; the report is {counts['summary']}")
    if blind:
        raise PachydermInvalidError(f"{blind}; the report is {counts['summary']}")
    return counts


def _nothing_left(report: Report, *, later: bool) -> str:
    """Why a run that was to push images and pushed none is no success; empty where it pushed some, or a later run will."""
    left = [item for item in report.passed_over if item["why"] in LEFT_OUT]
    if report.files or not left or (later and all(item["why"] == GROWING for item in left)):
        return ""
    told = "; ".join(f"{item['count']} {item['why']}, such as {item['names'][0]}" for item in left)
    return f"None of the images that were listed could be pushed: {told}"


def batch_limits(folder: str, files: int) -> Limits:
    """Limits for a run whose manifests lie in ``folder``: their URLs must fit into an XCom."""
    most = settings.MAX_XCOM_BYTES // (len(folder) + len('"/0000.jsonl", '))
    return Limits(files=files, size_bytes=max(settings.BATCH_BYTES, files * (1 << 20)), batches=max(1, min(settings.MAX_BATCHES, most)))
