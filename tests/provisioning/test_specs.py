"""What the specs ask the cluster for: said for both containers of a worker, and changed without processing anything again."""

import json
from pathlib import Path

import pytest

from airflow_pachyderm.hooks.pachyderm import PachydermHook
from dags.provisioning.capacity import of_spec
from dags.settings import PIPELINES
from tests.support import Engine
from tests.support_data import REPOSITORY

SPECS = {name: json.loads((REPOSITORY / "stages" / folder / "pipeline.json").read_text()) for name, folder in PIPELINES.items()}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_spec_says_what_each_container_of_a_worker_asks_for(pipeline: str) -> None:
    """Pachyderm asks for a whole CPU for each of the two where the spec says nothing."""
    for name in ("resourceRequests", "sidecarResourceRequests"):
        assert SPECS[pipeline][name].keys() >= {"cpu", "memory"}, name
    asked = of_spec(SPECS[pipeline])
    assert asked.cpu == pytest.approx(SPECS[pipeline]["resourceRequests"]["cpu"] + SPECS[pipeline]["sidecarResourceRequests"]["cpu"])


def test_other_requests_of_the_sidecar_process_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(tmp_path) as engine:
        host, _, port = engine.address.rpartition(":")
        monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port)}))
        client = engine.client
        client.create_repo("images")
        with client.commit("images", "master") as commit:
            client.put_file_bytes(commit, "/a.jpg", b"a")
        spec = {
            "pipeline": {"name": "copy"},
            "input": {"pfs": {"repo": "images", "glob": "/*"}},
            "transform": {"cmd": ["sh", "-c", 'cp "$PFS_ROOT"/images/* "$PFS_ROOT"/out/']},
        }
        hook = PachydermHook()
        hook.pps.create_pipeline(spec, name="copy")
        list(client.inspect_job(next(client.list_job("copy")).job.id, "copy", wait=True))
        hook.pps.create_pipeline({**spec, "sidecarResourceRequests": {"cpu": 0.1, "memory": "256Mi"}}, name="copy")
        assert hook.pps.inspect_pipeline("copy").version == 2
        (job,) = client.list_job("copy")  # of the new version: the old one's are history
        (done,) = client.inspect_job(job.job.id, "copy", wait=True)
        assert (done.data_processed, done.data_skipped) == (0, 1)
        hook.server.close()
