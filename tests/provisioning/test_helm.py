"""The Helm release: installed once, upgraded only on demand, its secrets made once, its chart checked."""

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from dags.provisioning import manifests
from dags.provisioning.errors import DifferentError, StackInvalidError, StepFailedError
from dags.provisioning.outcome import Change, Pending
from dags.provisioning.tasks import _check_chart
from tests.provisioning.conftest import CHART_BUCKET, SCHEMA, Cloud, existing_stack, finish, helm_schema, once, provision, stack


def archive(schema: dict[str, Any] | None = None) -> bytes:
    """A chart's archive as ``helm package`` makes it, as far as it is looked into."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in (("pachyderm/Chart.yaml", "name: pachyderm"), ("pachyderm/values.schema.json", json.dumps(schema or {}))):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def from_bucket(cloud: Cloud, content: bytes, **changes: Any) -> Any:
    cloud.storage.put(CHART_BUCKET, "pachyderm-2.11.6.tgz", content)
    digest = hashlib.sha256(content).hexdigest()
    return existing_stack(**{"chart": f"gs://{CHART_BUCKET}/pachyderm-2.11.6.tgz", "chart_sha256": digest, **changes})


def jobs(cloud: Cloud) -> list[str]:
    return cloud.existing.names("jobs")


def test_a_killed_install_is_resumed_in_the_same_job(cloud: Cloud) -> None:
    finish("base", existing_stack())
    cloud.existing.steps = 1000
    once("release", existing_stack())
    (job,) = jobs(cloud)
    cloud.existing.steps = 12
    assert isinstance(once("release", existing_stack()), Pending)
    assert jobs(cloud) == [job]
    assert finish("release", existing_stack()).change is Change.CREATED
    assert finish("release", existing_stack()).change is Change.CREATED, "a retry of this run, after its first try was killed"
    assert finish("release", existing_stack(run="another"), run="another").change is Change.FOUND


def test_a_failed_install_says_why_and_can_be_repeated(cloud: Cloud) -> None:
    finish("base", existing_stack())
    cloud.existing.helm_fails = 1
    with pytest.raises(StepFailedError, match="INSTALLATION FAILED: timed out waiting"):
        finish("release", existing_stack())
    assert finish("release", existing_stack()).change is Change.CREATED


def test_other_values_are_refused_by_name_and_taken_when_an_upgrade_is_asked_for(cloud: Cloud) -> None:
    provision(existing_stack())
    with pytest.raises(DifferentError, match=r'etcd.storageSize is "20Gi", asked for "50Gi".*postgresql'):
        finish("release", existing_stack(storage_gb=50))
    assert cloud.existing.values("tuskwatch")["etcd"]["storageSize"] == "20Gi"
    assert finish("release", existing_stack(storage_gb=50, upgrade=True)).change is Change.CREATED
    assert cloud.existing.values("tuskwatch")["etcd"]["storageSize"] == "50Gi"


def test_another_chart_version_is_an_upgrade_too(cloud: Cloud) -> None:
    provision(existing_stack())
    with pytest.raises(DifferentError, match=r'chart.version is "2.11.6", asked for "2.12.2"'):
        finish("release", existing_stack(chart_version="2.12.2"))


def test_an_upgrade_keeps_tokens_and_passwords(cloud: Cloud) -> None:
    provision(existing_stack())
    before = cloud.existing.values("tuskwatch")
    finish("release", existing_stack(storage_gb=50, upgrade=True))
    after = cloud.existing.values("tuskwatch")
    for secret in ("rootToken", "oauthClientSecret", "clusterDeploymentID", "enterpriseSecret"):
        assert after["pachd"][secret] == before["pachd"][secret]
        assert len(after["pachd"][secret]) == 32
    assert after["global"]["postgresql"] == before["global"]["postgresql"]


def test_a_release_that_someone_removed_is_installed_again(cloud: Cloud) -> None:
    provision(existing_stack())
    for key in [key for key, value in cloud.existing.objects.items() if value["metadata"].get("labels", {}).get("suite") == "pachyderm"]:
        del cloud.existing.objects[key]
    assert finish("release", existing_stack()).change is Change.CREATED


def test_a_chart_from_a_bucket_is_mounted_into_the_job(cloud: Cloud) -> None:
    content = archive()
    provision(from_bucket(cloud, content))
    mounted = cloud.existing.objects["configmaps", "tuskwatch", manifests.CHART]["binaryData"]["pachyderm.tgz"]
    assert base64.b64decode(mounted) == content


@pytest.mark.parametrize("prefix", ["file://", ""])
def test_a_chart_from_a_disk_is_mounted_into_the_job(cloud: Cloud, tmp_path: Path, prefix: str) -> None:
    content = archive()
    (tmp_path / "pachyderm-2.11.6.tgz").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    provision(existing_stack(chart=f"{prefix}{tmp_path}/pachyderm-2.11.6.tgz", chart_sha256=digest))
    mounted = cloud.existing.objects["configmaps", "tuskwatch", manifests.CHART]["binaryData"]["pachyderm.tgz"]
    assert base64.b64decode(mounted) == content


@pytest.mark.parametrize(
    ("chart", "message"),
    [
        ("file:///nowhere/pachyderm.tgz", "There is no chart at file:///nowhere/pachyderm.tgz"),
        ("warp://charts/pachyderm.tgz", "warp://charts/pachyderm.tgz cannot be read: .*correct the URL"),
        ("file:///dev/zero", "more than 750000 bytes"),
    ],
)
def test_a_chart_that_cannot_be_read_ends_the_plan_before_anything_is_made_that_costs(cloud: Cloud, chart: str, message: str) -> None:
    with pytest.raises(StackInvalidError, match=message):
        _check_chart(stack(chart=chart, chart_sha256="0" * 64))
    assert cloud.leftovers() == []


def test_a_chart_with_another_digest_is_refused_before_anything_is_sent(cloud: Cloud) -> None:
    wanted = from_bucket(cloud, archive(), chart_sha256="0" * 64)
    finish("base", wanted)
    with pytest.raises(StackInvalidError, match=f"not {'0' * 64}"):
        finish("release", wanted)
    assert jobs(cloud) == []


def test_values_that_the_charts_schema_refuses_are_refused_here(cloud: Cloud) -> None:
    schema = {"properties": {"etcd": {"properties": {"dynamicNodes": {"type": "string"}}}}}
    wanted = from_bucket(cloud, archive(schema))
    finish("base", wanted)
    with pytest.raises(StackInvalidError, match=r"\$.etcd.dynamicNodes: 1 is not of type 'string'"):
        finish("release", wanted)


@pytest.mark.parametrize("content", [b"not a gzip file", b""])
def test_a_broken_archive_is_refused(cloud: Cloud, content: bytes) -> None:
    wanted = from_bucket(cloud, content)
    finish("base", wanted)
    with pytest.raises(StackInvalidError, match="cannot be read"):
        finish("release", wanted)


def test_a_missing_archive_is_named(cloud: Cloud) -> None:
    wanted = existing_stack(chart="gs://acme-charts/nothing.tgz", chart_sha256="0" * 64)
    cloud.storage.put(CHART_BUCKET, "other.tgz", b"x")
    finish("base", wanted)
    with pytest.raises(StackInvalidError, match=r"no chart at gs://acme-charts/nothing.tgz"):
        finish("release", wanted)


def test_the_buckets_key_reaches_helm_and_nothing_else(cloud: Cloud) -> None:
    wanted = existing_stack(bucket="acme-pachyderm", project="acme-cameras", storage_key_conn_id="google_cloud_default")
    provision(wanted)
    assert "PRIVATE KEY" in cloud.existing.values("tuskwatch")["pachd"]["storage"]["google"]["cred"]
    assert "PRIVATE KEY" not in yaml.safe_dump(manifests.values(wanted))


VARIANTS = [
    stack(),
    stack(
        workload_identity="pach@acme-cameras.iam.gserviceaccount.com", console=False, image_tag="2.11.6", image_registry="eu.gcr.io/acme"
    ),
    existing_stack(),
    existing_stack(storage_class='pre"mium\n: {evil}', storage_gb=100),
]


@pytest.mark.parametrize("wanted", VARIANTS)
def test_values_fit_the_charts_schema_and_every_key_is_known(wanted: Any) -> None:
    import jsonschema

    schema = helm_schema()
    if schema is None:
        pytest.skip(f"{SCHEMA} is not on this machine")
    values = manifests.values(wanted)
    jsonschema.Draft7Validator(schema).validate(values)
    assert list(_unknown(values, schema)) == []  # the schema itself lets misspelt keys pass


def _unknown(values: Any, schema: dict[str, Any], path: str = "") -> Any:
    known = schema.get("properties")
    for key, value in values.items() if isinstance(values, dict) and known else ():
        if key not in known:
            yield f"{path}.{key}"
        else:
            yield from _unknown(value, known[key], f"{path}.{key}")


def test_what_a_param_says_stays_a_value() -> None:
    assert manifests.values(VARIANTS[3])["etcd"]["storageClass"] == 'pre"mium\n: {evil}'
