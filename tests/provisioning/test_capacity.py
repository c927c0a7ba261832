"""The plan shows what all pods ask for beside what the nodes have, and says what will not fit."""

from typing import Any

from dags.provisioning.capacity import describe
from dags.provisioning.clients import Clients
from dags.provisioning.stack import Stack
from tests.provisioning.conftest import Cloud, existing_stack, stack
from tests.provisioning.fake_kubernetes import Fault


def spec(name: str, workers: int, **requests: Any) -> dict[str, Any]:
    return {"pipeline": {"name": name}, "parallelismSpec": {"constant": workers}, **requests}


def said(wanted: Stack, *specs: dict[str, Any]) -> str:
    return describe(wanted, specs, kube=lambda: Clients(wanted).kube)


def test_workers_ask_for_a_whole_cpu_for_each_container_where_a_spec_says_nothing(cloud: Cloud) -> None:
    text = said(existing_stack(), spec("detect", 2))
    assert "4 CPU" in text.split("workers of detect")[0].splitlines()[-1]
    assert "workers of detect: 2 x (2 CPU, 0.5 GiB)" in text
    assert "all together they do not fit: 4.45 CPU and 1.88 GiB are asked for, 3.92 CPU" in text


def test_small_requests_fit(cloud: Cloud) -> None:
    small = {"resourceRequests": {"cpu": 0.5, "memory": "64Mi"}, "sidecarResourceRequests": {"cpu": "100m", "memory": "64Mi"}}
    text = said(existing_stack(), spec("detect", 2, **small))
    assert "workers of detect: 2 x (0.6 CPU, 0.12 GiB)" in text
    assert "They fit" in text


def test_what_fits_on_no_node_is_named_with_the_way_out(cloud: Cloud) -> None:
    text = said(existing_stack(), spec("detect", 1, resourceRequests={"cpu": 100}))
    assert "workers of detect fit on no node: one asks for 101 CPU and 0.5 GiB; make resourceRequests" in text


def test_what_others_ask_for_is_not_free(cloud: Cloud) -> None:
    container = {"name": "c", "resources": {"requests": {"cpu": "3"}}}
    for namespace in ("elsewhere", "tuskwatch"):  # what runs in the stack's own namespace is the stack's
        body = {"spec": {"nodeName": "node-1", "containers": [container]}, "status": {"phase": "Running"}}
        cloud.existing.put("pods", "big", body, namespace=namespace)
    assert "0.92 CPU  12.07 GiB  node-1" in said(existing_stack())


def test_without_the_right_to_list_nodes_it_says_so(cloud: Cloud) -> None:
    cloud.existing.faults.append(Fault("GET", "/api/v1/nodes$", 403))
    assert "not known: this account may not list nodes" in said(existing_stack())


def test_the_nodes_that_gke_will_make_are_told_about(cloud: Cloud) -> None:
    text = said(stack(), spec("detect", 2))
    assert text.count("n1-standard-4, about") == 2
    assert "3.42 CPU" in text  # of four: GKE keeps 0.08, its pods ask for about half of one
    assert "this machine type is not listed here" in said(stack(machine_type="a2-highgpu-1g"))
