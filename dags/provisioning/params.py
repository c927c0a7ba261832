"""The forms of the three DAGs: their Params, and how a run's Params become a stack."""

import os
from typing import Any, Final

from airflow.sdk import Param

# What provision_stack made last, so that check and teardown need not be told again. It holds no secret.
STACK_VARIABLE: Final = "tuskwatch_stack"

_WHERE: Final = "Where"
_CLUSTER: Final = "Cluster (GKE)"
_PACHYDERM: Final = "Pachyderm"
_ACCESS: Final = "Access"
_CONNECTIONS: Final = "Connections"
_TEXT: Final = ["null", "string"]


def poll_interval() -> float:
    """Seconds between two looks of a waiting task: ``TUSKWATCH_POLL_SECONDS``, which tests set low."""
    return float(os.environ.get("TUSKWATCH_POLL_SECONDS", "10"))


def provision_params() -> dict[str, Param]:
    """Of ``provision_stack``."""
    return {
        "target": Param(
            "gke",
            type="string",
            enum=["gke", "existing"],
            values_display={"gke": "A GKE cluster of its own", "existing": "A cluster that exists (connection kubernetes_default)"},
            title="Target",
            section=_WHERE,
        ),
        "project": Param(None, type=_TEXT, title="Google Cloud project", description="Its id. Owns bucket and cluster.", section=_WHERE),
        "location": Param(
            "us-east1-b", type="string", title="Zone or region", description="A region makes three times the nodes.", section=_WHERE
        ),
        "name": Param("tuskwatch", type="string", title="Stack", description="Labels all that belongs together.", section=_WHERE),
        "namespace": Param("tuskwatch", type="string", title="Namespace", section=_WHERE),
        "bucket": Param(
            None,
            type=_TEXT,
            title="Bucket",
            description="For Pachyderm's data; must be new, or this stack's. Empty on an existing cluster: data on its only node's disk.",
            section=_WHERE,
        ),
        "bucket_location": Param("us-east1", type="string", title="Bucket location", section=_WHERE),
        "bucket_versioning": Param(False, type="boolean", title="Keep old versions of objects (billed)", section=_WHERE),
        "cluster": Param("tuskwatch", type="string", title="Cluster name", section=_CLUSTER),
        "machine_type": Param(
            "n1-standard-4",
            type="string",
            title="Machine type",
            description="n2-standard-4 is the modern equivalent of n1-standard-4; e2-standard-4 is cheaper and slower.",
            examples=["n1-standard-4", "n2-standard-4", "e2-standard-4", "n2-standard-8"],
            section=_CLUSTER,
        ),
        "node_count": Param(2, type="integer", minimum=1, maximum=100, title="Nodes", section=_CLUSTER),
        "min_nodes": Param(None, type=["null", "integer"], minimum=1, title="Autoscaling: fewest nodes", section=_CLUSTER),
        "max_nodes": Param(None, type=["null", "integer"], minimum=1, title="Autoscaling: most nodes", section=_CLUSTER),
        "spot": Param(False, type="boolean", title="Spot nodes: cheap, may vanish at any time", section=_CLUSTER),
        "node_service_account": Param(None, type=_TEXT, title="Service account of the nodes", section=_CLUSTER),
        "workload_identity": Param(
            None, type=_TEXT, title="Workload Identity", description="Google service account that Pachyderm acts as.", section=_CLUSTER
        ),
        "node_price": Param(None, type=["null", "number"], minimum=0, title="Your price of a node, $ per hour", section=_CLUSTER),
        "chart": Param(
            "https://helm.pachyderm.com",
            type="string",
            title="Chart",
            description="A chart repository (https://), a registry (oci://), or an archive in a bucket (gs://).",
            section=_PACHYDERM,
        ),
        "chart_version": Param("2.11.6", type="string", title="Chart version", section=_PACHYDERM),
        "chart_sha256": Param(
            None, type=_TEXT, title="Chart digest", description="SHA-256 of the archive. Required for gs://.", section=_PACHYDERM
        ),
        "image_registry": Param(None, type=_TEXT, title="Registry of Pachyderm's images", section=_PACHYDERM),
        "image_tag": Param(None, type=_TEXT, title="Tag of pachd's image", section=_PACHYDERM),
        "helm_image": Param("docker.io/alpine/helm:3.18.6", type="string", title="Image that runs Helm", section=_PACHYDERM),
        "storage_gb": Param(
            20, type="integer", minimum=10, title="Volumes, GB", description="One for etcd, one for PostgreSQL.", section=_PACHYDERM
        ),
        "storage_class": Param(None, type=_TEXT, title="Storage class of the volumes", section=_PACHYDERM),
        "console": Param(True, type="boolean", title="Dashboard (Console)", section=_PACHYDERM),
        "upgrade": Param(False, type="boolean", title="Change a release that has other values", section=_PACHYDERM),
        "exposure": Param(
            "port-forward",
            type="string",
            enum=["port-forward", "load-balancer"],
            title="Access from outside the cluster",
            section=_ACCESS,
        ),
        "source_ranges": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Allowed source ranges",
            description="Who may reach the load balancer, as CIDR; one per line.",
            section=_ACCESS,
        ),
        "load_balancer_ip": Param(None, type=_TEXT, title="Reserved address of the load balancer", section=_ACCESS),
        "google_conn_id": Param("google_cloud_default", type="string", title="Google connection", section=_CONNECTIONS),
        "kubernetes_conn_id": Param("kubernetes_default", type="string", title="Kubernetes connection", section=_CONNECTIONS),
        "storage_key_conn_id": Param(
            None, type=_TEXT, title="Google connection whose key Pachyderm uses for the bucket", section=_CONNECTIONS
        ),
        "bootstrap": Param(True, type="boolean", title="Create the pipelines at the end", section=_PACHYDERM),
    }


def recorded_stack() -> dict[str, Any] | None:
    """The stack that ``provision_stack`` made last, or None. Only in tasks: it asks Airflow's API."""
    from airflow.sdk import Variable

    found = Variable.get(STACK_VARIABLE, default=None, deserialize_json=True)
    return dict(found) if found else None


def record_stack(stack: dict[str, Any] | None) -> None:
    """Remember a stack for check and teardown, or forget it. Only in tasks."""
    from airflow.sdk import Variable

    if stack is None:
        Variable.delete(STACK_VARIABLE)
    else:
        Variable.set(STACK_VARIABLE, stack, serialize_json=True, description="What provision_stack made last; no secrets")
