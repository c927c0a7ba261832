"""Who gets in, and what a browser may do with what it gets."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from airflow_pachyderm.dashboard.routes.page import static_files
from tests.airflow_pachyderm.dashboard.conftest import Engine

ROUTES = (
    "",
    "index.html",
    "js/main.js",
    "app.css",
    "vendor/chart.js",
    "api/status",
    "api/graph",
    "api/pipelines/validate",
    "api/jobsets",
    "api/jobsets/" + "0" * 32,
    "api/jobs/validate/" + "0" * 32,
    "api/jobs/validate/" + "0" * 32 + "/datums",
    "api/jobs/validate/" + "0" * 32 + "/datums/" + "0" * 64,
    "api/jobs/validate/" + "0" * 32 + "/log",
    "api/repos",
    "api/repos/images",
    "api/repos/images/commits",
    "api/repos/images/files",
    "api/repos/images/diff?commit=" + "0" * 32,
    "api/repos/images/raw?path=/a",
    "api/repos/images/thumbnail?path=/a",
    "api/threats",
    "api/threats/counts",
    "api/threats/dev1/1511891098",
    "docs",
    "redoc",
    "openapi.json",
    "no/such/page",
)


@pytest.mark.parametrize("route", ROUTES)
def test_nobody_reads_without_a_login(anonymous: TestClient, route: str) -> None:
    answer = anonymous.get(route)

    assert answer.status_code == 401
    assert answer.json()["kind"] == "anonymous"


def test_the_list_above_has_every_route() -> None:
    from fastapi.routing import APIRoute

    from airflow_pachyderm.dashboard.app import create_app

    app = create_app()
    mounted = [route for route in app.routes if not isinstance(route, APIRoute)]
    patterns = {route.path_regex for route in app.routes if isinstance(route, APIRoute)}

    assert mounted == []
    assert {pattern for pattern in patterns if not any(pattern.fullmatch("/" + route.partition("?")[0]) for route in ROUTES)} == set()


def test_a_broken_login_is_refused(anonymous: TestClient) -> None:
    anonymous.cookies.set("_token", "x.y.z")

    assert anonymous.get("api/graph").status_code == 403


def test_a_user_without_a_role_may_not_read(app: FastAPI, airflow_login: Callable[[str | None], str]) -> None:
    client = TestClient(app, base_url="http://testserver/pachyderm/", cookies={"_token": airflow_login(None)})

    # Naming a DAG in the request must not widen what is allowed.
    for route in ("", "api/graph", "api/graph?dag_id=push_images", "js/main.js"):
        assert client.get(route).status_code == 403


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_can_be_changed(client: TestClient, method: str) -> None:
    for route in ("api/graph", "api/repos/images", "api/repos"):
        assert getattr(client, method)(route).status_code == 405


@pytest.mark.parametrize("route", ["", "js/main.js", "api/graph", "api/nothing"])
def test_every_answer_is_strict_with_browsers(client: TestClient, route: str) -> None:
    headers = client.get(route).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy


def test_errors_without_a_login_are_strict_too(anonymous: TestClient) -> None:
    headers = anonymous.get("api/graph").headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_bug_shows_no_detail_and_is_strict_too(airflow_login: Callable[[str | None], str]) -> None:
    from airflow_pachyderm.dashboard.app import create_app

    def fail() -> None:
        raise RuntimeError("a detail")

    app = create_app()
    app.add_api_route("/fail", fail)
    app.router.routes.insert(0, app.router.routes.pop())  # before the page, which takes every other path
    answer = TestClient(app, raise_server_exceptions=False, cookies={"_token": airflow_login("VIEWER")}).get("/fail")

    assert (answer.status_code, answer.json()["kind"]) == (500, "bug")
    assert "a detail" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_page_and_its_files(client: TestClient) -> None:
    page = client.get("")
    script = client.get("js/main.js")

    assert page.headers["Content-Type"].startswith("text/html")
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert client.get("js/main.js", headers={"If-None-Match": script.headers["ETag"]}).status_code == 304
    # Nothing comes from elsewhere, and it works below any path.
    assert "http" not in page.text.replace("http-equiv", "")
    assert 'src="/' not in page.text
    assert 'href="/' not in page.text


@pytest.mark.parametrize(("setting", "shown"), [("", "UTC"), ("Europe/Berlin", "Europe/Berlin"), ('"><script>', "UTC")])
def test_the_page_is_told_the_time_zone(monkeypatch: pytest.MonkeyPatch, setting: str, shown: str) -> None:
    monkeypatch.setenv("TUSKWATCH_TIMEZONE", setting)
    static_files.cache_clear()
    try:
        assert f'<html lang="en" data-time-zone="{shown}">'.encode() in static_files()["index.html"].content
    finally:
        static_files.cache_clear()


@pytest.mark.parametrize(
    "path", ["../app.py", "..%2fapp.py", "%2e%2e/%2e%2e/app.py", "js/../../app.py", "/etc/passwd", "js", "vendor/", "js\\main.js"]
)
def test_only_the_pages_own_files_are_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_connection_of_airflows_database_serves_too(
    app: FastAPI, engine: Engine, airflow_login: Callable[[str | None], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    host, _, port = engine.address.rpartition(":")
    with create_session() as session:
        session.add(Connection(conn_id="stored", conn_type="pachyderm", host=host, port=int(port)))
    monkeypatch.setenv("AIRFLOW__PACHYDERM__DASHBOARD_CONN_ID", "stored")
    client = TestClient(app, base_url="http://testserver/pachyderm/", cookies={"_token": airflow_login("VIEWER")})

    assert client.get("api/repos").status_code == 200
