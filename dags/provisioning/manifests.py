"""What is sent to Kubernetes, rendered from ``templates/``: nowhere else is a manifest or a Helm value written."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dags.provisioning.kube import MANAGED_BY_LABEL, Manifest
from dags.provisioning.stack import OWNER, RUN_LABEL, STACK_LABEL, Exposure, Stack

TEMPLATES: Final = Path(__file__).parent / "templates"

RELEASE: Final = "pachyderm"  # the chart's own names (pachyderm-proxy, pachyderm-worker) do not depend on it
INSTALLER: Final = "tuskwatch-installer"
LOAD_BALANCER: Final = "tuskwatch-entrance"
VALUES: Final = "tuskwatch-helm-values"
SECRET_VALUES: Final = "tuskwatch-helm-secrets"  # noqa: S105  a name
CHART: Final = "tuskwatch-helm-chart"
VALUES_FILE: Final = "values.yaml"
CHART_FILE: Final = "pachyderm.tgz"
HOST_PATH: Final = "/var/pachyderm"
HELM_SECONDS: Final = 15 * 60
JOB_SECONDS: Final = HELM_SECONDS + 10 * 60  # Helm's own limit, the image's pull, and the repair of an interrupted release


def labels(stack: Stack) -> dict[str, str]:
    """Labels of every object in the cluster."""
    return {MANAGED_BY_LABEL: OWNER, STACK_LABEL: stack.name}


def base(stack: Stack) -> list[Manifest]:
    """Namespace, installer account with its rights, and the restricted load balancer where one is wanted."""
    text = _render(
        "base.yaml.j2",
        namespace=stack.namespace,
        labels=labels(stack),
        namespace_labels={**labels(stack), RUN_LABEL: stack.run},
        installer=INSTALLER,
        load_balancer=LOAD_BALANCER,
        source_ranges=list(stack.source_ranges) if stack.exposure is Exposure.LOAD_BALANCER else [],
        load_balancer_ip=stack.load_balancer_ip,
    )
    return [document for document in yaml.safe_load_all(text) if document]


def values(stack: Stack, *, host_path: str | None = None) -> dict[str, Any]:
    """The chart's values, without the secret ones.

    :param host_path: Folder on the node for Pachyderm's data where there is no bucket; None: a folder of this namespace's own, since two
        Pachyderms that share one delete each other's data.
    """
    release = stack.release
    text = _render(
        "values.yaml.j2",
        deploy_target="GOOGLE" if stack.bucket else "LOCAL",
        image_registry=release.image_registry and release.image_registry.rstrip("/") + "/",  # the chart joins it to the name as it is
        image_tag=release.image_tag,
        bucket=stack.bucket.name if stack.bucket else None,
        host_path=host_path or f"{HOST_PATH}/{stack.namespace}/",
        workload_identity=stack.cluster.workload_identity if stack.cluster else None,
        storage_gb=release.storage_gb,
        storage_class=release.storage_class,
        console=release.console,
    )
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def config_map(stack: Stack, name: str, *, text: Mapping[str, str] | None = None, data: Mapping[str, bytes] | None = None) -> Manifest:
    """A ConfigMap of files."""
    manifest: Manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(stack, name)}
    if text is not None:
        manifest["data"] = dict(text)
    if data is not None:
        manifest["binaryData"] = {file: base64.b64encode(content).decode() for file, content in data.items()}
    return manifest


def secret(stack: Stack, name: str, data: Mapping[str, str]) -> Manifest:
    """A Secret of texts."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": _metadata(stack, name), "data": encoded}


def install_job(stack: Stack, *, content_digest: str, archive: bool) -> Manifest:
    """The Job that installs the chart; its name follows from all that goes into it, so that the same installation is the same Job.

    :param content_digest: Of the values, the secret values and the chart.
    :param archive: The chart's archive is in the ConfigMap ``CHART``; otherwise Helm pulls it.
    """
    script = _script("helm-install.sh")
    release = stack.release
    env = {"CHART": release.chart, "VERSION": release.version, "SHA256": release.sha256 or ""}
    digest = digest_of(content_digest, script, release.helm_image, *env.values())
    return _job(stack, f"helm-install-{digest[:12]}", script, env, install=True, archive=archive)


def uninstall_job(stack: Stack, *, run: str) -> Manifest:
    """The Job that removes the release."""
    return _job(stack, f"helm-uninstall-{run[:12]}", _script("helm-uninstall.sh"), {}, install=False, archive=False)


def digest_of(*parts: str) -> str:
    """A digest over texts, hex."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _job(stack: Stack, name: str, script: str, env: Mapping[str, str], *, install: bool, archive: bool) -> Manifest:
    text = _render(
        "helm-job.yaml.j2",
        name=name,
        namespace=stack.namespace,
        labels=labels(stack),
        job_labels={**labels(stack), RUN_LABEL: stack.run},
        installer=INSTALLER,
        image=stack.release.helm_image,
        script=script,
        env={"RELEASE": RELEASE, "NAMESPACE": stack.namespace, "TIMEOUT": f"{HELM_SECONDS}s", "HOME": "/tmp", **env},  # noqa: S108  the pod's own
        deadline_seconds=JOB_SECONDS,
        install=install,
        archive=archive,
        values=VALUES,
        secrets=SECRET_VALUES,
        chart=CHART,
    )
    job: Manifest = yaml.safe_load(text)
    return job


def _metadata(stack: Stack, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": stack.namespace, "labels": labels(stack)}


def _script(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    # What is rendered is YAML, not HTML; every value goes through tojson.
    return Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=False)  # noqa: S701


def _render(template: str, **names: object) -> str:
    return _environment().get_template(template).render(**names)
