"""Finding Pachyderm's service in Kubernetes, through the real client and an API server over HTTP."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_pachyderm.discovery import aconnect, connect
from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermNotFoundError, PachydermUnavailableError
from tests.airflow_pachyderm.kubernetes_api import KubernetesApi

Services = dict[str, dict[str, Any]]


def service(kind: str, *, ingress: list[dict[str, str]] | None = None, ports: dict[str, int] | None = None) -> dict[str, Any]:
    listed = [{"name": name, "port": port} for name, port in (ports or {"http-port": 80}).items()]
    return {"spec": {"type": kind, "ports": listed}, "status": {"loadBalancer": {"ingress": ingress} if ingress else {}}}


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A cluster with these services, and the Airflow connection ``cluster`` to it."""
    with KubernetesApi() as api:
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", api.airflow_connection)
        yield api.services


def connection(name: str, **fields: Any) -> Connection:
    extra = {"kubernetes_conn_id": "cluster", "namespace": "pachyderm", "service": name}
    return Connection(conn_id="pach", conn_type="pachyderm", extra=json.dumps(extra), **fields)


def test_the_load_balancers_address_is_used(services: Services) -> None:
    services["proxy"] = service("LoadBalancer", ingress=[{"ip": "203.0.113.7"}], ports={"other": 1, "http-port": 80})
    services["named"] = service("LoadBalancer", ingress=[{"hostname": "pach.example.com"}], ports={"https-port": 443, "http-port": 80})

    assert connect(connection("proxy")).address == "203.0.113.7:80"
    assert asyncio.run(aconnect(connection("named"))).address == "pach.example.com:443"
    assert connect(connection("proxy", port=30650)).address == "203.0.113.7:30650"


def test_a_worker_in_the_cluster_uses_the_services_name(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    services["pachd"] = service("ClusterIP", ports={"api-grpc-port": 30650})
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")

    assert connect(connection("pachd")).address == "pachd.pachyderm.svc:30650"


def test_what_cannot_be_reached_is_told_with_the_way_out(services: Services) -> None:
    services["pending"] = service("LoadBalancer")
    services["inside"] = service("ClusterIP")

    with pytest.raises(PachydermUnavailableError, match="no address yet"):
        connect(connection("pending"))
    with pytest.raises(PachydermInvalidError, match="expose it by a load balancer"):
        connect(connection("inside"))
    with pytest.raises(PachydermNotFoundError, match=r"service pachyderm/none \(connection cluster\): 404"):
        connect(connection("none"))
