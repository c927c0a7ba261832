"""What a person wants to know of a running stack: how to reach it, and whether it is well."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_pachyderm.exceptions import PachydermError
from airflow_pachyderm.states import JOB_FAILED, PIPELINE_FAILED, PipelineState
from dags.provisioning import manifests, pachd
from dags.provisioning.clients import Clients
from dags.provisioning.diagnosis import troubles
from dags.provisioning.errors import ProvisionError
from dags.provisioning.kube import Kube
from dags.provisioning.stack import Exposure, Stack
from dags.provisioning.workloads import SELF_SCALED, replicas, workloads

DISK_FULL: Final = 0.85  # of a volume's bytes: a problem from here on
_UNWELL: Final = PIPELINE_FAILED | {PipelineState.CRASHING, PipelineState.RESTARTING}


@dataclass
class Report:
    """Findings, section by section, and what is wrong among them."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note(self, text: str, *, problem: bool = False) -> None:
        """Add a finding."""
        self.lines.append(f"  {'!!' if problem else 'ok'} {text}")
        if problem:
            self.problems.append(text)

    def warn(self, text: str) -> None:
        """Add a finding that is worth knowing, and no reason to wake anyone."""
        self.lines.append(f"  ?? {text}")

    def section(self, title: str) -> None:
        """Begin a section."""
        self.lines.append(title)

    def __str__(self) -> str:
        verdict = f"{len(self.problems)} problem(s)" if self.problems else "all well"
        return "\n".join([*self.lines, f"Verdict: {verdict}"])


def way_in(stack: Stack, kube: Kube) -> str:
    """How to reach Pachyderm and its Console from here."""
    if stack.exposure is Exposure.LOAD_BALANCER:
        address = _load_balancer_address(stack, kube)
        if address is None:
            return "The load balancer has no address yet"
        return (
            f"Connection {stack.connections.pachyderm} must have host {address} and port 80; the Console is at http://{address}/. "
            f"Both answer only to {', '.join(stack.source_ranges)}"
        )
    return (
        f"Nothing is open to the outside. Run: kubectl --namespace {stack.namespace} port-forward service/pachyderm-proxy 30650:80 - "
        f"then connection {stack.connections.pachyderm} with host 127.0.0.1 and port 30650 works on that machine, "
        "and the Console is at http://127.0.0.1:30650/. "
        f"Inside the cluster the host is pachd.{stack.namespace}.svc.cluster.local, port 30650"
    )


def summary(clients: Clients) -> str:
    """What the last task of ``provision_stack`` prints."""
    stack = clients.stack
    lines = [f"Stack {stack.name} is up."]
    if cluster := stack.cluster:
        where = f"--location {cluster.location} --project {stack.project}"
        lines.append(f"Cluster: {cluster.name} in {cluster.location}, project {stack.project}")
        lines.append(f"For kubectl: gcloud container clusters get-credentials {cluster.name} {where}")
    if stack.bucket:
        lines.append(f"Bucket: gs://{stack.bucket.name}")
    lines.append(f"Namespace: {stack.namespace}, Pachyderm chart {stack.release.version}")
    lines.append(way_in(stack, clients.kube))
    lines.append(
        "Threats and jobs: Browse > Pachyderm in this Airflow. Is all well: trigger check_stack. Remove everything: trigger teardown_stack."
    )
    return "\n".join(lines)


def check(clients: Clients, *, with_cluster: bool) -> Report:
    """Look at everything: cluster, pods, disks, Pachyderm, pipelines, last jobs. A part that cannot be looked at is a problem too.

    :param with_cluster: Whether there is a cluster to look at; on a laptop there is only Pachyderm.
    """
    report = Report()
    if with_cluster:
        for title, look in (("Cluster", _cluster), ("Pods", _pods), ("Disks", _disks)):
            report.section(title)
            try:
                look(clients, report)
            except ProvisionError as exc:
                report.note(str(exc), problem=True)
    report.section("Pachyderm")
    try:
        _pachyderm(clients, report)
    except PachydermError as exc:
        report.note(str(exc), problem=True)
    return report


def _cluster(clients: Clients, report: Report) -> None:
    stack = clients.stack
    if stack.cluster:
        from dags.provisioning.cluster import describe

        found = describe(clients.clusters, stack, stack.cluster)
        if found is None:
            report.note(f"cluster {stack.cluster.name} does not exist", problem=True)
            return
        status = type(found.status)(found.status).name
        report.note(
            f"cluster {found.name} is {status}, Kubernetes {found.current_master_version or 'unknown'}", problem=status != "RUNNING"
        )
    nodes = clients.kube.raw("/api/v1/nodes")
    if nodes is None:
        report.note("nodes: this account may not list them")
        return
    for node in nodes["items"]:
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node.get("status", {}).get("conditions") or [])
        version = node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "unknown")
        report.note(f"node {node['metadata']['name']} {'is ready' if ready else 'is not ready'}, kubelet {version}", problem=not ready)


def _pods(clients: Clients, report: Report) -> None:
    stack, kube = clients.stack, clients.kube
    recorded = kube.get("v1", "ConfigMap", manifests.VALUES, namespace=stack.namespace)
    if recorded is None:
        report.note(f"namespace {stack.namespace} has no Helm release of this stack", problem=True)
        return
    report.note(f"chart {json.loads(recorded['data']['chart.json'])['version']}")
    for workload in workloads(kube, stack):
        ready, wanted = replicas(workload)
        images = [container["image"] for container in workload["spec"]["template"]["spec"]["containers"]]
        name = workload["metadata"]["name"]
        report.note(f"{name} {ready}/{wanted} ready, {', '.join(images)}", problem=ready < wanted and name not in SELF_SCALED)
    for trouble in troubles(kube, stack.namespace):
        report.note(str(trouble), problem=True)


def _disks(clients: Clients, report: Report) -> None:
    usage = _usage(clients.kube, clients.stack, report)
    claims = clients.kube.objects("v1", "PersistentVolumeClaim", namespace=clients.stack.namespace)
    for claim in claims:
        name, phase = claim["metadata"]["name"], claim.get("status", {}).get("phase", "Pending")
        capacity = claim.get("status", {}).get("capacity", {}).get("storage", "no capacity")
        used = usage.get(name)
        text = f"{name} {phase}, {capacity}, " + ("use not known" if used is None else f"{used:.0%} used")
        report.note(text, problem=phase != "Bound" or (used or 0.0) >= DISK_FULL)
    if not claims:
        report.note("no volume claims")


def _usage(kube: Kube, stack: Stack, report: Report) -> dict[str, float]:
    """Used fraction of each volume claim, from the kubelets; without those that do not say, or that this account may not ask."""
    found: dict[str, float] = {}
    for node in kube.visible("v1", "Node") or []:
        name = node["metadata"]["name"]
        try:
            stats = kube.raw(f"/api/v1/nodes/{name}/proxy/stats/summary") or {}
        except ProvisionError as exc:
            report.warn(f"how full the volumes on node {name} are cannot be read: {exc}")
        else:
            found.update(_claims_of(stats, stack.namespace))
    return found


def _claims_of(stats: dict[str, Any], namespace: str) -> Iterator[tuple[str, float]]:
    for pod in stats.get("pods") or []:
        for volume in pod.get("volume") or []:
            claim = volume.get("pvcRef") or {}
            if claim.get("namespace") == namespace and volume.get("capacityBytes"):
                yield claim["name"], volume.get("usedBytes", 0) / volume["capacityBytes"]


def _pachyderm(clients: Clients, report: Report) -> None:
    answers, message = clients.pachyderm.test_connection()
    report.note(message, problem=not answers)
    if not answers:
        return
    found = pachd.pipelines(clients.pachyderm)
    if not found:
        report.note("no pipelines: trigger bootstrap_pipelines to create them")
    for pipeline in found:
        reason = f" ({pipeline.reason})" if pipeline.reason else ""
        report.note(f"pipeline {pipeline.name} is {pipeline.state.value}{reason}", problem=pipeline.state in _UNWELL)
        if pipeline.last_job is None:
            report.note(f"pipeline {pipeline.name} had no job yet")
            continue
        reason = f" ({pipeline.last_job_reason})" if pipeline.last_job_reason else ""
        failed = pipeline.last_job in JOB_FAILED
        report.note(f"last job {pipeline.name}@{pipeline.last_job_id} is {pipeline.last_job.value}{reason}", problem=failed)


def _load_balancer_address(stack: Stack, kube: Kube) -> str | None:
    service = kube.get("v1", "Service", manifests.LOAD_BALANCER, namespace=stack.namespace)
    ingress = (service or {}).get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return next((point.get("ip") or point.get("hostname") for point in ingress), None)
