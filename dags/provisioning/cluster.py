"""The GKE cluster: running as wanted, or gone.

Why not ``GKECreateClusterOperator``: it takes a create operation that ended in an error for a success, an existing cluster of that name
for the wanted one (even one that is still provisioning), fixes the cluster's body before the Params are known, and its trigger cannot
undo anything. Here the cluster itself is asked each time, until it is ``RUNNING`` and as wanted.
"""

import logging
from collections.abc import Iterator
from typing import Any, Final

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.api_core.retry import Retry, if_transient_error
from google.cloud.container_v1 import types

from dags.provisioning.errors import DifferentError, StepFailedError
from dags.provisioning.google_errors import translated
from dags.provisioning.outcome import Change, Done, Outcome, Pending
from dags.provisioning.stack import MANAGED_BY, OWNER, RUN_LABEL, STACK_LABEL, Cluster, Stack

log = logging.getLogger(__name__)

ROLE: Final = "roles/container.admin and roles/iam.serviceAccountUser on the project"
POOL: Final = "default-pool"
DISK_GB: Final = 50
OPERATION: Final = "operation"
SCOPES: Final = (  # the least that serve: the bucket and the registry, logs, metrics
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/logging.write",
    "https://www.googleapis.com/auth/monitoring",
)
CALL: Final[dict[str, Any]] = {"retry": Retry(predicate=if_transient_error, initial=0.5, maximum=4, timeout=20), "timeout": 20}

_Status = types.Cluster.Status
_COMING: Final = frozenset({_Status.PROVISIONING, _Status.RECONCILING})


def ensure_cluster(client: Any, stack: Stack, wanted: Cluster, progress: dict[str, str]) -> Outcome:
    """Make the cluster be there, running, with the nodes that were asked for.

    :param client: A ``google.cloud.container_v1.ClusterManagerClient``.
    :param progress: Of the previous call; a cluster is only created when there was none.
    :raises DifferentError: A cluster of that name is not this stack's, or has other nodes.
    :raises StepFailedError: Google refused, or could not make it: names the reason, a quota for example.
    """
    operation = progress.get(OPERATION)
    found = _find(client, stack, wanted)
    if found is None and operation is None:
        return _create(client, stack, wanted)
    failure = _failure(client, stack, wanted, operation) if operation else None
    if failure:
        raise StepFailedError(f"Cluster {wanted.name} could not be created: {failure}")
    if found is None:
        if failure is None:  # the operation still runs
            return Pending(message=f"Cluster {wanted.name} is being created", progress=progress)
        raise StepFailedError(f"Cluster {wanted.name} was created and is gone again: someone deleted it; clear this task to create it anew")
    if found.status == _Status.STOPPING:
        return Pending(message=f"Cluster {wanted.name} is being deleted, and will be created anew after that", progress={})
    if differences := list(_differences(found, stack, wanted)):
        raise DifferentError(
            f"cluster {wanted.name}", differences, "choose another name, change the Params to match it, or run teardown_stack first"
        )
    if found.status in _COMING:
        return Pending(message=f"Cluster {wanted.name} is {_Status(found.status).name}", progress=progress)
    if found.status != _Status.RUNNING:
        reason = found.status_message or "; ".join(condition.message for condition in found.conditions) or "Google gives no reason"
        raise StepFailedError(
            f"Cluster {wanted.name} is {_Status(found.status).name}: {reason}. Remove it with teardown_stack, then provision again"
        )
    return Done(
        change=Change.of(found.resource_labels, run=stack.run),
        message=f"Cluster {wanted.name} is running as wanted: {wanted.node_count} x {wanted.machine_type} in {wanted.location}",
    )


def remove_cluster(client: Any, stack: Stack, wanted: Cluster, progress: dict[str, str], *, only_run: str | None = None) -> Outcome:
    """Delete the cluster and wait until it is gone. Its volumes and load balancers must be gone before: they outlive it, and cost.

    :param only_run: Delete it only if it was created by the run with this label.
    :raises DifferentError: The cluster is not this stack's.
    """
    found = _find(client, stack, wanted)
    if found is None:
        if progress:
            return Done(change=Change.REMOVED, message=f"Deleted cluster {wanted.name}")
        return Done(change=Change.ABSENT, message=f"Cluster {wanted.name} is not there")
    if differences := list(_label_differences(found, stack)):
        raise DifferentError(f"cluster {wanted.name}", differences, "if it may go, delete it by hand")
    if only_run is not None and found.resource_labels.get(RUN_LABEL) != only_run:
        return Done(change=Change.KEPT, message=f"Kept cluster {wanted.name}: an earlier run created it")
    if found.status == _Status.STOPPING:
        return Pending(message=f"Cluster {wanted.name} is being deleted", progress={OPERATION: "delete"})
    try:
        with translated(f"delete cluster {wanted.name}", permission=ROLE):
            client.delete_cluster(name=_path(stack, wanted), **CALL)
    except NotFound:
        return Done(change=Change.REMOVED, message=f"Deleted cluster {wanted.name}")
    except FailedPrecondition:  # Google runs one operation on a cluster at a time, and a create may take minutes
        return Pending(message=f"Cluster {wanted.name} is busy with another operation and will be deleted after it", progress=progress)
    log.info("asked for the deletion of cluster %s", wanted.name)
    return Pending(message=f"Cluster {wanted.name} is being deleted", progress={OPERATION: "delete"})


def describe(client: Any, stack: Stack, wanted: Cluster) -> Any | None:
    """The cluster as Google describes it, or None."""
    return _find(client, stack, wanted)


def cluster_body(stack: Stack, wanted: Cluster) -> Any:
    """What is asked of Google."""
    config = types.NodeConfig(
        machine_type=wanted.machine_type,
        disk_size_gb=DISK_GB,
        disk_type="pd-balanced",
        oauth_scopes=SCOPES,
        spot=wanted.spot,
        service_account=wanted.node_service_account or "",
        resource_labels=stack.labels,
        metadata={"disable-legacy-endpoints": "true"},
    )
    if wanted.workload_identity:
        config.workload_metadata_config = types.WorkloadMetadataConfig(mode=types.WorkloadMetadataConfig.Mode.GKE_METADATA)
    pool = types.NodePool(
        name=POOL,
        initial_node_count=wanted.node_count,
        config=config,
        management=types.NodeManagement(auto_upgrade=True, auto_repair=True),
    )
    if wanted.min_nodes is not None:
        pool.autoscaling = types.NodePoolAutoscaling(enabled=True, min_node_count=wanted.min_nodes, max_node_count=wanted.max_nodes)
    body = types.Cluster(
        name=wanted.name,
        node_pools=[pool],
        resource_labels={**stack.labels, RUN_LABEL: stack.run},
        ip_allocation_policy=types.IPAllocationPolicy(use_ip_aliases=True),
        release_channel=types.ReleaseChannel(channel=types.ReleaseChannel.Channel.REGULAR),
    )
    if wanted.workload_identity:
        body.workload_identity_config = types.WorkloadIdentityConfig(workload_pool=f"{stack.project}.svc.id.goog")
    return body


def _create(client: Any, stack: Stack, wanted: Cluster) -> Outcome:
    parent = f"projects/{stack.project}/locations/{wanted.location}"
    try:
        with translated(f"create cluster {wanted.name} in {parent}", permission=ROLE):
            operation = client.create_cluster(parent=parent, cluster=cluster_body(stack, wanted), **CALL)
    except AlreadyExists:  # a lost answer, or another run: the next call looks at what is there
        return Pending(message=f"Cluster {wanted.name} was created meanwhile")
    except NotFound as exc:
        raise StepFailedError(
            f"Cannot create cluster {wanted.name}: {parent} does not exist: {exc.message}. Correct project or location"
        ) from exc
    log.info("creating cluster %s: operation %s", wanted.name, operation.name)
    return Pending(message=f"Cluster {wanted.name} is being created", progress={OPERATION: operation.name})


def _find(client: Any, stack: Stack, wanted: Cluster) -> Any | None:
    try:
        with translated(f"look at cluster {wanted.name}", permission=ROLE):
            return client.get_cluster(name=_path(stack, wanted), **CALL)
    except NotFound:
        return None


def _failure(client: Any, stack: Stack, wanted: Cluster, operation: str) -> str | None:
    """Why the create operation failed; "" when it ended well, None while it runs."""
    name = f"projects/{stack.project}/locations/{wanted.location}/operations/{operation}"
    try:
        with translated(f"look at operation {operation}", permission=ROLE):
            found = client.get_operation(name=name, **CALL)
    except NotFound:
        return ""  # Google forgets operations; the cluster itself has the last word
    if found.status != types.Operation.Status.DONE:
        return None
    # DONE does not mean done well.
    return str(found.error.message or found.status_message or f"error code {found.error.code}") if found.error.code else ""


def _path(stack: Stack, wanted: Cluster) -> str:
    return f"projects/{stack.project}/locations/{wanted.location}/clusters/{wanted.name}"


def _differences(found: Any, stack: Stack, wanted: Cluster) -> Iterator[str]:
    yield from _label_differences(found, stack)
    pool = next((pool for pool in found.node_pools if pool.name == POOL), None)
    if pool is None:
        yield f"it has no node pool {POOL}"
        return
    asked = cluster_body(stack, wanted)
    asked_pool = asked.node_pools[0]
    for field, there, here in (
        ("machine_type", pool.config.machine_type, asked_pool.config.machine_type),
        ("node_count", pool.initial_node_count, asked_pool.initial_node_count),
        ("spot", pool.config.spot, asked_pool.config.spot),
        ("min_nodes", pool.autoscaling.min_node_count, asked_pool.autoscaling.min_node_count),
        ("max_nodes", pool.autoscaling.max_node_count, asked_pool.autoscaling.max_node_count),
        ("workload identity pool", found.workload_identity_config.workload_pool, asked.workload_identity_config.workload_pool),
    ):
        if there != here:
            yield f"{field} is {there or 'not set'}, asked for {here or 'none'}"
    if missing := sorted(set(SCOPES) - set(pool.config.oauth_scopes) - _all_scopes(pool.config.oauth_scopes)):
        yield f"its nodes lack the scopes {', '.join(missing)}"


def _all_scopes(scopes: Any) -> set[str]:
    return set(SCOPES) if "https://www.googleapis.com/auth/cloud-platform" in scopes else set()


def _label_differences(found: Any, stack: Stack) -> Iterator[str]:
    labels = found.resource_labels
    if labels.get(MANAGED_BY) != OWNER:
        yield f"it has no label {MANAGED_BY}={OWNER}, so it is not Tuskwatch's"
    elif labels.get(STACK_LABEL) != stack.name:
        yield f"it belongs to the stack {labels.get(STACK_LABEL)}, not to {stack.name}"
