"""Lineage for OpenLineage: branches and folders as datasets. Only loaded where its provider is installed, which calls this."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.files import SourceFile, server_url

if TYPE_CHECKING:
    from airflow.sdk import Asset


def branch_dataset(
    connection: PachydermConnection,
    repo: str,
    branch: str = "master",
    *,
    commit: str = "",
    files: int | None = None,
    size_bytes: int | None = None,
) -> Any:
    """The dataset ``<project>/<repo>@<branch>`` of the namespace ``pachyderm://<host>:<port>``.

    :param commit: Becomes the dataset's version.
    :param files: How many were written, and ``size_bytes``, for its statistics.
    """
    from openlineage.client.event_v2 import Dataset, OutputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

    namespace, name = f"pachyderm://{connection.address}", f"{connection.project}/{repo}@{branch}"
    facets: dict[str, Any] = {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=commit)} if commit else {}
    if files is None:
        return Dataset(namespace=namespace, name=name, facets=facets)
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(fileCount=files, size=size_bytes)
    return OutputDataset(namespace=namespace, name=name, facets=facets, outputFacets={"outputStatistics": statistics})


def folder_datasets(urls: Iterable[str]) -> list[Any]:
    """The folders that files lie in, each once: a batch of thousands of files is mostly of one."""
    from openlineage.client.event_v2 import Dataset

    found: dict[tuple[str, str], Any] = {}
    for url in urls:
        parts = urlsplit(server_url(url))
        namespace = "file" if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc}"
        name = parts.path.rpartition("/")[0] or "/"
        found.setdefault((namespace, name), Dataset(namespace=namespace, name=name))
    return list(found.values())


def source_datasets(files: Iterable[SourceFile]) -> list[Any]:
    """The folders of a batch."""
    return folder_datasets(file.url for file in files)


def operator_lineage(*, inputs: list[Any] | None = None, outputs: list[Any] | None = None) -> Any:
    """What an operator's ``get_openlineage_facets_on_complete`` returns."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    return OperatorLineage(inputs=inputs or [], outputs=outputs or [])


def convert_asset(asset: "Asset", lineage_context: Any) -> Any:  # noqa: ARG001 - the signature that the provider calls
    """The dataset of an inlet or outlet ``pachyderm://<host>:<port>/<project>/<repo>@<branch>``; None for a URI that is no such."""
    from openlineage.client.event_v2 import Dataset

    parts = urlsplit(asset.uri)
    name = parts.path.lstrip("/")
    if not parts.netloc or name.count("/") != 1 or "@" not in name:
        return None
    return Dataset(namespace=f"pachyderm://{parts.netloc}", name=name)
