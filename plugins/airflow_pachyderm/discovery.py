"""Where a Pachyderm in Kubernetes listens, when a connection names its service instead of a host."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_pachyderm.connection import AirflowConnection, PachydermConnection, Service
from airflow_pachyderm.exceptions import PachydermError, PachydermInvalidError, PachydermNotFoundError, PachydermUnavailableError

if TYPE_CHECKING:
    from airflow.sdk import Connection

# What Pachyderm's Helm chart calls the port for clients: of the proxy's service, and of pachd's own.
_PORT_NAMES: Final = ("https-port", "grpc-port", "api-grpc-port", "http-port")


def connect(conn: AirflowConnection) -> PachydermConnection:
    """The connection's fields, with host and port looked up where it names a service. It may call Kubernetes: not on an event loop.

    :raises PachydermInvalidError: A field cannot be used.
    :raises PachydermNotFoundError: There is no such service.
    :raises PachydermUnavailableError: Kubernetes does not answer, or the service has no address yet.
    """
    parsed = PachydermConnection.parse(conn)
    if parsed.service is None:
        return parsed
    host, port = _address(parsed.service)
    # A port in the connection is somebody's wish; without one the service knows.
    return replace(parsed, host=host, port=conn.port or port)


async def aconnect(conn: "Connection") -> PachydermConnection:
    """As :func:`connect`, for event loops."""
    from asgiref.sync import sync_to_async

    parsed = PachydermConnection.parse(conn)
    return parsed if parsed.service is None else await sync_to_async(connect)(conn)


def _address(service: Service) -> tuple[str, int]:
    """Host and port: those of the load balancer, or the cluster's own name for a worker in the cluster."""
    found = _read(service)
    ports: list[Any] = found.spec.ports or []
    if not ports:
        raise PachydermInvalidError(f"Kubernetes {service} has no port; name Pachyderm's service")
    by_name: Mapping[str, Any] = {port.name: port for port in ports}
    port = next((by_name[name] for name in _PORT_NAMES if name in by_name), ports[0])
    for ingress in (found.status.load_balancer and found.status.load_balancer.ingress) or []:
        if ingress.ip or ingress.hostname:
            return ingress.ip or ingress.hostname, port.port
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return f"{service.name}.{service.namespace}.svc", port.port
    if found.spec.type == "LoadBalancer":
        raise PachydermUnavailableError(f"Kubernetes {service} has no address yet: its load balancer is being made; try again in a minute")
    raise PachydermInvalidError(
        f"Kubernetes {service} is of type {found.spec.type}, which is reached only from inside the cluster: expose it by a load balancer, "
        "or run this worker in the cluster"
    )


def _read(service: Service) -> Any:
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return KubernetesHook(conn_id=service.conn_id).core_v1_client.read_namespaced_service(service.name, service.namespace)
    except ApiException as exc:
        kind: type[PachydermError] = PachydermNotFoundError if exc.status == 404 else PachydermUnavailableError
        raise kind(f"Cannot look up Kubernetes {service}: {exc.status} {exc.reason}; correct namespace and service, or its rights") from exc
    except HTTPError as exc:
        raise PachydermUnavailableError(f"Cannot look up Kubernetes {service}: {exc}; correct connection {service.conn_id}") from exc
