"""Links from a task to what it made, on the page in Airflow or in Pachyderm's Console."""

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.dashboard.links import commit_set_url

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

XCOM_URL: Final = "commit_url"


def commit_url(connection: PachydermConnection, repo: str, commit_set: str) -> str:
    """Where a person can see a commit and its jobs: the Console if the connection has one, else the page in Airflow."""
    if connection.console_url:
        base = connection.console_url.rstrip("/")
        return f"{base}/lineage/{quote(connection.project)}/repos/{quote(repo)}/commit/{commit_set}"
    return commit_set_url(commit_set, base_url=conf.get("api", "base_url", fallback="/"))


class PachydermCommitLink(BaseOperatorLink):
    """The commit that a task made, and its jobs; there as soon as the commit is."""

    name = "Pachyderm commit"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """The link that :func:`push_link` left."""
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(ti_key=ti_key, key=XCOM_URL) or "")


def push_link(ti: "RuntimeTaskInstanceProtocol", url: str) -> None:
    """Show the link now: Airflow asks for links only when a task has ended, and reads them from this XCom."""
    ti.xcom_push(key=XCOM_URL, value=url)
    ti.xcom_push(key=PachydermCommitLink().xcom_key, value=url)
