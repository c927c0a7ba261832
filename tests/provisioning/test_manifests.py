"""What is sent to Kubernetes: least rights, nothing open to the world, and scripts that do what they say."""

import hashlib
import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dags.provisioning import manifests
from tests.provisioning.conftest import existing_stack, stack
from tests.provisioning.fake_kubernetes import KINDS, check_model

MODELS = {kind: model for _, kind, model in KINDS.values()}
STACKS = [
    stack(),
    existing_stack(),
    existing_stack(exposure="load-balancer", source_ranges=["203.0.113.0/24"], load_balancer_ip="203.0.113.9"),
]


def everything(wanted: Any) -> list[dict[str, Any]]:
    return [
        *manifests.base(wanted),
        *(manifests.install_job(wanted, content_digest="0" * 64, archive=archive) for archive in (True, False)),
        manifests.uninstall_job(wanted, run=wanted.run),
        manifests.config_map(wanted, "files", text={"a": "b"}, data={"c": b"d"}),
        manifests.secret(wanted, "secret", {"a": "b"}),
    ]


@pytest.mark.parametrize("wanted", STACKS)
def test_every_manifest_is_an_object_of_its_kind_and_ours(wanted: Any) -> None:
    for manifest in everything(wanted):
        check_model(manifest, MODELS[manifest["kind"]])
        assert manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "tuskwatch"


@pytest.mark.parametrize("wanted", STACKS)
def test_no_rights_by_wildcard_and_none_outside_of_the_namespace(wanted: Any) -> None:
    found = everything(wanted)
    assert not [manifest for manifest in found if manifest["kind"].startswith("Cluster")]
    for role in (manifest for manifest in found if manifest["kind"] == "Role"):
        for rule in role["rules"]:
            assert "*" not in itertools.chain(rule["apiGroups"], rule["resources"], rule["verbs"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_pods_of_ours_run_without_privileges() -> None:
    for job in (manifest for manifest in everything(stack()) if manifest["kind"] == "Job"):
        pod = job["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_only_a_restricted_load_balancer_leads_in_and_only_when_asked_for() -> None:
    assert not [manifest for manifest in everything(stack()) if manifest["kind"] == "Service"]
    (service,) = [manifest for manifest in everything(STACKS[2]) if manifest["kind"] == "Service"]
    assert service["spec"]["loadBalancerSourceRanges"] == ["203.0.113.0/24"]
    assert service["spec"]["loadBalancerIP"] == "203.0.113.9"
    for wanted in STACKS:
        assert manifests.values(wanted)["proxy"]["service"]["type"] == "ClusterIP"


def test_the_same_installation_is_the_same_job_and_another_one_is_another() -> None:
    def name(wanted: Any, digest: str) -> str:
        return str(manifests.install_job(wanted, content_digest=digest, archive=False)["metadata"]["name"])

    assert name(stack(run="a"), "0") == name(stack(run="b"), "0")
    assert len({name(stack(), "0"), name(stack(), "1"), name(stack(chart_version="2.12.2"), "0")}) == 3


@pytest.fixture
def helm(tmp_path: Path) -> Path:
    """A ``helm`` that writes down what it is asked, and whose ``status`` answers with the file ``status``."""
    program = tmp_path / "bin" / "helm"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case "$1" in
  status) test -f {tmp_path}/status && cat {tmp_path}/status ;;
  pull) while [ "$1" != --destination ]; do shift; done; mkdir -p "$2"; printf chart > "$2/pachyderm-1.tgz" ;;
esac
"""
    )
    program.chmod(0o755)
    return tmp_path


def run_script(name: str, folder: Path, **env: str) -> tuple[int, list[str], str]:
    # The pod's folders are moved below the test's.
    script = (manifests.TEMPLATES / name).read_text().replace("/tmp/pulled", f"{folder}/pulled").replace("/chart/", f"{folder}/chart/")
    defaults = {
        "RELEASE": "pachyderm",
        "NAMESPACE": "tuskwatch",
        "TIMEOUT": "9s",
        "CHART": "oci://registry/pachyderm",
        "VERSION": "1",
        "SHA256": "",
    }
    path = f"{folder}/bin:/usr/bin:/bin"
    done = subprocess.run(["sh", "-c", script], env={"PATH": path, **defaults, **env}, capture_output=True, text=True)
    calls = folder / "calls"
    return done.returncode, calls.read_text().splitlines() if calls.exists() else [], done.stderr


def test_the_script_pulls_checks_and_installs(helm: Path) -> None:
    code, calls, _ = run_script("helm-install.sh", helm, SHA256=hashlib.sha256(b"chart").hexdigest())
    assert code == 0
    assert calls[0].startswith("pull oci://registry/pachyderm --version 1")
    assert calls[-1].startswith(
        f"upgrade pachyderm {helm}/pulled/pachyderm-1.tgz --install --namespace tuskwatch --values /values/values.yaml"
    )


def test_the_script_installs_nothing_when_the_digest_differs(helm: Path) -> None:
    code, calls, error = run_script("helm-install.sh", helm, SHA256="0" * 64, CHART="https://charts.example.com")
    assert code == 3
    assert "nothing was installed" in error
    assert [call.split()[0] for call in calls] == ["pull"]


def test_the_script_takes_the_mounted_archive(helm: Path) -> None:
    (helm / "chart").mkdir()
    (helm / "chart" / "pachyderm.tgz").write_bytes(b"chart")
    code, calls, _ = run_script("helm-install.sh", helm, SHA256=hashlib.sha256(b"chart").hexdigest(), CHART="gs://b/c.tgz")
    assert code == 0
    assert [call.split()[0] for call in calls] == ["status", "upgrade"]


@pytest.mark.parametrize(
    ("state", "repair"),
    [
        ("pending-install", "uninstall"),
        ("uninstalling", "uninstall"),
        ("pending-upgrade", "rollback"),
        ("deployed", None),
        ("failed", None),
    ],
)
def test_the_script_repairs_what_a_killed_helm_left(helm: Path, state: str, repair: str | None) -> None:
    (helm / "status").write_text(
        f'{{"name":"pachyderm","info":{{"first_deployed":"x","status":"{state}","notes":"status: ok"}},"version":1}}'
    )
    code, calls, _ = run_script("helm-install.sh", helm)
    assert code == 0
    assert [call.split()[0] for call in calls] == ["pull", "status", *([repair] if repair else []), "upgrade"]


def test_the_removing_script_bears_that_there_is_nothing(helm: Path) -> None:
    code, calls, _ = run_script("helm-uninstall.sh", helm)
    assert code == 0
    assert calls == ["uninstall pachyderm --namespace tuskwatch --ignore-not-found --wait --timeout 9s"]
