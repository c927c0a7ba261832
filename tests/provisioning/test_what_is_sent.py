"""All that reaches a cluster is checked against Kubernetes' own types: that the check would find a mistake, and what it was given."""

import itertools
from typing import Any

import pytest

from dags.provisioning import manifests
from dags.provisioning.clients import Clients
from dags.provisioning.errors import StepFailedError
from dags.provisioning.stack import Stack
from tests.provisioning.conftest import CHART_BUCKET, Cloud, existing_stack, provision, stack, teardown
from tests.provisioning.test_helm import archive, from_bucket

POD: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}


def job(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "j", "namespace": "tuskwatch", "labels": {"app.kubernetes.io/managed-by": "tuskwatch"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": POD}, **spec}}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (job(backoffLimitt=0), "spec.backoffLimitt is not a field of V1JobSpec"),
        (job(backoffLimit="0"), "spec.backoffLimit is not int"),
        (job(template={"spec": {"containers": [{"image": "i"}]}}), r"containers\[0\].*`name`"),
        (job(template={"spec": {"containers": {"name": "c"}}}), "spec.template.spec.containers is not a list"),
        (job(template={"spec": {**POD, "securityContext": {"runAsNonRoot": "yes"}}}), "runAsNonRoot is not bool"),
    ],
)
def test_a_mistake_in_a_manifest_is_refused(cloud: Cloud, manifest: dict[str, Any], message: str) -> None:
    kube = Clients(existing_stack()).kube
    provision(existing_stack())
    with pytest.raises(StepFailedError, match=message):
        kube.ensure(manifest)


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"exposure": "load-balancer", "source_ranges": ["203.0.113.0/24"], "load_balancer_ip": "203.0.113.9"},
        {"console": False, "storage_class": "premium-rwo", "image_registry": "eu.gcr.io/acme", "image_tag": "2.11.6"},
    ],
)
def test_least_rights_and_nothing_cluster_wide_is_ever_sent(cloud: Cloud, changes: dict[str, Any], archived: bool) -> None:
    wanted: list[Stack] = [from_bucket(cloud, archive(), **changes) if archived else existing_stack(**changes)]
    if not archived:
        wanted.append(stack(storage_key_conn_id="google_cloud_default", **changes))
    for one in wanted:
        provision(one)
        teardown(one, confirm_bucket="acme-pachyderm")
    sent = cloud.existing.bodies + cloud.kube.bodies
    assert {body["kind"] for body in sent} <= {
        "Namespace",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Service",
        "ConfigMap",
        "Secret",
        "Job",
    }
    roles = [body for body in sent if body["kind"] == "Role"]
    assert {role["metadata"]["name"] for role in roles} == {manifests.INSTALLER}
    for rule in itertools.chain.from_iterable(role["rules"] for role in roles):
        granted = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not granted & {"*", "escalate", "bind", "impersonate", "nodes", "clusterroles", "clusterrolebindings"}
    for binding in (body for body in sent if body["kind"] == "RoleBinding"):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", manifests.INSTALLER)
        assert [subject["kind"] for subject in binding["subjects"]] == ["ServiceAccount"]
    assert [name for name in cloud.leftovers() if name != CHART_BUCKET] == []
