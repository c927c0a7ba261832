"""Buttons of a report's task: to the report itself, and to the threats."""

from typing import Any, Final

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from airflow_pachyderm.dashboard.links import page_url
from dags import settings

XCOM_REPORT: Final = "report_path"


def _url(**query: str) -> str:
    return page_url(query, base_url=conf.get("api", "base_url", fallback="/"))


class ReportLink(BaseOperatorLink):
    """The report of the run, once it is written."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Where the report can be read."""
        from airflow.sdk.execution_time.xcom import XCom

        path = XCom.get_value(ti_key=ti_key, key=XCOM_REPORT)
        return _url(view="repos", repo=settings.STATUS_REPO, file=str(path)) if path else ""


class ThreatsLink(BaseOperatorLink):
    """The newest threats."""

    name = "Threats"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Where they can be seen."""
        return _url(view="threats")


def with_links(reported: Any) -> Any:
    """Give a report's task its buttons.

    :param reported: What calling the decorated function gave.
    """
    reported.operator.operator_extra_links = (ReportLink(), ThreatsLink())
    return reported
