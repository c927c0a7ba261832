"""provision_stack → check_stack → teardown_stack in real Airflow, against Google and Kubernetes at the wire and a real minipachd."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from laptop.demo import stack_environment
from laptop.errors import RunFailedError
from laptop.layout import Layout
from laptop.stack import new_stack, start_stack
from tests.e2e.harness import Site
from tests.provisioning.conftest import PROJECT, Cloud, start_cloud
from tests.provisioning.fake_kubernetes import Fault
from tests.support_data import Material

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600)]

RUN_SECONDS = 900.0  # a run has up to 13 tasks, one after the other, and each starts a process

GKE = {"target": "gke", "project": PROJECT, "bucket": "acme-pachyderm"}
EXISTING = {"target": "existing"}
NO_PIPELINES = {"bootstrap": False}


@dataclass
class World:
    site: Site
    cloud: Cloud
    layout: Layout

    def finish(self, dag_id: str, run_id: str) -> None:
        """Return when the run has ended well; fail with the logs of what failed."""
        for _ in self.site.airflow.watch(dag_id, run_id, timeout=RUN_SECONDS):
            pass

    def run(self, dag_id: str, conf: dict[str, Any]) -> str:
        run_id = self.site.start(dag_id, conf)
        self.finish(dag_id, run_id)
        return run_id

    def changes(self, dag_id: str, run_id: str) -> dict[str, str]:
        """What each step said."""
        tasks = self.site.airflow.task_instances(dag_id, run_id)
        done = [task["task_id"] for task in tasks if task["state"] == "success" and task["operator"] == "StepOperator"]
        return {task: self.site.airflow.xcom(dag_id, run_id, task) for task in done}

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        (task,) = [task for task in self.site.airflow.task_instances(dag_id, run_id) if task["task_id"] == task_id]
        return "\n".join(self.site.airflow.log(task))

    def secrets(self) -> list[str]:
        """All that nobody may see: keys of connections, and what was made for Helm."""
        return self.cloud.secrets


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, material: Material) -> Iterator[World]:
    cloud, environment, servers = start_cloud()
    layout = Layout(tmp_path_factory.mktemp("provisioning"))
    stack = new_stack(layout)
    try:
        settings = stack_environment(layout, model=material.model)
        start_stack(stack, extra={**settings, **environment, "TUSKWATCH_POLL_SECONDS": "0.3"})
        with stack.client() as airflow:
            airflow.wait_for_dag("bootstrap_pipelines", timeout=120)
            airflow.unpause("bootstrap_pipelines")
            yield World(Site(stack, airflow), cloud, layout)
    finally:
        stack.stop()
        for server in servers:
            server.stop()


@pytest.mark.parametrize("conf", [GKE, EXISTING], ids=["gke", "existing"])
def test_up_check_push_and_down_twice(world: World, material: Material, conf: dict[str, Any]) -> None:
    for _ in range(2):
        world.run("provision_stack", conf)
        cluster = world.cloud.kube if conf is GKE else world.cloud.existing
        assert "pachd" in cluster.names("deployments")
        again = world.run("provision_stack", conf | NO_PIPELINES)
        assert set(world.changes("provision_stack", again).values()) <= {"found", "absent"}
        world.run("push_images", {"source": str(material.images)})
        world.run("check_stack", {})
        down = world.run("teardown_stack", {"confirm": "tuskwatch", "confirm_bucket": conf.get("bucket")})
        changes = world.changes("teardown_stack", down)
        assert (changes["pipelines"], changes["release"]) == ("removed", "removed")
        assert world.cloud.leftovers() == []


def test_a_step_that_fails_for_good_is_undone(world: World) -> None:
    world.cloud.gke.create_ends = "quota"
    run = world.site.start("provision_stack", GKE | NO_PIPELINES)
    with pytest.raises(RunFailedError, match="Insufficient regional quota"):
        world.finish("provision_stack", run)
    world.cloud.gke.create_ends = "well"
    assert world.changes("provision_stack", run)["undo_cluster"] == "removed"
    assert world.cloud.leftovers() == []


@pytest.mark.parametrize("path", ["/namespaces/tuskwatch$", "/rolebindings/", "/configmaps/", "/jobs/", "/deployments$"])
def test_an_outage_of_the_cluster_at_any_step_is_sat_out(world: World, path: str) -> None:
    world.cloud.existing.faults += [Fault("PATCH", path, 503, times=2), Fault("GET", path, 0, times=2)]
    world.run("provision_stack", EXISTING | NO_PIPELINES)
    world.run("teardown_stack", {"confirm": "tuskwatch"})
    world.cloud.existing.faults.clear()
    assert world.cloud.leftovers() == []


def test_no_secret_is_in_logs_xcoms_or_the_database(world: World) -> None:
    run = world.run("provision_stack", EXISTING | NO_PIPELINES)
    made = world.cloud.existing.values("tuskwatch")
    secrets = [*world.secrets(), made["pachd"]["rootToken"], made["global"]["postgresql"]["postgresqlPassword"]]
    world.run("teardown_stack", {"confirm": "tuskwatch"})
    assert "port-forward" in world.log("provision_stack", run, "report")
    # Every file that Airflow wrote: task logs, component logs, and its database with XComs and rendered templates.
    files = [path for path in world.layout.root.rglob("*") if path.is_file() and "pachd" not in str(path)]
    assert len(files) > 20
    found = [(path.name, secret[:6]) for path in files for secret in secrets if re.search(re.escape(secret.encode()), path.read_bytes())]
    assert found == []
