"""What the page says when Pachyderm is away, and that it recovers without a restart."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from airflow_pachyderm.dashboard.errors import problem_of
from airflow_pachyderm.exceptions import PachydermError
from tests.airflow_pachyderm.dashboard.conftest import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """One of its own, to be stopped."""
    engine = Engine(tmp_path)
    engine.start()
    yield engine
    if engine.process.poll() is None:
        engine.stop()


def test_it_says_so_and_goes_on_when_pachyderm_is_back(client: TestClient, engine: Engine) -> None:
    assert client.get("api/repos").status_code == 200

    engine.stop()
    away = client.get("api/repos")
    engine.start()
    answers = [client.get("api/repos").status_code]
    while answers[-1] != 200:  # gRPC tries again by itself within seconds; the test's timeout is the limit
        answers.append(client.get("api/repos").status_code)

    assert (away.status_code, away.json()["kind"], away.json()["retry"]) == (503, "unavailable", True)
    assert "make up" in away.json()["way_out"]
    assert engine.address not in away.text
    assert set(answers) <= {200, 503}


def test_the_page_itself_needs_no_pachyderm(client: TestClient, engine: Engine) -> None:
    engine.stop()

    assert client.get("").status_code == 200


@pytest.mark.parametrize("host", ["", "http://x"])
def test_a_wrong_connection_is_said_without_naming_it(
    app: FastAPI, airflow_login: Callable[[str | None], str], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    # Another id: what is known of the usual one is kept for some seconds.
    monkeypatch.setenv("AIRFLOW__PACHYDERM__DASHBOARD_CONN_ID", f"wrong_{len(host)}")
    monkeypatch.setenv(f"AIRFLOW_CONN_WRONG_{len(host)}", json.dumps({"conn_type": "pachyderm", "host": host}))
    client = TestClient(app, base_url="http://testserver/pachyderm/", cookies={"_token": airflow_login("VIEWER")})

    answer = client.get("api/repos")

    assert (answer.status_code, answer.json()["kind"]) == (422, "invalid")
    assert "Admin > Connections" in answer.json()["way_out"]
    assert "wrong_" not in answer.text


def test_a_missing_connection_is_said(app: FastAPI, airflow_login: Callable[[str | None], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__PACHYDERM__DASHBOARD_CONN_ID", "missing")
    client = TestClient(app, base_url="http://testserver/pachyderm/", cookies={"_token": airflow_login("VIEWER")})

    assert client.get("api/repos").status_code == 422


def _all_errors(root: type[PachydermError]) -> list[type[PachydermError]]:
    return [root, *(found for child in root.__subclasses__() for found in _all_errors(child))]


@pytest.mark.parametrize("kind", _all_errors(PachydermError))
def test_every_error_of_the_provider_has_an_answer_with_a_way_out(kind: type[PachydermError]) -> None:
    problem = problem_of(kind.__new__(kind))

    assert 400 <= problem.status < 600
    assert problem.way_out
