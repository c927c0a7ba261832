"""What runs in the stack's namespace, and what would outlive it: workloads, volumes, load balancers."""

from collections.abc import Iterator, Sequence
from typing import Final

from airflow_pachyderm.states import PIPELINE_FAILED, PipelineState
from dags.provisioning import manifests
from dags.provisioning.diagnosis import is_worker, of_pachyderm, told, troubles
from dags.provisioning.errors import DifferentError, StepFailedError
from dags.provisioning.kube import MANAGED_BY_LABEL, Kube, Manifest
from dags.provisioning.outcome import Change, Done, Outcome, Pending
from dags.provisioning.pachd import PipelineStatus
from dags.provisioning.stack import OWNER, RUN_LABEL, STACK_LABEL, Stack

_WORKLOADS: Final = ("Deployment", "StatefulSet")
SELF_SCALED: Final = frozenset({"pachw"})  # whose pods pachd starts and ends, with the work there is: one that just starts is no fault
_NOT_UP: Final = PIPELINE_FAILED | {PipelineState.STARTING, PipelineState.RESTARTING, PipelineState.CRASHING}


def ensure_base(kube: Kube, stack: Stack) -> Outcome:
    """Make namespace, installer account, its rights and the restricted load balancer be there.

    :raises DifferentError: One of them exists and is not ours.
    """
    wanted = manifests.base(stack)
    namespace = kube.get("v1", "Namespace", stack.namespace)
    if namespace is not None:
        _refuse_foreign(namespace, stack)
        # The first run's label stays: it says who may remove the namespace when a run fails.
        wanted[0]["metadata"]["labels"][RUN_LABEL] = namespace["metadata"]["labels"].get(RUN_LABEL, stack.run)
    changes = [(manifest, kube.ensure(manifest)) for manifest in wanted]
    changed = [
        f"{change.value} {manifest['kind']} {manifest['metadata']['name']}" for manifest, change in changes if change is not Change.FOUND
    ]
    change = Change.of(wanted[0]["metadata"]["labels"], run=stack.run)
    if not changed:
        return Done(change=change, message=f"Namespace {stack.namespace} is as wanted: {len(wanted)} objects")
    return Done(
        change=Change.UPDATED if change is Change.FOUND else change, message=f"In namespace {stack.namespace}: {', '.join(changed)}"
    )


def workloads_ready(kube: Kube, stack: Stack) -> Outcome:
    """Wait until every Deployment and StatefulSet of the namespace has all its pods ready."""
    missing = {"pachd", *(["console"] if stack.release.console else [])}
    waiting = []
    count = 0
    for workload in workloads(kube, stack):
        name, count = workload["metadata"]["name"], count + 1
        missing.discard(name)
        ready, wanted = replicas(workload)
        if ready < wanted and name not in SELF_SCALED:
            waiting.append(f"{name} {ready}/{wanted}")
    if missing:
        waiting += [f"{name} is not there" for name in sorted(missing)]
    if not waiting:
        return Done(change=Change.FOUND, message=f"All pods of {count} workloads in namespace {stack.namespace} are ready")
    why = troubles(kube, stack.namespace, of_pachyderm)
    message = f"Pods are not ready: {', '.join(waiting)}" + (f". What does not run:\n{told(why)}" if why else "")
    if any(trouble.is_hopeless for trouble in why):
        raise StepFailedError(f"{message}\nWaiting cannot help")
    return Pending(message=message)


def workers_ready(kube: Kube, stack: Stack, pipelines: Sequence[PipelineStatus]) -> Outcome:
    """Wait until the workers of every pipeline are up.

    :param pipelines: As Pachyderm tells them.
    :raises StepFailedError: One of them cannot start, and waiting cannot help. Nothing is removed: the specs are to be mended.
    """
    versions = {one.name: str(one.version) for one in pipelines}

    def is_current(pod: Manifest) -> bool:
        """Of the version that is wanted: those of the one before are on their way out, and may be what was mended."""
        labels = pod["metadata"].get("labels") or {}
        return is_worker(pod) and versions.get(labels.get("pipelineName", "")) == labels.get("pipelineVersion")

    why = troubles(kube, stack.namespace, is_current)
    waiting = [f"{one.name} is {one.state.value}" + (f" ({one.reason})" if one.reason else "") for one in pipelines if one.state in _NOT_UP]
    if not waiting and not why:
        return Done(change=Change.FOUND, message=f"The workers of {len(pipelines)} pipelines are up")
    message = f"Workers are not up: {', '.join(waiting) or 'pods do not run'}" + (f". What does not run:\n{told(why)}" if why else "")
    if any(trouble.is_hopeless for trouble in why) or any(one.state in PIPELINE_FAILED for one in pipelines):
        raise StepFailedError(
            f"{message}\nWaiting cannot help: correct image, resourceRequests or sidecarResourceRequests in the specs, run "
            "bootstrap_pipelines, and clear this task"
        )
    return Pending(message=message)


def remove_volumes(kube: Kube, stack: Stack) -> Outcome:
    """Delete load balancers, then volumes, and wait until both are gone, since each is billed and survives its cluster.

    A volume claim stays for as long as a pod mounts it. Helm has removed what starts such pods; one that is still there is deleted.
    """
    namespace = kube.get("v1", "Namespace", stack.namespace)
    if namespace is None:
        return Done(change=Change.ABSENT, message=f"Namespace {stack.namespace} is not there, nor are its volumes")
    _refuse_foreign(namespace, stack)
    waiting = []
    for service in kube.objects("v1", "Service", namespace=stack.namespace):
        if service["spec"].get("type") == "LoadBalancer":
            _delete(kube, service)
            waiting.append(f"load balancer {service['metadata']['name']}")
    mounted = _mounts(kube, stack)
    for claim in kube.objects("v1", "PersistentVolumeClaim", namespace=stack.namespace):
        _delete(kube, claim)
        pods = mounted.get(claim["metadata"]["name"], [])
        for pod in pods:
            _delete(kube, pod)
        by = f" (mounted by {', '.join(pod['metadata']['name'] for pod in pods)})" if pods else ""
        waiting.append(f"volume claim {claim['metadata']['name']}{by}")
    volumes, kept = _volumes(kube, stack)
    waiting += volumes
    if waiting:
        return Pending(message=f"Waiting until these are gone: {', '.join(waiting)}")
    if kept:
        return Done(
            change=Change.KEPT,
            message=f"Kept {', '.join(kept)}: their reclaim policy is Retain; delete their disks by hand, they are billed",
        )
    return Done(change=Change.REMOVED, message=f"No volume and no load balancer of namespace {stack.namespace} is left")


def remove_namespace(kube: Kube, stack: Stack, *, only_run: str | None = None) -> Outcome:
    """Delete the namespace with all in it, and wait until it is gone.

    :param only_run: Delete it only if it was created by the run with this label.
    :raises DifferentError: It is not this stack's.
    """
    namespace = kube.get("v1", "Namespace", stack.namespace)
    if namespace is None:
        volumes, _ = _volumes(kube, stack)  # deleted with their claims, by the cloud, a little later; the cluster has to live that long
        if volumes:
            return Pending(message=f"Waiting until these are gone: {', '.join(volumes)}")
        return Done(change=Change.REMOVED, message=f"Namespace {stack.namespace} is gone, and its volumes too")
    _refuse_foreign(namespace, stack)
    if only_run is not None and namespace["metadata"].get("labels", {}).get(RUN_LABEL) != only_run:
        return Done(change=Change.KEPT, message=f"Kept namespace {stack.namespace}: an earlier run created it")
    _delete(kube, namespace)
    return Pending(message=f"Namespace {stack.namespace} is being deleted")


def replicas(workload: Manifest) -> tuple[int, int]:
    """Pods that are ready with the current specification, and pods wanted."""
    wanted = int(workload["spec"].get("replicas", 1))
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return 0, wanted  # the controller has not seen the last change
    return min(int(status.get("readyReplicas", 0)), int(status.get("updatedReplicas", 0))), wanted


def workloads(kube: Kube, stack: Stack) -> Iterator[Manifest]:
    """Deployments and StatefulSets of the namespace."""
    for kind in _WORKLOADS:
        yield from kube.objects("apps/v1", kind, namespace=stack.namespace)


def _mounts(kube: Kube, stack: Stack) -> dict[str, list[Manifest]]:
    """The pods that use each volume claim of the namespace."""
    found: dict[str, list[Manifest]] = {}
    for pod in kube.objects("v1", "Pod", namespace=stack.namespace):
        for volume in pod["spec"].get("volumes") or []:
            if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
                found.setdefault(claim, []).append(pod)
    return found


def _volumes(kube: Kube, stack: Stack) -> tuple[list[str], list[str]]:
    """Volumes of the namespace that go with their claims, and those that are kept."""
    going: list[str] = []
    kept: list[str] = []
    for volume in kube.objects("v1", "PersistentVolume"):
        if volume["spec"].get("claimRef", {}).get("namespace") == stack.namespace:
            retained = volume["spec"].get("persistentVolumeReclaimPolicy") == "Retain"
            (kept if retained else going).append(f"volume {volume['metadata']['name']}")
    return going, kept


def _delete(kube: Kube, manifest: Manifest) -> None:
    metadata = manifest["metadata"]
    if not metadata.get("deletionTimestamp"):
        kube.delete(manifest["apiVersion"], manifest["kind"], metadata["name"], namespace=metadata.get("namespace"))


def _refuse_foreign(namespace: Manifest, stack: Stack) -> None:
    labels = namespace["metadata"].get("labels", {})
    if labels.get(MANAGED_BY_LABEL) != OWNER:
        difference = f"it has no label {MANAGED_BY_LABEL}={OWNER}, so it is not Tuskwatch's"
    elif labels.get(STACK_LABEL) != stack.name:
        difference = f"it belongs to the stack {labels.get(STACK_LABEL)}, not to {stack.name}"
    else:
        return
    raise DifferentError(f"namespace {stack.namespace}", [difference], "choose another namespace")
