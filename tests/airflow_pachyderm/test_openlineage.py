"""What OpenLineage's provider is told; only where it is installed."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset, BaseOperator

pytest.importorskip("airflow.providers.openlineage.extractors", reason="apache-airflow-providers-openlineage is not installed")

from airflow_pachyderm.lineage import convert_asset
from airflow_pachyderm.operators.file import PachydermGetFileOperator, PachydermPutFileOperator
from airflow_pachyderm.operators.push import PachydermPushOperator
from tests.airflow_pachyderm.tasks import Task
from tests.support import Engine


@pytest.fixture(autouse=True)
def connection(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    host, _, port = engine.address.rpartition(":")
    monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port)}))


def lineage(operator: BaseOperator) -> Any:
    """By the extractor that OpenLineage's listener uses."""
    from airflow.providers.openlineage.extractors.base import DefaultExtractor

    found = DefaultExtractor(operator).extract_on_complete(None)
    assert found is not None
    return found


def test_a_push_reads_folders_and_writes_a_version_of_the_branch(engine: Engine, repo: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    push = PachydermPushOperator(task_id="push", repo=repo, files=[str(tmp_path / "a"), str(tmp_path / "b")])
    done = Task(push).run()

    found = lineage(push)

    assert [(dataset.namespace, dataset.name) for dataset in found.inputs] == [("file", str(tmp_path))]
    (branch,) = found.outputs
    assert (branch.namespace, branch.name) == (f"pachyderm://{engine.address}", f"default/{repo}@master")
    assert branch.facets["version"].datasetVersion == done["commit"]
    assert (branch.outputFacets["outputStatistics"].fileCount, branch.outputFacets["outputStatistics"].size) == (2, 2)


def test_single_files_come_and_go(repo: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    put = PachydermPutFileOperator(task_id="put", repo=repo, path="/a", source=str(tmp_path / "a"))
    get = PachydermGetFileOperator(task_id="get", repo=repo, path="/a", target=f"{tmp_path}/out/")
    Task(put).run()
    Task(get).run()

    assert [dataset.name for dataset in lineage(put).outputs] == [f"default/{repo}@master"]
    assert [dataset.name for dataset in lineage(get).inputs] == [f"default/{repo}@master"]
    assert [dataset.name for dataset in lineage(get).outputs] == [f"{tmp_path}/out"]


def test_an_asset_is_the_dataset_that_a_push_writes() -> None:
    found = convert_asset(Asset("pachyderm://pachd:30650/default/images@master"), None)

    assert (found.namespace, found.name) == ("pachyderm://pachd:30650", "default/images@master")
    assert convert_asset(Asset("pachyderm://pachd:30650/images"), None) is None
