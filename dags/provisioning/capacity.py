"""What all pods of a stack ask for, beside what the nodes have: a pod whose requests are free nowhere stays pending for ever."""

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from airflow_pachyderm.exceptions import PachydermError
from dags.provisioning.cost import ZONES_PER_REGION
from dags.provisioning.diagnosis import requests_of
from dags.provisioning.kube import Kube
from dags.provisioning.quantities import GIB, cpus, gibibytes, number
from dags.provisioning.stack import Cluster, Stack

log = logging.getLogger(__name__)

# Pachyderm takes these where a spec says nothing, for the user's container and again for the storage sidecar beside it.
DEFAULT_CPU: Final = 1.0
DEFAULT_MEMORY: Final = 256 * 2.0**20
# What the chart asks for (read from the chart of the 2.12 line): the proxy and PostgreSQL; its other pods ask for nothing.
CHART_CPU: Final = 0.1 + 0.25
CHART_MEMORY: Final = (512 + 256) * 2.0**20
HELM_CPU: Final = 0.1
HELM_MEMORY: Final = 128 * 2.0**20
# What GKE's own pods ask for on each node. An assumption: it differs by version and by what is switched on.
SYSTEM_CPU: Final = 0.5
SYSTEM_MEMORY: Final = 0.5 * GIB
_KEPT_MEMORY: Final = ((0.25, 0, 4), (0.20, 4, 8), (0.10, 8, 16), (0.06, 16, 128), (0.02, 128, math.inf))  # share, of GiB from, to
_MACHINE: Final = re.compile(r"(e2|n1|n2|n2d|n4|c3)-standard-(\d+)")


@dataclass(frozen=True)
class Ask:
    """Pods of one kind.

    :ivar cpu: CPUs that one pod asks for, all its containers together.
    :ivar memory: Bytes, likewise.
    """

    what: str
    pods: int
    cpu: float
    memory: float

    def __str__(self) -> str:
        each = f"{self.pods} x ({cpus(self.cpu)}, {gibibytes(self.memory)})" if self.pods > 1 else "1 pod"
        return f"{cpus(self.pods * self.cpu):>10}  {gibibytes(self.pods * self.memory):>9}  {self.what}: {each}"


@dataclass(frozen=True)
class Node:
    """What pods may ask for on a node.

    :ivar name: Of the node, or its machine type.
    :ivar cpu: CPUs that no other pod has asked for.
    :ivar memory: Bytes, likewise.
    """

    name: str
    cpu: float
    memory: float


def of_spec(spec: Mapping[str, Any]) -> Ask:
    """A pipeline's workers: the user's container and the storage sidecar, each with Pachyderm's defaults where the spec says nothing."""
    asked = [spec.get(name) or {} for name in ("resourceRequests", "sidecarResourceRequests")]
    return Ask(
        what=f"workers of {(spec.get('pipeline') or {}).get('name', 'a pipeline')}",
        pods=int((spec.get("parallelismSpec") or {}).get("constant") or 1),
        cpu=sum(number(one.get("cpu") or DEFAULT_CPU) for one in asked),
        memory=sum(number(one.get("memory") or DEFAULT_MEMORY) for one in asked),
    )


def asks(specs: Sequence[Mapping[str, Any]]) -> list[Ask]:
    """Of a stack with pipelines: Pachyderm itself, Helm while it installs, and the workers."""
    return [
        Ask("Pachyderm itself, as its chart asks", 1, CHART_CPU, CHART_MEMORY),
        Ask("Helm, while it installs", 1, HELM_CPU, HELM_MEMORY),
        *(of_spec(spec) for spec in specs),
    ]


def describe(stack: Stack, specs: Sequence[Mapping[str, Any]], *, kube: Callable[[], Kube]) -> str:
    """The sum of requests beside what the nodes have, for the log of ``plan``.

    :param kube: The API of a cluster that exists; only asked for with such a target.
    """
    wanted = asks(specs)
    nodes, unknown = (_made(stack.cluster), "") if stack.cluster else _existing(kube(), stack)
    cpu, memory = sum(ask.pods * ask.cpu for ask in wanted), sum(ask.pods * ask.memory for ask in wanted)
    lines = ["Requests (a pod only starts on a node where what it asks for is still free):", *(f"  {ask}" for ask in wanted)]
    lines.append(f"  {cpus(cpu):>10}  {gibibytes(memory):>9}  together")
    if not nodes:
        return "\n".join([*lines, f"What the nodes have is not known: {unknown or 'this machine type is not listed here'}"])
    lines.append("Nodes, and what is free on them:")
    lines += [f"  {cpus(node.cpu):>10}  {gibibytes(node.memory):>9}  {node.name}" for node in nodes]
    problems = list(_problems(wanted, nodes, cpu, memory))
    return "\n".join([*lines, *(f"  !! {problem}" for problem in problems), *([] if problems else ["  They fit"])])


def _problems(wanted: Sequence[Ask], nodes: Sequence[Node], cpu: float, memory: float) -> Iterator[str]:
    way_out = "make resourceRequests and sidecarResourceRequests of the specs smaller, or take more or larger nodes"
    for ask in wanted:
        if not any(ask.cpu <= node.cpu and ask.memory <= node.memory for node in nodes):
            yield f"{ask.what} fit on no node: one asks for {cpus(ask.cpu)} and {gibibytes(ask.memory)}; {way_out}"
    free_cpu, free_memory = sum(node.cpu for node in nodes), sum(node.memory for node in nodes)
    if cpu > free_cpu or memory > free_memory:
        yield (
            f"all together they do not fit: {cpus(cpu)} and {gibibytes(memory)} are asked for, {cpus(free_cpu)} and "
            f"{gibibytes(free_memory)} are free. Some pods will stay pending: {way_out}"
        )


def _made(cluster: Cluster) -> list[Node]:
    """The nodes that GKE will make, about: as Google's documentation says what it keeps of each for itself."""
    match = _MACHINE.fullmatch(cluster.machine_type)
    if match is None:
        return []
    cores, gib = int(match[2]), int(match[2]) * (3.75 if match[1] == "n1" else 4.0)
    kept_cpu = 0.06 + 0.01 * min(1, cores - 1) + 0.005 * min(2, max(0, cores - 2)) + 0.0025 * max(0, cores - 4)
    kept_gib = 0.1 + sum(share * max(0.0, min(gib, upper) - lower) for share, lower, upper in _KEPT_MEMORY)
    count = (cluster.max_nodes or cluster.node_count) * (ZONES_PER_REGION if cluster.is_regional else 1)
    node = Node(f"{cluster.machine_type}, about", cores - kept_cpu - SYSTEM_CPU, (gib - kept_gib) * GIB - SYSTEM_MEMORY)
    return [node] * count


def _existing(kube: Kube, stack: Stack) -> tuple[list[Node], str]:
    """The nodes that are there, less what pods outside of the stack's namespace ask for; or why that is not known."""
    nodes = kube.visible("v1", "Node")
    if nodes is None:
        return [], "this account may not list nodes"
    pods = kube.visible("v1", "Pod", fields="status.phase!=Succeeded,status.phase!=Failed")
    taken: dict[str, dict[str, float]] = {}
    for pod in pods or []:
        if (node := pod["spec"].get("nodeName")) and pod["metadata"]["namespace"] != stack.namespace:
            of_node = taken.setdefault(node, {})
            for what, amount in requests_of(pod["spec"]).items():
                of_node[what] = of_node.get(what, 0.0) + amount
    doubt = " (without what other pods ask for, which this account may not list)" if pods is None else ""
    found = []
    for node in nodes:
        name, allocatable = node["metadata"]["name"], node["status"]["allocatable"]
        cpu, memory = (number(allocatable[what]) - taken.get(name, {}).get(what, 0.0) for what in ("cpu", "memory"))
        if not node["spec"].get("unschedulable"):
            found.append(Node(f"{name}{doubt}", cpu, memory))
    return found, "no node takes pods" if not found else ""


def load_specs(folder: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The specs below a folder; those that cannot be read are named in the log, since ``bootstrap_pipelines`` will say more.

    :param folder: Path or URL.
    :param names: Of the folders below it.
    """
    from airflow_pachyderm.specs import load_specs as load

    found: list[dict[str, Any]] = []
    for name in names:
        try:
            found += load(f"{folder.rstrip('/')}/{name}/pipeline.json")
        except PachydermError as exc:
            log.warning("What the workers of %s ask for is not known: %s", name, exc)
    return found
