"""What a user asks for: the stack's parts as frozen values, parsed once from a DAG's Params."""

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, Self

import msgspec

from dags.provisioning.errors import StackInvalidError

MANAGED_BY: Final = "managed-by"
OWNER: Final = "tuskwatch"
STACK_LABEL: Final = "tuskwatch-stack"
RUN_LABEL: Final = "tuskwatch-run"

_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_BUCKET: Final = re.compile(r"[a-z0-9][-_.a-z0-9]{1,61}[a-z0-9]")
_PROJECT: Final = re.compile(r"[a-z][-a-z0-9]{4,28}[a-z0-9]")
_ZONE: Final = re.compile(r"[a-z]+(-[a-z]+)+\d+-[a-z]")
_REGION: Final = re.compile(r"[a-z]+(-[a-z]+)+\d+")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CHART: Final = re.compile(r"([a-z][a-z0-9+.-]*://|/)[^\s'\"$`\\]+")
_PULLED: Final = ("oci://", "https://")  # what Helm itself can pull a chart from, in the cluster


class Target(StrEnum):
    """Where Pachyderm runs."""

    GKE = "gke"
    EXISTING = "existing"


class Exposure(StrEnum):
    """How people reach Pachyderm and its Console."""

    PORT_FORWARD = "port-forward"
    LOAD_BALANCER = "load-balancer"


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A Cloud Storage bucket for Pachyderm's data. Access is uniform and public access is prevented, always."""

    name: str
    location: str
    versioning: bool = False


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """A GKE cluster with one node pool.

    :ivar location: A zone, or a region (then every count is *per zone*, of usually three).
    :ivar min_nodes: With ``max_nodes`` the bounds of autoscaling; both None: no autoscaling.
    :ivar node_service_account: Google service account of the nodes; None: the project's default one.
    :ivar workload_identity: Google service account that Pachyderm acts as; None: it acts as its node.
    """

    name: str
    location: str
    machine_type: str = "n1-standard-4"
    node_count: int = 2
    min_nodes: int | None = None
    max_nodes: int | None = None
    spot: bool = False
    node_service_account: str | None = None
    workload_identity: str | None = None

    @property
    def is_regional(self) -> bool:
        """The nodes are multiplied by the region's zones."""
        return _REGION.fullmatch(self.location) is not None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Pachyderm by its Helm chart.

    :ivar chart: ``oci://registry/pachyderm``, the ``https://`` address of a chart repository, or the path or URL of an archive
        (``pachyderm-X.tgz``), anything that fsspec opens.
    :ivar version: The chart's version.
    :ivar sha256: Of the chart's archive, 64 hex digits; needed for an archive.
    :ivar image_tag: Tag of the Pachyderm images; None: the chart's own.
    :ivar image_registry: Registry to pull them from; None: the chart's own.
    :ivar helm_image: Image with ``helm`` and a shell, which installs the chart.
    :ivar storage_gb: Size of the etcd volume, and of the PostgreSQL volume, in GB.
    :ivar storage_class: Their storage class; None: the cluster's default.
    :ivar allowed_upgrade: A release with other values may be changed to these.
    """

    chart: str
    version: str
    sha256: str | None = None
    image_tag: str | None = None
    image_registry: str | None = None
    helm_image: str = "docker.io/alpine/helm:3.18.6"
    storage_gb: int = 20
    storage_class: str | None = None
    console: bool = True
    allowed_upgrade: bool = False

    @property
    def is_archive(self) -> bool:
        """``chart`` is an archive, which is read here and handed to Helm; otherwise Helm pulls it."""
        return not self.chart.startswith(_PULLED) or (self.chart.startswith("https://") and self.chart.endswith(".tgz"))


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of the Airflow connections that the steps use. Ids only: a secret never leaves its connection.

    :ivar storage_key: Google connection whose key Pachyderm uses for the bucket; None: its node's or workload's identity.
    """

    google: str = "google_cloud_default"
    kubernetes: str = "kubernetes_default"
    pachyderm: str = "pachyderm_default"
    storage_key: str | None = None


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one provision run makes, and what teardown and check look for.

    :ivar run: Identifies the run that asks, in labels: what it created may be removed when it fails.
    """

    target: Target
    release: Release
    run: str
    name: str = "tuskwatch"
    namespace: str = "tuskwatch"
    project: str | None = None
    bucket: Bucket | None = None
    cluster: Cluster | None = None
    exposure: Exposure = Exposure.PORT_FORWARD
    source_ranges: tuple[str, ...] = ()
    load_balancer_ip: str | None = None
    connections: Connections = Connections()

    @property
    def labels(self) -> dict[str, str]:
        """Labels by which all that belongs to this stack is found again."""
        return {MANAGED_BY: OWNER, STACK_LABEL: self.name}

    @property
    def identity(self) -> dict[str, str | None]:
        """What teardown has to know to find all parts; another value is another stack."""
        return {
            "target": self.target.value,
            "name": self.name,
            "project": self.project,
            "bucket": self.bucket.name if self.bucket else None,
            "cluster": self.cluster.name if self.cluster else None,
            "location": self.cluster.location if self.cluster else None,
            "namespace": self.namespace,
            "google_conn_id": self.connections.google,
            "kubernetes_conn_id": self.connections.kubernetes,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any], *, run_id: str) -> Self:
        """Read the Params of ``provision_stack``.

        :param run_id: The DAG run's id.
        :raises StackInvalidError: Names every Param that cannot work.
        """
        given = {name: value for name, value in params.items() if value is not None and value != ""}
        target = given.get("target", Target.GKE)
        parts: dict[str, Any] = {
            "target": target,
            "run": run_label(run_id),
            "release": _fields(Release, given, rename={"chart_version": "version", "chart_sha256": "sha256", "upgrade": "allowed_upgrade"}),
            "connections": _fields(Connections, given, rename={f"{name}_conn_id": name for name in Connections.__struct_fields__}),
            **_fields(cls, given, skip={"target", "run", "release", "connections", "bucket", "cluster"}),
        }
        if "bucket" in given:
            parts["bucket"] = _fields(
                Bucket, given, rename={"bucket": "name", "bucket_location": "location", "bucket_versioning": "versioning"}
            )
        if target == Target.GKE:
            parts["cluster"] = _fields(Cluster, given, rename={"cluster": "name"}, skip={"name"})
        try:
            stack = msgspec.convert(parts, cls)
        except msgspec.ValidationError as exc:
            raise StackInvalidError(f"The Params do not describe a stack: {exc}; correct them and trigger the DAG again") from exc
        if problems := list(_problems(stack)):
            raise StackInvalidError(f"The Params do not describe a stack: {'; '.join(problems)}. Correct them and trigger the DAG again")
        return stack

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Read what :meth:`to_dict` made.

        :raises StackInvalidError: It is something else.
        """
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError as exc:
            raise StackInvalidError(f"This is not the record of a stack: {exc}; run provision_stack again, which writes a new one") from exc

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values, without any secret."""
        value: dict[str, Any] = msgspec.to_builtins(self)
        return value


def run_label(run_id: str) -> str:
    """A DAG run's id as a label value, which may not hold the id's colons and plus signs."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:20]


def _fields(
    part: type[msgspec.Struct], given: Mapping[str, Any], *, rename: Mapping[str, str] | None = None, skip: set[str] | None = None
) -> dict[str, Any]:
    """The Params that are fields of ``part``, under the fields' names."""
    rename = rename or {}
    wanted = set(part.__struct_fields__) - set(rename.values()) - (skip or set())
    return {name: given[name] for name in wanted if name in given} | {field: given[name] for name, field in rename.items() if name in given}


def _problems(stack: Stack) -> list[str]:
    problems = [
        f"{field} {value!r} must be lower-case letters, digits and hyphens, begin with a letter, and have at most 40 characters"
        for field, value in [
            ("name", stack.name),
            ("namespace", stack.namespace),
            ("cluster", stack.cluster.name if stack.cluster else "x"),
        ]
        if not _NAME.fullmatch(value)
    ]
    if stack.target is Target.GKE and not (stack.project and _PROJECT.fullmatch(stack.project)):
        problems.append(f"project {stack.project!r} is no Google Cloud project id (6 to 30 lower-case letters, digits and hyphens)")
    if stack.target is Target.GKE and stack.bucket is None:
        problems.append("bucket is needed on GKE: the name of the bucket that will hold Pachyderm's data")
    if stack.bucket and not stack.project:
        problems.append("project is needed for the bucket: the id of the Google Cloud project that owns it")
    if stack.bucket and not _BUCKET.fullmatch(stack.bucket.name):
        problems.append(f"bucket {stack.bucket.name!r} is no bucket name (3 to 63 lower-case letters, digits, '-', '_' and '.')")
    if stack.cluster:
        problems += _cluster_problems(stack.cluster)
    return problems + _release_problems(stack.release) + _exposure_problems(stack)


def _cluster_problems(cluster: Cluster) -> list[str]:
    problems = []
    if not (_ZONE.fullmatch(cluster.location) or cluster.is_regional):
        problems.append(f"location {cluster.location!r} is neither a zone like us-east1-b nor a region like us-east1")
    if cluster.node_count < 1:
        problems.append(f"node_count is {cluster.node_count}; at least one node is needed")
    if (cluster.min_nodes is None) != (cluster.max_nodes is None):
        problems.append("min_nodes and max_nodes belong together: give both, or neither for a fixed size")
    elif (
        cluster.min_nodes is not None and cluster.max_nodes is not None and not cluster.min_nodes <= cluster.node_count <= cluster.max_nodes
    ):
        problems.append(f"node_count {cluster.node_count} is not between min_nodes {cluster.min_nodes} and max_nodes {cluster.max_nodes}")
    return problems


def _release_problems(release: Release) -> list[str]:
    problems = []
    if not _CHART.fullmatch(release.chart):
        problems.append(
            f"chart {release.chart!r} must be an oci:// or https:// address, or an archive's path from / or URL, without blanks and quotes"
        )
    if release.sha256 is not None and not _SHA256.fullmatch(release.sha256):
        problems.append(f"chart_sha256 {release.sha256!r} is not a SHA-256 digest of 64 lower-case hex digits")
    elif release.is_archive and release.sha256 is None:
        problems.append("chart_sha256 is needed for an archive: what sha256sum prints for the file that you put there")
    return problems


def _exposure_problems(stack: Stack) -> list[str]:
    if stack.exposure is Exposure.PORT_FORWARD:
        return []
    if not stack.source_ranges:
        return ["source_ranges is empty: a load balancer needs the address ranges that may reach it, for example 203.0.113.7/32"]
    problems = []
    for text in stack.source_ranges:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as exc:
            problems.append(f"source_ranges: {exc}")
            continue
        if network.prefixlen < (8 if network.version == 4 else 32):
            problems.append(f"source_ranges: {text} is open to the world, and Pachyderm's auth is off; name the networks that need access")
    return problems
