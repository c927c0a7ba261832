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
            description="On a cluster that exists, the zone and all fields under Cluster (GKE) are not used.",
            section=_WHERE,
        ),
        "project": Param(
            None,
            type=_TEXT,
            title="Google Cloud project",
            description="Its id. Owns bucket and cluster. Needed on GKE, and wherever there is a bucket.",
            section=_WHERE,
        ),
        "location": Param(
            "us-east1-b",
            type="string",
            title="Zone or region",
            description="Of the cluster: us-east1-b, or us-east1. A region makes three times the nodes.",
            section=_WHERE,
        ),
        "name": Param(
            "tuskwatch",
            type="string",
            title="Stack",
            description="Labels all that belongs together; teardown_stack asks for it.",
            section=_WHERE,
        ),
        "namespace": Param(
            "tuskwatch",
            type="string",
            title="Namespace",
            description="Of Kubernetes, for all of Pachyderm. It is made here; one that is there must be this stack's.",
            section=_WHERE,
        ),
        "bucket": Param(
            None,
            type=_TEXT,
            title="Bucket",
            description="For Pachyderm's data; must be new, or this stack's. Needed on GKE. Empty on an existing cluster: data on its only "
            "node's disk.",
            section=_WHERE,
        ),
        "bucket_location": Param(
            "us-east1",
            type="string",
            title="Bucket location",
            description="A region, best the cluster's. A bucket never moves: another location than it has is refused.",
            section=_WHERE,
        ),
        "bucket_versioning": Param(
            False,
            type="boolean",
            title="Keep old versions of objects (billed)",
            description="What Pachyderm deletes stays in the bucket as an old version.",
            section=_WHERE,
        ),
        "cluster": Param(
            "tuskwatch",
            type="string",
            title="Cluster name",
            description="It is made here; one that is there must be this stack's and have these nodes.",
            section=_CLUSTER,
        ),
        "machine_type": Param(
            "n1-standard-4",
            type="string",
            title="Machine type",
            description="n2-standard-4 is the modern equivalent of n1-standard-4; e2-standard-4 is cheaper and slower.",
            examples=["n1-standard-4", "n2-standard-4", "e2-standard-4", "n2-standard-8"],
            section=_CLUSTER,
        ),
        "node_count": Param(
            2,
            type="integer",
            minimum=1,
            maximum=100,
            title="Nodes",
            description="In a region: for each of its zones. With autoscaling: at first.",
            section=_CLUSTER,
        ),
        "min_nodes": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Autoscaling: fewest nodes",
            description="Give fewest and most, or neither: then there is no autoscaling. In a region: for each of its zones.",
            section=_CLUSTER,
        ),
        "max_nodes": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Autoscaling: most nodes",
            description="The number of nodes must lie between fewest and most. The estimate says what the most cost.",
            section=_CLUSTER,
        ),
        "spot": Param(
            False,
            type="boolean",
            title="Spot nodes: cheap, may vanish at any time",
            description="All nodes, also the one that Pachyderm's database runs on. 60 % off the list price or more.",
            section=_CLUSTER,
        ),
        "node_service_account": Param(
            None,
            type=_TEXT,
            title="Service account of the nodes",
            description="Google service account, by its address (…@….iam.gserviceaccount.com). It pulls images and, without Workload "
            "Identity, uses the bucket. Empty: the project's default one.",
            section=_CLUSTER,
        ),
        "workload_identity": Param(
            None,
            type=_TEXT,
            title="Workload Identity",
            description="Google service account that Pachyderm acts as, by its address; see Permissions in docs/production.md. "
            "Empty: it acts as its node.",
            section=_CLUSTER,
        ),
        "node_price": Param(
            None,
            type=["null", "number"],
            minimum=0,
            title="Your price of a node, $ per hour",
            description="Only for the estimate, instead of the list price; spot nodes get no further discount.",
            section=_CLUSTER,
        ),
        "chart": Param(
            "https://helm.pachyderm.com",
            type="string",
            title="Chart",
            description="A chart repository (https://), a registry (oci://), or an archive (….tgz): a path that workers read, or any URL "
            "that fsspec opens, such as file://, gs:// or gs://connection@bucket/.",
            section=_PACHYDERM,
        ),
        "chart_version": Param(
            "2.11.6",
            type="string",
            title="Chart version",
            description="What Helm pulls. Of an archive: the version that it has.",
            section=_PACHYDERM,
        ),
        "chart_sha256": Param(
            None,
            type=_TEXT,
            title="Chart digest",
            description="SHA-256 of the archive, as sha256sum prints it: another archive is not installed. Required for an archive.",
            section=_PACHYDERM,
        ),
        "image_registry": Param(
            None,
            type=_TEXT,
            title="Registry of Pachyderm's images",
            description="A mirror of yours (the chart's global.image.registry). Empty: where the chart says.",
            section=_PACHYDERM,
        ),
        "image_tag": Param(
            None,
            type=_TEXT,
            title="Tag of pachd's image",
            description="Another version of pachd than the chart's. Empty: the chart's own.",
            section=_PACHYDERM,
        ),
        "helm_image": Param(
            "docker.io/alpine/helm:3.18.6",
            type="string",
            title="Image that runs Helm",
            description="In the cluster, to install and to remove the chart. Another one needs helm and a shell.",
            section=_PACHYDERM,
        ),
        "storage_gb": Param(
            20,
            type="integer",
            minimum=10,
            title="Volumes, GB",
            description="Of each of two: one for etcd, one for PostgreSQL.",
            section=_PACHYDERM,
        ),
        "storage_class": Param(
            None,
            type=_TEXT,
            title="Storage class of the volumes",
            description="Empty: the cluster's default. teardown_stack leaves the disks of a class whose reclaim policy is Retain.",
            section=_PACHYDERM,
        ),
        "console": Param(
            True,
            type="boolean",
            title="Dashboard (Console)",
            description="Install Pachyderm's own dashboard too. The page Pachyderm in Airflow does not need it.",
            section=_PACHYDERM,
        ),
        "upgrade": Param(
            False,
            type="boolean",
            title="Change a release that has other values",
            description="Pachyderm is installed with another chart or other values: change it. Off: the difference is refused by name.",
            section=_PACHYDERM,
        ),
        "exposure": Param(
            "port-forward",
            type="string",
            enum=["port-forward", "load-balancer"],
            title="Access from outside the cluster",
            description="port-forward opens nothing: the task pachd prints the kubectl command for the way in. "
            "load-balancer is billed, and open to the ranges below.",
            section=_ACCESS,
        ),
        "source_ranges": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Allowed source ranges",
            description="Who may reach the load balancer, as CIDR; one per line. Needed for one; ranges open to the world are refused.",
            section=_ACCESS,
        ),
        "load_balancer_ip": Param(
            None,
            type=_TEXT,
            title="Reserved address of the load balancer",
            description="Lets you make the Pachyderm connection beforehand. Empty: the cloud picks one.",
            section=_ACCESS,
        ),
        "google_conn_id": Param(
            "google_cloud_default",
            type="string",
            title="Google connection",
            description="Airflow connection that makes bucket and cluster, logs in to the cluster, and reads a chart from gs:// whose URL "
            "names no other.",
            section=_CONNECTIONS,
        ),
        "kubernetes_conn_id": Param(
            "kubernetes_default",
            type="string",
            title="Kubernetes connection",
            description="Airflow connection with the kubeconfig of a cluster that exists. Not used on GKE.",
            section=_CONNECTIONS,
        ),
        "storage_key_conn_id": Param(
            None,
            type=_TEXT,
            title="Google connection whose key Pachyderm uses for the bucket",
            description="The key must be in its field Keyfile JSON. Empty: Pachyderm acts as its node, or by Workload Identity.",
            section=_CONNECTIONS,
        ),
        "bootstrap": Param(
            True,
            type="boolean",
            title="Create the pipelines at the end",
            description="Triggers bootstrap_pipelines; unpause it before, or the run fails there.",
            section=_PACHYDERM,
        ),
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
