"""Push each night what the cameras wrote the day before, and report what was found.

A run takes the images of one day from the landing area (`tuskwatch_landing`): those below `YYYY/MM/DD/`, and those that lie flat with a
timestamp in their name. It pushes them in batches, as `push_images` does, writes `summary.json`, `report.md` and the plot to
`<results>/nightly_images/<day>/`, and tells the asset alias `tuskwatch-images` of the new commit. A night without images is a success.

A day is pushed once: a repeated run, a backfill of a day that was done, and a run by hand for it find the same batches and commits again.
Images that land after their day was pushed are taken by the next night, and reported as late. What lies in the landing area and is not
pushed is named in the report, with the reason.

Backfill an archive: `python -m dags.plan_backfill --from-date 2026-11-01 --to-date 2026-11-05` prints the command.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import AssetAlias, CronDataIntervalTimetable, Param, dag, get_current_context, task

from dags import settings
from dags.common.batch_push import batch_params, push_batches
from dags.common.failed import task_defaults
from dags.common.links import with_links


@dag(
    # Data intervals, not partitions: one run per day whoever starts it, and a backfill clears that run instead of adding another.
    schedule=CronDataIntervalTimetable(settings.NIGHTLY_CRON, timezone=settings.TIMEZONE),
    start_date=datetime(2017, 1, 1, tzinfo=ZoneInfo(settings.TIMEZONE)),
    catchup=False,
    max_active_runs=4,
    tags=list(settings.TAGS),
    doc_md=__doc__,
    default_args=task_defaults(),
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="For a run by hand: the day whose images to push. Empty: yesterday. Scheduled runs and backfills take their own.",
        ),
        **batch_params(),
        "late_days": Param(
            settings.LATE_DAYS,
            type="integer",
            minimum=0,
            maximum=365,
            title="Days to look back",
            description="Days before this one that are searched for images that came late. 0: none.",
        ),
    },
)
def nightly_images() -> None:
    """The DAG: see the module's text."""

    @task(multiple_outputs=False)
    def plan() -> list[str]:
        """Find the night's images; URLs of the batches' manifests."""
        from dags.common.inputs import without_retries
        from dags.common.nightly import night_of_context

        context = get_current_context()
        with without_retries():
            night = night_of_context(context, settings.load())
        context["ti"].xcom_push(key="day", value=str(night.day))
        context["ti"].xcom_push(key="late", value=night.late)
        context["ti"].xcom_push(key="passed_over", value=night.passed_over)
        return night.manifests

    @task(trigger_rule="all_done", outlets=[AssetAlias(settings.IMAGES_ALIAS)])
    def report(manifests: list[str] | None, pushes: list[dict[str, Any]] | None) -> dict[str, Any]:
        """Read back what was found, write the report, tell the asset, and fail if a batch did."""
        from dags.common.inputs import without_retries
        from dags.common.night_report import report_night

        with without_retries():
            return report_night(get_current_context(), settings.load(), manifests=manifests, pushes=pushes)

    manifests = plan()
    push = push_batches(
        manifests,
        batch_key="nightly_images/{{ ti.xcom_pull(task_ids='plan', key='day') }}",
        max_active_tis_per_dag=settings.PARALLEL_PUSHES,
    )
    with_links(report(manifests, push.output))  # type: ignore[arg-type]  # what the tasks return, not the references to it
    # When there is no plan, that task alone has failed: the report is skipped, and this one, which does nothing, fails the run.
    manifests >> EmptyOperator(task_id="planned")


nightly_images()
