"""The last task of ``nightly_images``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_pachyderm.assets import commit_asset, emit_commit
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from dags import settings
from dags.common.push_run import finish_run, pushes_of
from dags.common.report import Run
from dags.common.tell import run_results


def report_night(
    context: Any, config: settings.Settings, *, manifests: Sequence[str] | None, pushes: Iterable[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Collect and write the report of a night, and tell the asset alias of its commit.

    :param manifests: What the plan returned; None when it failed.
    :return: Counts, and where the report is.
    :raises AirflowSkipException: There is no plan.
    :raises PachydermInvalidError: A batch failed, or most images are invalid; the report is written first.
    """
    ti = context["ti"]
    day, late, passed = (ti.xcom_pull(task_ids="plan", key=key) for key in ("day", "late", "passed_over"))
    if manifests is None or day is None:
        raise AirflowSkipException("The night has no plan, so there is nothing to report: the task plan says why")
    source = f"{config.landing} of {day}"
    run = Run(ti.dag_id, ti.run_id, source, pushes_of(manifests, pushes), len(manifests), late=late or {}, passed_over=passed or [])
    counts = {"day": day, **finish_run(context, config, run, manifests=manifests, folder=run_results(config, ti.dag_id, day), later=True)}
    if counts["commit"]:
        asset = commit_asset(PachydermHook(settings.PACHYDERM_CONN_ID).connection, settings.IMAGES_REPO)
        emit_commit(context, ti.task.outlets, asset, counts)
    return counts
