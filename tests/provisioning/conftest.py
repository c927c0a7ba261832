"""Google and Kubernetes at the wire, and the connections that lead the code to them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dags.provisioning.clients import Clients
from dags.provisioning.outcome import Change, Done, Outcome
from dags.provisioning.runner import call
from dags.provisioning.stack import Stack, run_label
from tests.provisioning.fake_google import ACCESS_TOKEN, PROJECT, CloudStorage, ClusterManager, TokenEndpoint
from tests.provisioning.fake_kubernetes import Kubernetes
from tests.provisioning.wire import Wire
from tests.support_data import SHARED

SENDGRID_KEY = "SG.a-key-that-nobody-may-see"
KUBECONFIG_TOKEN = "kubeconfig-token-that-nobody-may-see"
CHART_BUCKET = "acme-charts"
SCHEMA = SHARED / "reference" / "schemas" / "pachyderm-helm-values.schema.json"
RUN = "manual__2026-11-23T07:00:00+00:00"


def helm_schema() -> dict[str, Any] | None:
    return json.loads(SCHEMA.read_text()) if SCHEMA.exists() else None


@dataclass
class Cloud:
    """Everything outside of Airflow."""

    gke: ClusterManager
    storage: CloudStorage
    kube: Kubernetes  # the cluster that GKE makes
    existing: Kubernetes  # the cluster that exists
    wire: Wire
    secrets: list[str] = field(default_factory=list)

    def leftovers(self) -> list[str]:
        """What nobody should be billed for."""
        buckets = [name for name in self.storage.buckets if name != CHART_BUCKET]
        return [*buckets, *self.gke.clusters, *self.kube.leftovers(), *self.existing.leftovers()]


def start_cloud() -> tuple[Cloud, dict[str, str], list[Any]]:
    """The fakes, the environment that leads to them, and what has to be stopped."""
    token, wire = TokenEndpoint(), Wire()
    key = token.service_account_key()
    kube = Kubernetes(ACCESS_TOKEN, schema=helm_schema(), wire=wire)
    existing = Kubernetes(KUBECONFIG_TOKEN, schema=helm_schema(), wire=wire)
    gke = ClusterManager(kube.address, kube.ca, on_deleted=kube.reset, wire=wire)
    storage = CloudStorage(wire=wire)
    google = {"project": PROJECT, "keyfile_dict": json.dumps(key.json), "gke_endpoint": f"127.0.0.1:{gke.port}"}
    environment = {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{storage.port}",
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps({"conn_type": "google_cloud_platform", "extra": google}),
        "AIRFLOW_CONN_KUBERNETES_DEFAULT": json.dumps(
            {"conn_type": "kubernetes", "extra": {"kube_config": json.dumps(existing.kubeconfig())}}
        ),
        "AIRFLOW_CONN_SENDGRID_DEFAULT": json.dumps({"conn_type": "http", "password": SENDGRID_KEY}),
    }
    cloud = Cloud(gke, storage, kube, existing, wire, secrets=[SENDGRID_KEY, KUBECONFIG_TOKEN, ACCESS_TOKEN, key.secret])
    return cloud, environment, [wire, gke, storage, kube, existing, token]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    cloud, environment, servers = start_cloud()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps({"conn_type": "pachyderm", "host": "127.0.0.1", "port": 9}))
    monkeypatch.setattr("dags.provisioning.kube.FIRST_WAIT", 0.01)  # a constant, not a behaviour: the pause before a retry
    try:
        yield cloud
        assert not cloud.kube.bugs + cloud.existing.bugs, "\n".join(cloud.kube.bugs + cloud.existing.bugs)
    finally:
        for server in servers:
            server.stop()


def params(**changes: Any) -> dict[str, Any]:
    """Params of ``provision_stack`` as the form sends them."""
    from dags.provisioning.params import provision_params

    defaults = {name: param.value for name, param in provision_params().items()}
    return {**defaults, "project": PROJECT, "bucket": "acme-pachyderm", **changes}


def existing_params(**changes: Any) -> dict[str, Any]:
    return params(**{"target": "existing", "project": None, "bucket": None, **changes})


def stack(run: str = RUN, **changes: Any) -> Stack:
    return Stack.from_params(params(**changes), run_id=run)


def existing_stack(run: str = RUN, **changes: Any) -> Stack:
    return Stack.from_params(existing_params(**changes), run_id=run)


def once(
    step: str,
    wanted: Stack,
    *,
    run: str = RUN,
    progress: dict[str, str] | None = None,
    clients: Clients | None = None,
    **options: Any,
) -> Outcome:
    """One call of a step, as the operator and the trigger make it."""
    return call(step, wanted.to_dict(), run=run_label(run), progress=progress or {}, options=options, clients=clients)


def finish(step: str, wanted: Stack, *, run: str = RUN, limit: int = 40, **options: Any) -> Done:
    """Call a step until it is done, as the trigger does."""
    progress: dict[str, str] = {}
    clients = Clients(wanted)
    for _ in range(limit):
        outcome = once(step, wanted, run=run, progress=progress, clients=clients, **options)
        if isinstance(outcome, Done):
            return outcome
        progress = outcome.progress
    raise AssertionError(f"{step} is not done after {limit} calls: {outcome.message}")


PROVISION = ("bucket", "cluster", "base", "release", "pods")
TEARDOWN = ("no-release", "no-volumes", "no-namespace", "no-cluster", "no-bucket")


def provision(wanted: Stack, *, run: str = RUN) -> list[Change]:
    return [finish(step, wanted, run=run).change for step in PROVISION]


def teardown(wanted: Stack, *, confirm_bucket: str | None = None, run: str = RUN) -> list[Change]:
    return [finish(step, wanted, run=run, confirm_bucket=confirm_bucket).change for step in TEARDOWN]
