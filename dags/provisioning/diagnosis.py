"""Why pods do not run: what the cluster says about each, in words, and whether waiting can help."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dags.provisioning.kube import Kube, Manifest
from dags.provisioning.quantities import cpus, gibibytes, number

PATIENCE_SECONDS: Final = 300.0  # for what may pass: a registry that is away, a Secret that is made a little later
CRASHES: Final = 5  # of one container: pachd may crash a few times until its database is up. About three minutes, as Kubernetes waits
LINES: Final = 8  # of a crashed container's log
LINE_WIDTH: Final = 400
WORKER_LABELS: Final = {"component": "worker", "suite": "pachyderm"}  # pods that pachd starts for pipelines

_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
_PULL: Final = frozenset({"ErrImagePull", "ImagePullBackOff"})
_NEVER: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
# What a registry says of an image that it will not give, now or later; anything else may be an outage.
_REFUSED: Final = re.compile(
    r"not found|manifest unknown|does not exist|denied|unauthorized|authorization failed|forbidden|invalid reference|no match for platform",
    re.IGNORECASE,
)
_RESOURCES: Final = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True)
class Trouble:
    """One thing that keeps pods from running.

    :ivar text: The thing by name, its state, and the reason; for a crash the last lines of its log.
    :ivar is_hopeless: Waiting cannot help, by all that is known.
    """

    text: str
    is_hopeless: bool = False

    def __str__(self) -> str:
        return self.text


def told(troubles: Iterable[Trouble]) -> str:
    """Troubles for a message, one below the other."""
    return "\n".join(f"- {trouble}" for trouble in troubles)


def is_worker(pod: Manifest) -> bool:
    """Whether pachd started the pod, for a pipeline."""
    labels = pod["metadata"].get("labels") or {}
    return WORKER_LABELS.items() <= labels.items()


def of_pachyderm(pod: Manifest) -> bool:
    """Whether the pod is Pachyderm's own, or Helm's."""
    return not is_worker(pod)


def troubles(
    kube: Kube, namespace: str, keep: Callable[[Manifest], bool] = lambda _: True, *, unready: bool = False, now: datetime | None = None
) -> list[Trouble]:
    """What keeps the pods of a namespace from running.

    :param keep: Which pods to look at.
    :param unready: Also name containers that run but are not ready, with the end of their log: of interest when the time is up.
    """
    now = now or datetime.now(UTC)
    pods = [
        pod
        for pod in kube.objects("v1", "Pod", namespace=namespace)
        if keep(pod) and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")
    ]
    found = [trouble for pod in pods for trouble in _of_pod(kube, namespace, pod, unready=unready, now=now)]
    if any("PersistentVolumeClaim" in trouble.text for trouble in found):
        found += _of_claims(kube, namespace)
    return found + list(_of_controllers(kube, namespace))


def _of_pod(kube: Kube, namespace: str, pod: Manifest, *, unready: bool, now: datetime) -> Iterator[Trouble]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield _unscheduled(kube, pod, str(condition.get("message") or "no reason given"))
    started = _age(pod, now)
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        reason, message = _waiting(container)
        what = f"pod {name}, container {container['name']}"
        image = f"image {container.get('image') or 'unknown'}"
        if reason in _NEVER or reason in _PULL:
            refused = reason in _NEVER or _REFUSED.search(message) is not None
            hopeless = refused or (reason == "ImagePullBackOff" and started > PATIENCE_SECONDS)
            # The two states of a pull that fails take turns; told as one, the log does not say the same again with each.
            state = "ImagePullBackOff" if reason in _PULL else reason
            yield Trouble(f"{what}: {state}, {image}: {message.rpartition('ErrImagePull: ')[2]}", hopeless)
        elif reason in _STARTING:
            yield from _slow_start(kube, namespace, pod, what) if started > 30 else ()
        elif reason and reason != "CrashLoopBackOff":
            yield Trouble(f"{what}: {reason}, {image}: {message}", started > PATIENCE_SECONDS)
        elif _crashed(container):
            yield _crash(kube, namespace, name, container, what)
        elif unready and not container.get("ready") and container.get("state", {}).get("running"):
            lines = _tail(kube.logs(name, namespace=namespace, container=container["name"], lines=LINES))
            yield Trouble(f"{what}: runs, but is not ready{lines}")


def _waiting(container: Mapping[str, Any]) -> tuple[str, str]:
    waiting = container.get("state", {}).get("waiting") or {}
    return str(waiting.get("reason") or ""), str(waiting.get("message") or "no message")


def _crashed(container: Mapping[str, Any]) -> bool:
    """It ended at least once and is not ready: between two crashes Kubernetes shows it as running, or as terminated."""
    terminated = container.get("state", {}).get("terminated") or {}
    if container.get("ready") or terminated.get("exitCode") == 0:
        return False
    return bool(container.get("restartCount") or terminated or _waiting(container)[0] == "CrashLoopBackOff")


def _crash(kube: Kube, namespace: str, pod: str, container: Mapping[str, Any], what: str) -> Trouble:
    restarts = int(container.get("restartCount", 0))
    state = container.get("state", {})
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    how = f"exit code {ended['exitCode']} ({ended.get('reason', 'no reason given')})" if ended else "how it ended is not known"
    # While it waits for its next start, its last log is the present one; while it runs again, the one before.
    text = kube.logs(pod, namespace=namespace, container=container["name"], previous=bool(state.get("running")), lines=LINES)
    reason = _waiting(container)[0] or "crashed"
    return Trouble(f"{what}: {reason} after {restarts} restarts, {how}{_tail(text)}", restarts >= CRASHES)


def _tail(text: str) -> str:
    lines = [line[:LINE_WIDTH] for line in text.strip().splitlines()[-LINES:]]
    return "; its last lines:\n" + "\n".join(f"    {line}" for line in lines) if lines else "; it wrote nothing"


def _slow_start(kube: Kube, namespace: str, pod: Manifest, what: str) -> Iterator[Trouble]:
    """A volume that cannot be mounted, or no network: only events say so."""
    events = kube.visible("v1", "Event", namespace=namespace, fields=f"involvedObject.name={pod['metadata']['name']},type=Warning") or []
    if events:
        last = max(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
        yield Trouble(f"{what}: cannot start: {last.get('reason')}: {last.get('message')}")


def _unscheduled(kube: Kube, pod: Manifest, message: str) -> Trouble:
    name = pod["metadata"]["name"]
    asked = requests_of(pod["spec"])
    nodes = kube.visible("v1", "Node") or []
    largest = {what: max((number(node["status"]["allocatable"].get(what, "0")) for node in nodes), default=0.0) for what in _RESOURCES}
    too_much = [
        f"it asks for {_amount(what, asked[what])}, and the largest node has {_amount(what, largest[what])} in all"
        for what in _RESOURCES
        if nodes and asked.get(what, 0.0) > largest[what]
    ]
    if too_much:
        return Trouble(f"pod {name} fits on no node: {'; '.join(too_much)} ({message})", True)
    wanted = " and ".join(_amount(what, asked[what]) for what in ("cpu", "memory") if asked.get(what))
    return Trouble(f"pod {name}, which asks for {wanted or 'nothing'}, has no node yet: {message}")


def requests_of(spec: Mapping[str, Any]) -> dict[str, float]:
    """What the scheduler reserves for a pod: its containers together, or its largest init container where that asks for more."""
    total: dict[str, float] = {}
    for container in spec.get("containers") or []:
        for what, amount in _requests(container).items():
            total[what] = total.get(what, 0.0) + amount
    for container in spec.get("initContainers") or []:
        for what, amount in _requests(container).items():
            total[what] = max(total.get(what, 0.0), amount)
    return total


def _requests(container: Mapping[str, Any]) -> dict[str, float]:
    resources = container.get("resources") or {}
    return {what: number(amount) for what, amount in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items()}


def _amount(what: str, value: float) -> str:
    return cpus(value) if what == "cpu" else f"{gibibytes(value)} of {'memory' if what == 'memory' else 'ephemeral storage'}"


def _of_claims(kube: Kube, namespace: str) -> Iterator[Trouble]:
    """Volume claims that nothing is bound to, and volumes of an earlier stack that stand in the way."""
    volumes = kube.visible("v1", "PersistentVolume") or []
    for claim in kube.objects("v1", "PersistentVolumeClaim", namespace=namespace):
        name = claim["metadata"]["name"]
        if claim.get("status", {}).get("phase") == "Bound":
            continue
        events = kube.visible("v1", "Event", namespace=namespace, fields=f"involvedObject.name={name}") or []
        said = str(max(events, key=lambda event: str(event.get("lastTimestamp") or ""))["message"]) if events else "no reason given"
        released = [volume["metadata"]["name"] for volume in volumes if volume.get("status", {}).get("phase") == "Released"]
        kept = (
            f"; released and not free for a new claim: {', '.join(released)}. Their data is an earlier stack's: save it, or delete them "
            f"(kubectl delete pv {' '.join(released)}) and make new ones"
            if released
            else ""
        )
        yield Trouble(f"volume claim {name} has no volume: {said}{kept}")


def _of_controllers(kube: Kube, namespace: str) -> Iterator[Trouble]:
    """Workloads whose pods cannot even be made: a quota, a policy, an account that is not there."""
    for deployment in kube.objects("apps/v1", "Deployment", namespace=namespace):
        for condition in deployment.get("status", {}).get("conditions") or []:
            if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
                yield Trouble(f"deployment {deployment['metadata']['name']} cannot make its pods: {condition.get('message')}")


def _age(pod: Manifest, now: datetime) -> float:
    """Seconds since the pod was given to a node, or made."""
    conditions: list[dict[str, str]] = pod.get("status", {}).get("conditions") or []
    scheduled = [c.get("lastTransitionTime") for c in conditions if c["type"] == "PodScheduled" and c["status"] == "True"]
    since = next(iter(scheduled), None) or pod["metadata"].get("creationTimestamp")
    return (now - datetime.fromisoformat(since)).total_seconds() if since else 0.0
