"""From the ids of Airflow connections to clients: the only module here that reads connections.

Each client's library is loaded when it is used.

What tests replace, they replace by configuration: the extra ``gke_endpoint`` of the Google connection (a plaintext gRPC server on a
loopback address instead of Google's), the variable ``STORAGE_EMULATOR_HOST`` that Google's own storage client reads, the address of the
cluster in a kubeconfig or in the cluster's description, and the Pachyderm connection's host.
"""

import ipaddress
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook

from airflow_pachyderm.hooks.pachyderm import PachydermHook
from dags.provisioning.errors import StackInvalidError, StepFailedError
from dags.provisioning.stack import Cluster, Stack

if TYPE_CHECKING:
    from dags.provisioning.kube import Kube

ENDPOINT_EXTRA: Final = "gke_endpoint"
LONGEST_ARCHIVE: Final = 750_000  # bytes of a chart; in base64 they must fit into a ConfigMap, for which Kubernetes takes 1 MiB
_MISSING_CHART: Final = "put the archive where this worker can read it, or correct the Param chart"


class Clients:
    """The clients for one stack, each made when it is first needed."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    @cached_property
    def storage(self) -> Any:
        """A ``google.cloud.storage.Client``."""
        from airflow.providers.google.cloud.hooks.gcs import GCSHook

        return GCSHook(gcp_conn_id=self.stack.connections.google).get_conn()

    @cached_property
    def clusters(self) -> Any:
        """A ``google.cloud.container_v1.ClusterManagerClient``."""
        from airflow.providers.google.cloud.hooks.kubernetes_engine import GKEHook

        endpoint = BaseHook.get_connection(self.stack.connections.google).extra_dejson.get(ENDPOINT_EXTRA)
        if endpoint:
            return _loopback_cluster_manager(str(endpoint))
        return GKEHook(gcp_conn_id=self.stack.connections.google).get_cluster_manager_client()

    @cached_property
    def kube(self) -> "Kube":
        """The cluster's API.

        :raises StepFailedError: There is no such cluster.
        """
        from dags.provisioning.kube import Kube

        wanted = self.stack.cluster
        if wanted is None:
            from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

            return Kube(KubernetesHook(conn_id=self.stack.connections.kubernetes).get_conn())
        from airflow.providers.google.cloud.hooks.kubernetes_engine import GKEKubernetesHook

        from dags.provisioning.cluster import describe
        from dags.provisioning.google_errors import translated

        found = describe(self.clusters, self.stack, wanted)
        if found is None or not found.endpoint:
            raise StepFailedError(f"Cluster {wanted.name} in {wanted.location} has no address yet: run provision_stack first")
        hook = GKEKubernetesHook(
            gcp_conn_id=self.stack.connections.google,
            cluster_url=f"https://{found.endpoint}",
            ssl_ca_cert=found.master_auth.cluster_ca_certificate,
        )
        with translated(f"log in to cluster {wanted.name}", permission="roles/container.admin on the project"):
            return Kube(hook.get_conn())

    @cached_property
    def pachyderm(self) -> PachydermHook:
        """Pachyderm, at the address in its connection."""
        return PachydermHook(self.stack.connections.pachyderm)

    def cluster_exists(self) -> bool:
        """Whether there is a cluster to talk to; one that was there before always is."""
        wanted: Cluster | None = self.stack.cluster
        if wanted is None:
            return True
        from dags.provisioning.cluster import describe

        found = describe(self.clusters, self.stack, wanted)
        return found is not None and bool(found.endpoint)

    def storage_key(self) -> str | None:
        """The JSON key with which Pachyderm reaches the bucket; None where its node's or workload's identity serves.

        :raises StackInvalidError: The connection has no key.
        """
        conn_id = self.stack.connections.storage_key
        if conn_id is None:
            return None
        key = BaseHook.get_connection(conn_id).extra_dejson.get("keyfile_dict")
        if not key:
            raise StackInvalidError(f"Connection {conn_id} has no key: put a service account's JSON key into its field Keyfile JSON")
        return key if isinstance(key, str) else json.dumps(key)

    def chart_archive(self) -> bytes | None:
        """The chart's archive; None when Helm pulls it from a repository or a registry.

        No more than :data:`LONGEST_ARCHIVE` bytes and one are read: what is longer is none that could be installed.

        :raises StackInvalidError: It is not there, or must not be read.
        """
        release = self.stack.release
        if not release.is_archive:
            return None
        if release.chart.startswith("gs://") and "@" not in release.chart.removeprefix("gs://").partition("/")[0]:
            return self._from_bucket(release.chart)
        from airflow_pachyderm.files import open_filesystem

        try:
            filesystem, path = open_filesystem(release.chart)
            with filesystem.open(path, "rb") as stream:
                archive: bytes = stream.read(LONGEST_ARCHIVE + 1)
        except FileNotFoundError as exc:
            raise StackInvalidError(f"There is no chart at {release.chart}: {_MISSING_CHART}") from exc
        except Exception as exc:  # each fsspec back end raises its own SDK's errors; this is their edge
            raise StackInvalidError(f"The chart {release.chart} cannot be read: {exc}; {_MISSING_CHART}") from exc
        return archive

    def _from_bucket(self, chart: str) -> bytes:
        """From a ``gs://`` URL that names no connection: with this stack's Google connection, and Google's own client."""
        from google.api_core.exceptions import NotFound

        from dags.provisioning.google_errors import CALL, translated

        bucket, _, name = chart.removeprefix("gs://").partition("/")
        try:
            with translated(f"read the chart {chart}", permission="roles/storage.objectViewer on its bucket"):
                archive: bytes = self.storage.bucket(bucket).blob(name).download_as_bytes(end=LONGEST_ARCHIVE, **CALL)
        except NotFound as exc:
            raise StackInvalidError(f"There is no chart at {chart}: {_MISSING_CHART}") from exc
        return archive


def _loopback_cluster_manager(endpoint: str) -> Any:
    import grpc
    from google.cloud.container_v1 import ClusterManagerClient
    from google.cloud.container_v1.services.cluster_manager.transports import ClusterManagerGrpcTransport

    host = endpoint.rpartition(":")[0]
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:  # no credentials go over it, but nobody should be able to answer in Google's place
        raise StackInvalidError(
            f"{ENDPOINT_EXTRA} of the Google connection is {endpoint!r}: only a loopback address, for tests, can replace Google's API"
        )
    channel = grpc.insecure_channel(endpoint, options=[("grpc.enable_http_proxy", 0)])
    return ClusterManagerClient(transport=ClusterManagerGrpcTransport(channel=channel))
