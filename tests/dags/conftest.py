"""What the DAGs' tests need: a server with the pipelines of Tuskwatch, whose stages are quick stand-ins."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.specs import load_specs
from dags import settings
from tests.dags.quick_stages import write_stages
from tests.support import Engine


@pytest.fixture(scope="session")
def pachd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server for all tests, each of which finds it empty."""
    with Engine(tmp_path_factory.mktemp("pachd")) as engine:
        yield engine


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick stages' specs."""
    return write_stages(tmp_path_factory.mktemp("stages"))


@pytest.fixture
def hook(pachd: Engine, stages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PachydermHook]:
    """The default connection, to a server with repos and pipelines but no model, rules or images."""
    host, _, port = pachd.address.rpartition(":")
    monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port)}))
    hook = PachydermHook()
    for repo in settings.REPOS:
        hook.pfs.create_repo(repo)
    for folder in settings.PIPELINES.values():
        for spec in load_specs(stages / folder / "pipeline.json"):
            hook.pps.create_pipeline(spec, name=folder)
    yield hook
    hook.server.close()
    pachd.client.delete_all()
