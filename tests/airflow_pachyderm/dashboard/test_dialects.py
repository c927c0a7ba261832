"""The page in front of a Pachyderm that says on which branch a commit was made, and of one that does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from airflow_pachyderm.client.channel import Server
from tests.airflow_pachyderm.dashboard.conftest import Engine
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm
from tests.support import BOTH_DIALECTS


@pytest.fixture
def engine(tmp_path: Path, speak: str) -> Iterator[Engine]:
    """One of its own, of that dialect."""
    engine = Engine(tmp_path, "--speak", speak)
    engine.start()
    yield engine
    engine.stop()


@BOTH_DIALECTS
def test_a_commit_and_its_jobs_are_shown(client: TestClient, engine: Engine, speak: str) -> None:
    server = Server(engine.connection)
    pachyderm = Pachyderm(server)
    pachyderm.pfs.create_repo("images")
    copy = {"cmd": ["sh"], "stdin": ["cp $PFS_ROOT/images/* $PFS_ROOT/out/"]}
    pachyderm.pipeline("copy", transform=copy, input={"pfs": {"repo": "images", "glob": "/*"}})
    commit = pachyderm.commit("images", {"/a": b"a"}, description="by hand")
    pachyderm.wait(commit)

    found = client.get(f"api/jobsets/{commit}").json()
    [datum] = client.get(f"api/jobs/copy/{commit}/datums").json()["items"]
    detail = client.get(f"api/jobs/copy/{commit}/datums/{datum['id']}").json()
    commits = client.get("api/repos/images/commits").json()["items"]
    files = client.get("api/repos/copy/files").json()["items"]
    missing = client.get(f"api/jobsets/{'0' * 32}")
    server.close()

    assert [(origin["repo"], origin["branch"]) for origin in found["pushed"]] == [("images", "" if speak == "2.12" else "master")]
    assert [job["pipeline"] for job in found["jobs"]] == ["copy"]
    assert datum["inputs"] == ["images:/a"]
    assert [file["repo"] for file in (*detail["files"], *detail["outputs"])] == ["images", "copy"]
    assert commit in [shown["id"] for shown in commits]
    assert [file["path"] for file in files] == ["/a"]
    assert missing.status_code == 404
