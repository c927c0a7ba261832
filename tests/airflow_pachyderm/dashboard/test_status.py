"""The first view: is everything all right."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.airflow_pachyderm.dashboard.conftest import Engine
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm


@pytest.fixture(scope="module")
def engine(empty_engine: Engine) -> Engine:
    return empty_engine


def test_before_anything_has_run_it_says_so(client: TestClient, pachyderm: Pachyderm) -> None:
    answer = client.get("api/status")

    assert answer.status_code == 200
    assert answer.json() == {
        "cameras": [],
        "more_cameras": False,
        "invalid": [],
        "invalid_count": 0,
        "runs": [],
        "told": False,
        "time": "",
        "warnings": [],
        "mail_on": None,
        "mail": "",
        "restarts": None,
    }


def test_cameras_invalid_images_runs_warnings_and_mail(client: TestClient, pachyderm: Pachyderm) -> None:
    seen = [("gate", 1511891000), ("gate", 1511892000), ("door", 1511891500)]
    pachyderm.commit("object-detect", {f"/{device}/{time}.{ending}": b"{}" for device, time in seen for ending in ("json", "jpg")})
    reason = {"schema": "tuskwatch.invalid/1", "name": "blah.jpg", "code": "bad-name", "message": "blah.jpg: the name is not"}
    pachyderm.commit(
        "validate", {"/invalid/blah.jpg": b"x", "/invalid/blah.jpg.reason.json": json.dumps(reason).encode(), "/valid/a": b"x"}
    )
    run = {"dag_id": "push_images", "run_id": "r", "time": "2026-11-28T20:00:00+00:00", "state": "failed", "reason": "most are invalid"}
    older = {"dag_id": "nightly_images", "time": "2026-11-27", "report": "/gone.md"}
    status = {"time": "2026-11-28T20:00:00+00:00", "warnings": ["Rules: <b>"], "mail": {"on": False, "text": "no connection"}}
    pachyderm.commit(
        "status",
        {
            "/status.json": json.dumps(status).encode(),
            "/runs/push_images.json": json.dumps({**run, "report": "/reports/push_images/r.md"}).encode(),
            "/runs/nightly_images.json": json.dumps({**run, **older}).encode(),
            "/runs/broken.json": b"{",
            "/reports/push_images/r.md": b"# report",
        },
    )

    found = client.get("api/status").json()

    assert found["cameras"] == [{"device": "door", "time": 1511891500}, {"device": "gate", "time": 1511892000}]
    assert (found["invalid_count"], found["invalid"]) == (1, [{"name": "blah.jpg", "reason": "blah.jpg: the name is not"}])
    assert [(run["dag_id"], run["state"], run["reason"]) for run in found["runs"]] == [
        ("push_images", "failed", "most are invalid"),
        ("nightly_images", "failed", "most are invalid"),
    ]
    assert [run["report"] and run["report"]["path"] for run in found["runs"]] == ["/reports/push_images/r.md", None]
    assert (found["told"], found["warnings"], found["mail_on"], found["mail"]) == (True, ["Rules: <b>"], False, "no connection")


def test_parts_that_were_started_again(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "restarts.jsonl"
    monkeypatch.setenv("AIRFLOW__PACHYDERM__DASHBOARD_RESTARTS", str(file))
    assert client.get("api/status").json()["restarts"] == []
    ended = [{"part": "minipachd", "time": number, "how": "terminated by SIGKILL", "log": ["<b>"]} for number in range(30)]
    file.write_text("\n".join(["{", *map(json.dumps, ended), '{"part": 1}']) + "\n")

    found = client.get("api/status").json()["restarts"]

    assert found == [*reversed(ended)][:19]
