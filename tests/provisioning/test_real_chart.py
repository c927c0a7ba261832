"""What the real Helm makes of our values with the real chart, where both are at hand.

``HELM_CHART_PACHYDERM`` is the chart's folder or archive (``etc/helm/pachyderm`` of the Pachyderm repository), and ``helm`` is on the PATH.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dags.provisioning import helm, manifests
from dags.provisioning.clients import Clients
from tests.provisioning.conftest import Cloud, existing_stack, stack
from tests.provisioning.fake_kubernetes import KINDS

CHART = os.environ.get("HELM_CHART_PACHYDERM", "")
VARIANTS = {
    "gke": stack(),
    "workload-identity": stack(
        workload_identity="pach@acme-cameras.iam.gserviceaccount.com", console=False, image_registry="eu.gcr.io/acme"
    ),
    "existing": existing_stack(),
    "storage-class": existing_stack(storage_class="premium-rwo", storage_gb=100),
}
PLURALS = {kind: plural for plural, (_, kind, _) in KINDS.items()}

pytestmark = [
    pytest.mark.skipif(not CHART, reason="HELM_CHART_PACHYDERM does not name Pachyderm's chart"),
    pytest.mark.skipif(not shutil.which("helm"), reason="helm is not on the PATH"),
]


def render(wanted: Any, folder: Path, cloud: Cloud) -> list[dict[str, Any]]:
    plain, secret = folder / "values.yaml", folder / "secrets.yaml"
    plain.write_text(yaml.safe_dump(manifests.values(wanted)))
    secret.write_text(helm._secret_values(Clients(existing_stack()).kube, wanted, None) if not secret.exists() else secret.read_text())
    command = [
        "helm",
        "template",
        manifests.RELEASE,
        CHART,
        "--namespace",
        wanted.namespace,
        "--values",
        str(plain),
        "--values",
        str(secret),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_chart_renders_within_the_installers_rights(cloud: Cloud, tmp_path: Path, name: str) -> None:
    wanted = VARIANTS[name]
    rendered = render(wanted, tmp_path, cloud)
    (role,) = [manifest for manifest in manifests.base(wanted) if manifest["kind"] == "Role"]
    objects = [document for document in rendered if "helm.sh/hook" not in (document["metadata"].get("annotations") or {})]
    missing = [
        f"{verb} {PLURALS[document['kind']]}"
        for document in objects
        for verb in ("get", "create", "update", "patch", "delete")
        if not _allowed(role, document["apiVersion"].rpartition("/")[0], PLURALS[document["kind"]], verb)
    ]
    assert missing == []
    # Kubernetes lets nobody grant what they do not hold.
    granted = [
        f"{verb} {group}/{resource}"
        for document in objects
        if document["kind"] == "Role"
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if not _allowed(role, group, resource, verb)
    ]
    assert granted == []
    names = {document["metadata"]["name"] for document in objects if document["kind"] == "Deployment"}
    assert "pachd" in names
    assert ("console" in names) is wanted.release.console


@pytest.mark.parametrize("name", VARIANTS)
def test_two_renderings_are_the_same(cloud: Cloud, tmp_path: Path, name: str) -> None:
    """No token is made anew: the chart makes one for each that is not given."""
    assert render(VARIANTS[name], tmp_path, cloud) == render(VARIANTS[name], tmp_path, cloud)


def test_no_service_of_the_chart_is_open_and_pods_reach_the_named_port(cloud: Cloud, tmp_path: Path) -> None:
    rendered = render(stack(), tmp_path, cloud)
    services = [document for document in rendered if document["kind"] == "Service"]
    assert {service["spec"].get("type", "ClusterIP") for service in services} == {"ClusterIP"}
    # Our load balancer selects the proxy's pods by these labels and this port.
    (proxy,) = [document for document in rendered if document["kind"] == "Deployment" and document["metadata"]["name"] == "pachyderm-proxy"]
    pod = proxy["spec"]["template"]
    assert {"app": "pachyderm-proxy", "suite": "pachyderm"}.items() <= pod["metadata"]["labels"].items()
    assert "http-port" in [port.get("name") for container in pod["spec"]["containers"] for port in container["ports"]]


def _allowed(role: dict[str, Any], group: str, resource: str, verb: str) -> bool:
    return any(group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"] for rule in role["rules"])
