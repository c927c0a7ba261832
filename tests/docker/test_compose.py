"""``docker/compose.yaml``: what it says, and that it comes up and does its work."""

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from laptop.airflow import Airflow, AirflowSettings
from laptop.demo import BOOTSTRAP, PUSH, run
from laptop.layout import free_port
from tests.docker.conftest import docker
from tests.support_data import REPOSITORY

FILE = REPOSITORY / "docker" / "compose.yaml"
UP_SECONDS = 600


def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(FILE.read_text())["services"]


def program() -> list[str]:
    """Docker Compose, as a plugin or as a program of its own."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("Docker Compose is not installed")


def test_ports_are_published_on_loopback_only():
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_is_written_down():
    variables = {name: value for service in services().values() for name, value in service.get("environment", {}).items()}
    secret = {name: value for name, value in variables.items() if re.search("PASSWORD|SECRET|KEY|SQL|TOKEN", name)}
    assert len(secret) == 7
    assert all(value.removeprefix("cat ").startswith(("/secrets/", "/token/")) for value in secret.values()), secret


def test_containers_have_no_rights_that_they_do_not_need():
    ours = {name: service for name, service in services().items() if service.get("image", "tuskwatch/").startswith("tuskwatch/")}
    for name, service in ours.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.docker
def test_compose_takes_the_file():
    done = subprocess.run([*program(), "-f", str(FILE), "config", "--quiet"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@dataclass
class Project:
    """The services of the file, up under a name and on ports of their own."""

    command: list[str]
    name: str = field(default_factory=lambda: f"tuskwatch-test-{uuid.uuid4().hex[:8]}")
    airflow_port: int = field(default_factory=free_port)
    minipachd_port: int = field(default_factory=free_port)

    def call(self, *arguments: str) -> str:
        ports = {"AIRFLOW_PORT": str(self.airflow_port), "MINIPACHD_PORT": str(self.minipachd_port)}
        command = [*self.command, "-p", self.name, "-f", str(FILE), *arguments]
        done = subprocess.run(command, env=os.environ | ports, capture_output=True, text=True, timeout=UP_SECONDS)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def states(self) -> dict[str, str]:
        """Health by container, of those that have one."""
        names = docker("ps", "--all", "--filter", f"label=com.docker.compose.project={self.name}", "--format", "{{.ID}}").split()
        found = json.loads(docker("inspect", *names))
        label = "com.docker.compose.service"
        return {entry["Config"]["Labels"][label]: entry["State"]["Health"]["Status"] for entry in found if "Health" in entry["State"]}

    def wait_healthy(self) -> None:
        deadline = time.monotonic() + UP_SECONDS
        while set((states := self.states()).values()) != {"healthy"}:
            assert time.monotonic() < deadline, f"{states}\n{self.call('logs', '--tail', '20')}"
            time.sleep(1)


@pytest.fixture
def project(build: Callable[[str], str]) -> Iterator[Project]:
    project = Project(program())
    build("minipachd")
    build("airflow")
    image = services()["postgres"]["image"]
    if not docker("images", "--quiet", image).strip() and subprocess.run(["docker", "pull", "-q", image], capture_output=True).returncode:
        docker("build", "--quiet", "--network", "host", "--tag", image, str(REPOSITORY / "tests/docker/postgres"), timeout=UP_SECONDS)
    try:
        project.call("up", "--detach")
        project.wait_healthy()
        yield project
    finally:
        project.call("down", "--volumes")


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(3 * UP_SECONDS)
def test_the_stack_comes_up_and_passes_the_demo(project):
    password = json.loads(project.call("exec", "-T", "api-server", "cat", "/secrets/passwords.json"))["admin"]
    with Airflow(AirflowSettings(project.airflow_port, password, jwt_secret="", secret_key="")) as airflow:
        assert airflow.healthy()
        airflow.login()
        run(airflow, BOOTSTRAP, {})
        report = run(airflow, PUSH, {"source": "/data/images"}, result_of="report")
    assert report["images"] == {"valid": 12, "invalid": 1}
    assert report["threats"]
