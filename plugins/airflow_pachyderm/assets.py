"""Lineage: a branch of a repo as an Airflow asset, and the event that a new commit is."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias

from airflow_pachyderm.connection import PachydermConnection

if TYPE_CHECKING:
    from airflow.sdk import Context


def commit_asset(connection: PachydermConnection, repo: str, branch: str = "master") -> Asset:
    """The asset of a branch: ``pachyderm://<host>:<port>/<project>/<repo>@<branch>``."""
    uri = f"pachyderm://{connection.address}/{connection.project}/{repo}@{branch}"
    return Asset(name=uri, uri=uri)


def emit_commit(context: "Context", outlets: Iterable[Any], asset: Asset, extra: Mapping[str, Any]) -> None:
    """Tell every asset alias among a task's outlets of a new commit.

    An alias, since the asset's name holds the server's address, which is not known while a DAG is parsed.

    :param extra: What consumers read from the event: commit id and counts.
    """
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            context["outlet_events"][outlet].add(asset, extra=dict(extra))
