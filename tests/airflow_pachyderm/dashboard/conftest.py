"""The page's application behind Airflow's real login, in front of a real minipachd."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.connection import PachydermConnection
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm


class Engine:
    """minipachd in its own process on a loopback port that stays the same over restarts."""

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root, self.address = root, "127.0.0.1:0"
        self._arguments = arguments

    def start(self) -> None:
        """Return when the port answers; fail with the log's tail when the process ends first."""
        command = [
            sys.executable,
            "-m",
            "minipachd",
            "--data",
            str(self.root / "data"),
            "--listen",
            self.address,
            "--auth",
            "none",
            *self._arguments,
        ]
        with (self.root / "engine.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        ready, _, address = self.process.stdout.readline().strip().partition(" ")
        assert ready == "ready", f"minipachd did not start:\n{(self.root / 'engine.log').read_text()[-2000:]}"
        self.address = address.removeprefix("grpc://").split()[0]

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.process.terminate()
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def connection(self) -> PachydermConnection:
        host, _, port = self.address.rpartition(":")
        return PachydermConnection(conn_id="test", host=host, port=int(port))


@contextlib.contextmanager
def running(root: Path) -> Iterator[Engine]:
    """A server for as long as the block takes."""
    engine = Engine(root)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running(tmp_path_factory.mktemp("minipachd")) as engine:
        yield engine


@pytest.fixture(scope="module")
def empty_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """For a module whose repos are pipelines in other tests."""
    with running(tmp_path_factory.mktemp("minipachd")) as engine:
        yield engine


@pytest.fixture(scope="module")
def pachyderm(engine: Engine) -> Iterator[Pachyderm]:
    """Makes what the tests then look at through the page."""
    server = Server(engine.connection)
    yield Pachyderm(server)
    server.close()


@pytest.fixture(scope="session")
def airflow_login() -> Iterator[Callable[[str | None], str]]:
    """Airflow's own auth manager with its database; gives a token for a user of a role."""
    from airflow import settings
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models import import_all_models
    from airflow.models.base import Base

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # as the API server's own entry point does
        environment.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "of-tests-" * 8)
        settings.initialize()
        import_all_models()
        Base.metadata.create_all(settings.engine)
        manager = init_auth_manager(FastAPI())
        yield lambda role: manager.generate_jwt(SimpleAuthManagerUser(username=f"a {role}", role=role))
        settings.dispose_orm()


@pytest.fixture
def app(airflow_login: Callable[[str | None], str]) -> FastAPI:
    """Airflow's API server as far as the page can tell: the plugin's application mounted at its prefix."""
    from airflow_pachyderm.dashboard.plugin import PachydermDashboardPlugin

    [mounted] = PachydermDashboardPlugin.fastapi_apps
    parent = FastAPI()
    parent.mount(mounted["url_prefix"], mounted["app"])
    return parent


@pytest.fixture
def anonymous(app: FastAPI) -> TestClient:
    """A browser that is not logged in."""
    return TestClient(app, base_url="http://testserver/pachyderm/")


@pytest.fixture
def client(app: FastAPI, engine: Engine, airflow_login: Callable[[str | None], str], monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The browser of a user who may read."""
    host, _, port = engine.address.rpartition(":")
    # An id for each server: what is known of a connection is kept for some seconds.
    monkeypatch.setenv("AIRFLOW__PACHYDERM__DASHBOARD_CONN_ID", f"pachyderm_{port}")
    monkeypatch.setenv(f"AIRFLOW_CONN_PACHYDERM_{port}", json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port)}))
    return TestClient(app, base_url="http://testserver/pachyderm/", cookies={"_token": airflow_login("VIEWER")})
