"""provision_stack → check_stack → teardown_stack in real Airflow, against Google and Kubernetes at the wire and a real minipachd."""

import base64
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest
import yaml

from laptop.demo import stack_environment
from laptop.errors import RunFailedError
from laptop.keys import pachd_token
from laptop.layout import Layout
from laptop.stack import new_stack, start_stack
from tests.e2e.harness import Site
from tests.provisioning.conftest import PROJECT, Cloud, start_cloud
from tests.provisioning.fake_kubernetes import Kubernetes
from tests.provisioning.wire import CUT, HELD, Kill, Relay
from tests.support_data import Material

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3600, method="signal")]

RUN_SECONDS = 900.0  # a run has up to 13 tasks, one after the other, and each starts a process

BUCKET = "acme-pachyderm"
GKE = {"target": "gke", "project": PROJECT, "bucket": BUCKET}
EXISTING = {"target": "existing"}
TARGETS = pytest.mark.parametrize("conf", [GKE, EXISTING], ids=["gke", "existing"])
NO_PIPELINES = {"bootstrap": False}
DOWN = {"confirm": "tuskwatch", "confirm_bucket": BUCKET}


@dataclass
class World:
    site: Site
    cloud: Cloud
    layout: Layout
    runs: list[tuple[str, str]] = field(default_factory=list)  # all of them, by DAG id and run id

    @property
    def http(self) -> httpx.Client:
        """Airflow's API, as its admin."""
        return self.site.airflow._http

    def start(self, dag_id: str, conf: dict[str, Any]) -> str:
        run_id = self.site.start(dag_id, conf)
        self.runs.append((dag_id, run_id))
        self.cloud.wire.who = lambda pid: self.who(dag_id, run_id, pid)
        return run_id

    def finish(self, dag_id: str, run_id: str) -> None:
        """Return when the run has ended well; fail with the logs of what failed. The supervisor starts a killed triggerer again."""
        deadline = time.monotonic() + RUN_SECONDS
        while self.site.airflow.run_state(dag_id, run_id) not in ("success", "failed"):
            assert time.monotonic() < deadline, self.states(dag_id, run_id)
            time.sleep(0.5)
        for _ in self.site.airflow.watch(dag_id, run_id, timeout=RUN_SECONDS):
            pass

    def run(self, dag_id: str, conf: dict[str, Any]) -> str:
        run_id = self.start(dag_id, conf)
        self.finish(dag_id, run_id)
        return run_id

    def fail(self, dag_id: str, conf: dict[str, Any], *, match: str) -> str:
        run_id = self.start(dag_id, conf)
        with pytest.raises(RunFailedError, match=match):
            self.finish(dag_id, run_id)
        return run_id

    def who(self, dag_id: str, run_id: str, pid: int) -> str | None:
        """The running task, or the triggerer, that a process is."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = {pid, *(parent.pid for parent in psutil.Process(pid).parents())}
            if (triggerer := self.site.stack.processes.get("triggerer")) is not None and triggerer.pid in family:
                return "triggerer"
        tasks = self.site.airflow.task_instances(dag_id, run_id)
        return next((str(task["task_id"]) for task in tasks if task["pid"] == pid and task["state"] == "running"), None)

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        return {task["task_id"]: task["state"] for task in self.site.airflow.task_instances(dag_id, run_id)}

    def changes(self, dag_id: str, run_id: str) -> dict[str, str]:
        """What each step said."""
        tasks = self.site.airflow.task_instances(dag_id, run_id)
        done = [task["task_id"] for task in tasks if task["state"] == "success" and task["operator"] == "StepOperator"]
        return {task: self.site.airflow.xcom(dag_id, run_id, task) for task in done}

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        (task,) = [task for task in self.site.airflow.task_instances(dag_id, run_id) if task["task_id"] == task_id]
        return "\n".join(self.site.airflow.log(task))

    def cluster(self, conf: dict[str, Any]) -> Kubernetes:
        return self.cloud.kube if conf["target"] == "gke" else self.cloud.existing


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, material: Material) -> Iterator[World]:
    cloud, environment, servers = start_cloud()
    relay = Relay(cloud.wire)
    layout = Layout(tmp_path_factory.mktemp("provisioning"))
    stack = new_stack(layout)
    try:
        settings = stack_environment(layout, model=material.model, sources=[material.images])
        pachyderm = {
            "AIRFLOW_CONN_PACHYDERM_DEFAULT": json.dumps(
                {"conn_type": "pachyderm", "host": "127.0.0.1", "port": relay.port, "password": pachd_token(layout)}
            )
        }
        # Airflow's scheduler takes a try for failed when a trigger fires before it has noticed that the task's process ended by deferring.
        # A slow machine is slower than these pauses sometimes, hence more tries than the two kills of each step take.
        pace = {"TUSKWATCH_POLL_SECONDS": "1", "TUSKWATCH_RETRY_SECONDS": "0.5", "TUSKWATCH_RETRIES": "4"}
        start_stack(stack, extra={**settings, **environment, **pachyderm, **pace})
        relay.target = stack.pachd_address
        with stack.client() as airflow:
            airflow.wait_for_dag("bootstrap_pipelines", timeout=120)
            airflow.unpause("bootstrap_pipelines")
            yield World(Site(stack, airflow), cloud, layout)
    finally:
        stack.stop()
        for server in (relay, *servers):
            server.stop()


@pytest.fixture(autouse=True)
def clean(world: World) -> Iterator[None]:
    """After each test the fakes hold nothing, every fault was met, and nothing is left to interfere with the next test."""
    yield
    cloud = world.cloud
    unused, leftovers, bugs = cloud.wire.unused, cloud.leftovers(), cloud.kube.bugs + cloud.existing.bugs
    cloud.wire.kills.clear()
    cloud.wire.answers.clear()
    cloud.gke.create_ends, cloud.gke.looks_until_ready = "well", 2
    cloud.kube.stuck_pods = cloud.existing.stuck_pods = None
    cloud.kube.reset()
    cloud.existing.reset()
    cloud.gke.clusters.clear()
    cloud.storage.foreign.clear()
    for bucket in [bucket for bucket in cloud.storage.buckets if bucket == BUCKET]:
        del cloud.storage.buckets[bucket]
    world.http.delete("/api/v2/variables/tuskwatch_stack")  # 404: nothing is recorded
    assert (unused, leftovers, bugs) == ([], [], [])


def inventory(world: World, conf: dict[str, Any]) -> list[str]:
    """All that a stack consists of, as the fakes have it. Jobs are named after secrets, which are made at random."""
    return [re.sub("helm-install-[0-9a-f]{12}", "helm-install", name) for name in world.cloud.leftovers() if " tuskwatch/pod" not in name]


def expected_inventory(conf: dict[str, Any]) -> list[str]:
    base = "tuskwatch-helm-values tuskwatch-helm-secrets"
    objects = {
        "configmaps": base.split()[:1],
        "deployments": ["console", "pachd", "pachyderm-proxy", "pg-bouncer"],
        "jobs": ["helm-install"],
        "namespaces": [],
        "persistentvolumeclaims": ["data-postgres-0", "etcd-storage-etcd-0"],
        "pods": ["helm-install-x7k2p"],
        "rolebindings": ["pachyderm", "tuskwatch-installer"],
        "roles": ["pachyderm", "tuskwatch-installer"],
        "secrets": ["pachyderm-storage-secret", *base.split()[1:]],
        "serviceaccounts": ["pachyderm", "tuskwatch-installer"],
        "services": ["pachyderm-proxy", *(["tuskwatch-entrance"] if conf.get("exposure") == "load-balancer" else [])],
        "statefulsets": ["etcd", "postgres"],
    }
    cluster = [f"{plural} tuskwatch/{name}" for plural, names in objects.items() for name in names]
    cluster += ["namespaces /tuskwatch", "persistentvolumes /pv-data-postgres-0", "persistentvolumes /pv-etcd-storage-etcd-0"]
    google = [BUCKET, f"projects/{PROJECT}/locations/us-east1-b/clusters/tuskwatch"] if conf["target"] == "gke" else []
    return [*google, *sorted(cluster)]


def made(conf: dict[str, Any]) -> dict[str, str]:
    """What each step of a first run says."""
    of_google = "created" if conf["target"] == "gke" else "absent"
    steps = {"bucket": of_google, "cluster": of_google, "namespace": "created", "pachyderm": "created", "pods": "found", "pachd": "found"}
    return steps | ({"workers": "found"} if conf.get("bootstrap", True) else {})


@TARGETS
def test_up_again_check_push_and_down_twice(world: World, material: Material, conf: dict[str, Any]) -> None:
    for _ in range(2):
        up = world.run("provision_stack", conf)
        assert world.changes("provision_stack", up) == made(conf)
        assert inventory(world, conf) == expected_inventory(conf)
        assert ("GKE's fee" if conf is GKE else "0.00 $ per month") in world.log("provision_stack", up, "plan")
        assert "port-forward" in world.log("provision_stack", up, "report")
        again = world.run("provision_stack", conf | NO_PIPELINES)
        assert set(world.changes("provision_stack", again).values()) <= {"found", "absent"}
        assert inventory(world, conf) == expected_inventory(conf)
        check = world.run("check_stack", {})
        assert "pipeline threat-detect is running" in world.log("check_stack", check, "check")
        world.run("push_images", {"source": str(material.images)})
        down = world.run("teardown_stack", DOWN)
        changes = world.changes("teardown_stack", down)
        if conf is GKE and changes["cluster"] == "absent":  # where Airflow took the try for failed that had deleted it: see the fixture
            changes["cluster"] = "removed"
        assert changes == dict.fromkeys(("pipelines", "release", "volumes", "namespace"), "removed") | {
            "cluster": "removed" if conf is GKE else "kept",
            "bucket": "removed" if conf is GKE else "absent",
        }
        assert ("ran for" in world.log("teardown_stack", down, "plan")) is (conf is GKE)
        assert world.cloud.leftovers() == []


# SIGKILL of the process that is at work, in the middle of each step, twice where a step has several requests: one that is not carried out,
# one whose answer is lost. A task has three tries.
ON_KUBERNETES_UP = [
    Kill("namespace", r"PATCH .*/namespaces/tuskwatch$", served=True),
    Kill("namespace", r"PATCH .*/rolebindings/"),
    Kill("pachyderm", r"PATCH .*/secrets/", served=True),
    Kill("pachyderm", r"PATCH .*/jobs/", served=True),
    Kill("pods", r"GET .*/deployments$"),
    Kill("pachd", "CONNECT pachd"),
]
ON_KUBERNETES_DOWN = [
    Kill("pipelines", "CONNECT pachd"),
    Kill("release", r"GET .*/serviceaccounts/"),
    Kill("release", r"PATCH .*/jobs/", served=True),
    Kill("volumes", r"DELETE .*/persistentvolumeclaims/", served=True),
    Kill("volumes", r"GET .*/persistentvolumes$"),
    Kill("namespace", r"DELETE .*/namespaces/tuskwatch$"),
    Kill("namespace", r"DELETE .*/namespaces/tuskwatch$", served=True),
]
KILLS_UP = {
    "gke": [
        Kill("bucket", r"POST /storage/v1/b$"),
        Kill("bucket", r"POST /storage/v1/b$", served=True),
        Kill("cluster", "CreateCluster"),
        Kill("cluster", "CreateCluster", served=True),
        Kill("triggerer", "GetCluster"),
        *ON_KUBERNETES_UP,
        Kill("report", "GetCluster"),
    ],
    "existing": [*ON_KUBERNETES_UP, Kill("triggerer", r"GET .*/jobs/"), Kill("report", r"GET .*/services/")],
}
KILLS_DOWN = {
    "gke": [
        Kill("plan", "GetCluster"),
        *ON_KUBERNETES_DOWN,
        Kill("cluster", "DeleteCluster"),
        Kill("cluster", "DeleteCluster", served=True),
        Kill("bucket", rf"DELETE /storage/v1/b/{BUCKET}$"),
        Kill("bucket", rf"DELETE /storage/v1/b/{BUCKET}$", served=True),
    ],
    "existing": ON_KUBERNETES_DOWN,
}
OPEN = {"exposure": "load-balancer", "source_ranges": ["203.0.113.0/24"]}


@pytest.mark.parametrize("conf", [GKE | NO_PIPELINES, EXISTING | NO_PIPELINES | OPEN], ids=["gke", "existing"])
def test_every_step_killed_in_its_middle_is_repeated_and_makes_the_same(world: World, conf: dict[str, Any]) -> None:
    cloud, target = world.cloud, str(conf["target"])
    cloud.gke.looks_until_ready = 8
    cloud.kube.steps = cloud.existing.steps = 8  # so that there is something to wait for after the last kill
    creates = cloud.gke.calls.count("CreateCluster")
    cloud.wire.kills += KILLS_UP[target]
    up = world.run("provision_stack", conf)
    assert cloud.wire.unused == []
    assert world.changes("provision_stack", up) == made(conf)
    assert inventory(world, conf) == expected_inventory(conf)
    assert cloud.gke.calls.count("CreateCluster") == creates + (1 if target == "gke" else 0)

    cloud.wire.kills += KILLS_DOWN[target]
    world.run("teardown_stack", DOWN)
    cloud.kube.steps = cloud.existing.steps = 2


def test_undoing_that_is_killed_in_its_middle_is_repeated(world: World) -> None:
    world.cloud.wire.answers[r"PATCH .*/rolebindings/"] = [403]
    world.cloud.wire.kills += [
        Kill("undo_namespace", r"DELETE .*/namespaces/tuskwatch$", served=True),
        Kill("undo_cluster", "DeleteCluster"),
        Kill("undo_cluster", "DeleteCluster", served=True),
        Kill("undo_bucket", rf"DELETE /storage/v1/b/{BUCKET}$", served=True),
    ]
    world.fail("provision_stack", GKE | NO_PIPELINES, match="Cannot apply RoleBinding tuskwatch-installer")


# More than one call sits out, so that tries fail; fewer than use them all up.
BAD_ANSWERS = [429, 500, 503, CUT, 502]
OUTAGES_ON_KUBERNETES = {
    r"GET .*/namespaces/tuskwatch$": BAD_ANSWERS[:2],
    r"PATCH .*/namespaces/tuskwatch$": BAD_ANSWERS,
    r"PATCH .*/(roles|rolebindings|serviceaccounts)/": BAD_ANSWERS[:3],
    r"PATCH .*/(configmaps|secrets)/": BAD_ANSWERS[1:],
    r"PATCH .*/jobs/": BAD_ANSWERS,
    r"GET .*/jobs/": BAD_ANSWERS[:3],
    r"GET .*/(deployments|statefulsets)$": BAD_ANSWERS,
    "CONNECT pachd": [CUT, CUT],
}
OUTAGES_DOWN_ON_KUBERNETES = {
    "CONNECT pachd": [CUT],
    r"GET .*/serviceaccounts/": BAD_ANSWERS,
    r"PATCH .*/jobs/": BAD_ANSWERS[:3],
    r"DELETE .*/persistentvolumeclaims/": BAD_ANSWERS,
    r"GET .*/persistentvolumes$": BAD_ANSWERS[:3],
    r"DELETE .*/namespaces/tuskwatch$": BAD_ANSWERS,
}
# Aborted (409 here) is not worth another attempt within the call, so that the try fails.
OUTAGES_UP = {
    "gke": {
        r"GET /storage/v1/b/acme": [429, HELD, 503],
        r"POST /storage/v1/b$": [429, 502],
        "GetCluster": [409, HELD, 429, 500],
        "CreateCluster": [429, 503],
        "GetOperation": [429, 409],
        **OUTAGES_ON_KUBERNETES,
        r"GET .*/namespaces/tuskwatch$": [HELD, 429],
    },
    "existing": OUTAGES_ON_KUBERNETES,
}
OUTAGES_DOWN = {
    "gke": {
        "GetCluster": [409, 429],
        "DeleteCluster": [409, 500],
        r"GET /storage/v1/b$": [CUT, 500],  # whose bucket it is: asked only of one that is there
        r"DELETE /storage/v1/b/acme": [429, CUT],
        **OUTAGES_DOWN_ON_KUBERNETES,
    },
    "existing": OUTAGES_DOWN_ON_KUBERNETES,
}


@TARGETS
def test_outages_overload_and_silence_at_every_step_are_sat_out(world: World, conf: dict[str, Any]) -> None:
    answers, target = world.cloud.wire.answers, str(conf["target"])
    answers |= {pattern: list(left) for pattern, left in OUTAGES_UP[target].items()}
    up = world.run("provision_stack", conf | NO_PIPELINES)
    assert world.cloud.wire.unused == []
    assert world.changes("provision_stack", up) == made(conf | NO_PIPELINES)
    assert inventory(world, conf) == expected_inventory(conf)
    answers |= {pattern: list(left) for pattern, left in OUTAGES_DOWN[target].items()}
    world.run("teardown_stack", DOWN)


@pytest.mark.parametrize(
    ("conf", "request_", "match"),
    [
        (GKE, r"POST /storage/v1/b$", "roles/storage.admin"),
        (GKE, "CreateCluster", "roles/container.admin"),
        (GKE, r"PATCH .*/jobs/", "Cannot apply Job helm-install"),
        (EXISTING, r"PATCH .*/namespaces/", "Cannot apply Namespace tuskwatch"),
        (EXISTING, r"PATCH .*/secrets/", "Cannot apply Secret tuskwatch-helm-secrets"),
        (EXISTING, r"GET .*/deployments$", "Cannot list Deployment"),
    ],
)
def test_a_missing_permission_is_named_and_what_was_made_is_undone(world: World, conf: dict[str, Any], request_: str, match: str) -> None:
    world.cloud.wire.answers[request_] = [403]
    run = world.fail("provision_stack", conf | NO_PIPELINES, match=match)
    assert world.states("provision_stack", run)["forget"] == "success"
    world.fail("teardown_stack", DOWN, match="No stack is recorded")


@pytest.mark.parametrize("ends", ["quota", "half-way"])
def test_a_cluster_that_google_cannot_make_is_undone(world: World, ends: str) -> None:
    world.cloud.gke.create_ends = ends
    run = world.fail("provision_stack", GKE | NO_PIPELINES, match="Insufficient regional quota|2 nodes out of 2 are unhealthy")
    changes = world.changes("provision_stack", run)
    assert (changes["undo_cluster"], changes["undo_bucket"]) == ("removed", "removed")


def test_a_chart_that_cannot_be_installed_is_undone(world: World) -> None:
    world.cloud.existing.helm_fails = 1
    run = world.fail("provision_stack", EXISTING | NO_PIPELINES, match="INSTALLATION FAILED: timed out waiting")
    assert world.changes("provision_stack", run)["undo_namespace"] == "removed"


def test_a_create_that_a_user_stops_leaves_no_cluster(world: World) -> None:
    world.cloud.gke.looks_until_ready = 1000
    run = world.start("provision_stack", GKE | NO_PIPELINES)
    until(lambda: world.states("provision_stack", run).get("cluster") == "deferred")
    task = f"/api/v2/dags/provision_stack/dagRuns/{run}/taskInstances/cluster"
    assert world.http.patch(task, json={"new_state": "failed"}).is_success
    world.cloud.gke.looks_until_ready = 10
    with pytest.raises(RunFailedError):
        world.finish("provision_stack", run)
    assert world.changes("provision_stack", run)["undo_cluster"] in ("removed", "absent")


def test_a_stack_whose_pipelines_cannot_be_made_is_kept(world: World) -> None:
    """There is nothing to undo: the way out is to unpause the DAG and to trigger this one again."""
    assert world.http.patch("/api/v2/dags/bootstrap_pipelines", json={"is_paused": True}).is_success
    run = world.fail("provision_stack", EXISTING, match="Dag bootstrap_pipelines is paused")
    assert world.states("provision_stack", run)["undo_namespace"] == "skipped"
    assert inventory(world, EXISTING) == expected_inventory(EXISTING)
    world.site.airflow.unpause("bootstrap_pipelines")
    again = world.run("provision_stack", EXISTING)
    assert set(world.changes("provision_stack", again).values()) <= {"found", "absent"}
    world.run("teardown_stack", DOWN)


def test_a_teardown_without_permission_says_so_and_can_be_repeated(world: World) -> None:
    world.run("provision_stack", EXISTING | NO_PIPELINES)
    world.cloud.wire.answers[r"DELETE .*/persistentvolumeclaims/"] = [403]
    world.fail("teardown_stack", DOWN, match="Cannot delete PersistentVolumeClaim")
    world.run("teardown_stack", DOWN)


def test_the_bucket_goes_only_when_its_name_is_repeated(world: World) -> None:
    world.run("provision_stack", GKE | NO_PIPELINES)
    world.cloud.storage.put(BUCKET, "chunks/1", b"data")
    for name in (None, "acme-pachydrem"):
        down = world.run("teardown_stack", {"confirm": "tuskwatch", "confirm_bucket": name})
        assert "Kept the bucket acme-pachyderm" in world.log("teardown_stack", down, "report")
        assert world.cloud.leftovers() == [BUCKET]
    world.fail("teardown_stack", DOWN | {"confirm": "another"}, match="repeat its name in the Param confirm")
    world.run("teardown_stack", DOWN)


def test_check_stack_fails_loudly_and_names_what_is_wrong(world: World) -> None:
    world.run("provision_stack", EXISTING | NO_PIPELINES)
    world.cloud.existing.stuck_pods = "pachd"
    world.cloud.existing.objects["deployments", "tuskwatch", "pachd"]["status"]["readyReplicas"] = 0
    world.fail("check_stack", {}, match=r"1 problem\(s\) with the stack: pachd 0/1 ready")
    world.cloud.existing.stuck_pods = None
    world.run("teardown_stack", DOWN)
    assert world.http.get("/api/v2/dags/check_stack").json()["timetable_summary"] in ("0 * * * *", "@hourly")


def test_no_secret_is_in_logs_database_or_anything_that_the_ui_shows(world: World) -> None:
    """Of all runs before this one, the failed and the killed too."""
    for conf in (GKE | {"storage_key_conn_id": "google_cloud_default"}, EXISTING):
        world.run("provision_stack", conf | NO_PIPELINES)
        world.run("teardown_stack", DOWN)
    secrets = {*world.cloud.secrets, *made_secrets(world.cloud.kube), *made_secrets(world.cloud.existing)}
    assert len(secrets) > 10
    needles = [needle for secret in secrets for needle in (secret.encode(), *in_base64(secret))]
    pattern = re.compile(b"|".join(re.escape(needle) for needle in needles))

    def found(text: bytes) -> str:
        match = pattern.search(text)
        return f"{match[0][:6]!r} in {text[max(0, match.start() - 80) : match.start()]!r}" if match else ""

    # Every file that Airflow wrote: task logs, components' logs, and its database with XComs and rendered templates.
    files = [path for path in world.layout.root.rglob("*") if path.is_file() and not path.is_relative_to(world.layout.pachd_data)]
    assert len(files) > 20
    in_files = {path.name: found(path.read_bytes()) for path in files}
    assert {name: where for name, where in in_files.items() if where} == {}
    answers = dict(shown(world))
    assert len(answers) > 100
    assert {path: found(text) for path, text in answers.items() if found(text)} == {}
    assert found(b"x" + base64.b64encode(b"ab" + world.cloud.secrets[0].encode() + b"yz")), "the search itself would find one"


def made_secrets(cluster: Kubernetes) -> set[str]:
    """What was made up for Helm, in all runs."""
    found = set()
    for body in cluster.bodies:
        if body["kind"] == "Secret" and "values.yaml" in body["data"]:
            values = yaml.safe_load(base64.b64decode(body["data"]["values.yaml"]))
            leaves = [*values["pachd"].values(), *values["global"]["postgresql"].values(), *values["console"]["config"].values()]
            found |= {leaf for leaf in leaves if isinstance(leaf, str)}
    return found


def in_base64(secret: str) -> list[bytes]:
    """How a secret looks within something longer that is encoded: there are three ways, each without its ends."""
    return [base64.b64encode(b" " * shift + secret.encode())[4:-4] for shift in range(3)]


def shown(world: World) -> Iterator[tuple[str, bytes]]:
    """What Airflow's UI gets from its API."""
    paths = ["variables", "connections", "eventLogs?limit=1000", "importErrors", "assets/events?limit=1000", "jobs?limit=1000"]
    for dag_id, run_id in world.runs:
        run = f"dags/{dag_id}/dagRuns/{run_id}"
        paths += [f"dags/{dag_id}/details", run, f"{run}/taskInstances?limit=1000"]
        for task in world.site.airflow.task_instances(dag_id, run_id):
            instance = f"{run}/taskInstances/{task['task_id']}"
            paths += [instance, f"{instance}/tries", f"{instance}/xcomEntries?limit=100", f"{instance}/links"]
            paths += [f"{instance}/xcomEntries/return_value"] if task["state"] == "success" else []
            paths += [f"{instance}/logs/{number}?full_content=true" for number in range(1, task["try_number"] + 1)]
    for path in paths:
        answer = world.http.get(f"/api/v2/{path}")
        assert answer.status_code in (200, 404), (path, answer.text)
        yield path, answer.content


def until(true: Callable[[], object], *, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)
