"""The cluster step closes what Google's create operator leaves open: each test names the gap."""

import grpc
import pytest
from google.cloud.container_v1 import types

from dags.provisioning.errors import DifferentError, StackInvalidError, StepFailedError, TransientError
from dags.provisioning.outcome import Change, Pending
from tests.provisioning.conftest import RUN, Cloud, finish, once, stack

PATH = "projects/acme-cameras/locations/us-east1-b/clusters/tuskwatch"


def test_a_create_that_ends_in_a_quota_error_is_a_failure(cloud: Cloud) -> None:
    cloud.gke.create_ends = "quota"
    with pytest.raises(StepFailedError, match="Insufficient regional quota"):
        finish("cluster", stack())


def test_a_cluster_that_fails_half_way_is_a_failure_and_is_undone_by_its_run_only(cloud: Cloud) -> None:
    cloud.gke.create_ends = "half-way"
    with pytest.raises(StepFailedError, match=r"2 nodes out of 2 are unhealthy"):
        finish("cluster", stack())
    assert finish("no-cluster", stack(), run="another", only_run=True).change is Change.KEPT
    assert finish("no-cluster", stack(), run=RUN, only_run=True).change is Change.REMOVED
    assert cloud.gke.clusters == {}


def test_a_denied_create_deletes_nothing_and_names_the_role(cloud: Cloud) -> None:
    cloud.gke.faults["CreateCluster"] = [grpc.StatusCode.PERMISSION_DENIED]
    with pytest.raises(StepFailedError, match=r"roles/container.admin"):
        finish("cluster", stack())
    assert "DeleteCluster" not in cloud.gke.calls


def test_an_existing_cluster_is_waited_for_while_it_provisions(cloud: Cloud) -> None:
    cloud.gke.looks_until_ready = 4
    once("cluster", stack())  # a task that was killed right after the create
    retry = once("cluster", stack())
    assert isinstance(retry, Pending)
    assert "PROVISIONING" in retry.message
    assert finish("cluster", stack()).change is Change.CREATED, "by this run, whichever try it was"
    assert finish("cluster", stack(run="another"), run="another").change is Change.FOUND
    assert cloud.gke.calls.count("CreateCluster") == 1


@pytest.mark.parametrize("owner", [None, "earlier"])
def test_a_denied_create_leaves_a_cluster_that_came_to_be_meanwhile(cloud: Cloud, owner: str | None) -> None:
    """Google's operator deletes whatever cluster has that name; here neither the step nor what undoes it does."""
    finish("cluster", stack(run="earlier"), run="earlier")
    if owner is None:
        cloud.gke.clusters[PATH].resource_labels.clear()
    cloud.gke.faults["GetCluster"] = [grpc.StatusCode.NOT_FOUND]  # the step looked just before
    cloud.gke.faults["CreateCluster"] = [grpc.StatusCode.PERMISSION_DENIED]
    with pytest.raises(StepFailedError, match=r"roles/container.admin"):
        finish("cluster", stack())
    assert finish("no-cluster", stack(), only_run=True).change is (Change.KEPT if owner else Change.ABSENT)
    assert "DeleteCluster" not in cloud.gke.calls


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"machine_type": "n2-standard-4"}, "machine_type is n1-standard-4, asked for n2-standard-4"),
        ({"node_count": 3}, "node_count is 2, asked for 3"),
        ({"spot": True}, "spot is not set, asked for True"),
        ({"min_nodes": 1, "max_nodes": 4}, "max_nodes is not set, asked for 4"),
        (
            {"workload_identity": "pach@acme-cameras.iam.gserviceaccount.com"},
            "workload identity pool is not set, asked for acme-cameras.svc",
        ),
        ({"name": "other"}, "it belongs to the stack tuskwatch, not to other"),
    ],
)
def test_a_cluster_that_differs_is_refused_by_what_differs(cloud: Cloud, changes: dict[str, object], difference: str) -> None:
    finish("cluster", stack())
    before = types.Cluster.to_dict(cloud.gke.clusters[PATH])
    with pytest.raises(DifferentError, match=difference):
        finish("cluster", stack(**changes))
    assert types.Cluster.to_dict(cloud.gke.clusters[PATH]) == before


def test_someone_elses_cluster_is_neither_used_nor_deleted(cloud: Cloud) -> None:
    finish("cluster", stack())
    cloud.gke.clusters[PATH].resource_labels.clear()
    for step in ("cluster", "no-cluster"):
        with pytest.raises(DifferentError, match="it is not Tuskwatch's"):
            finish(step, stack())
    assert PATH in cloud.gke.clusters


def test_a_lost_answer_to_the_create_makes_no_second_cluster(cloud: Cloud) -> None:
    cloud.gke.after_faults["CreateCluster"] = [grpc.StatusCode.UNAVAILABLE]
    assert finish("cluster", stack()).change is Change.CREATED
    assert len(cloud.gke.clusters) == 1


def test_short_outages_and_rate_limits_are_sat_out(cloud: Cloud) -> None:
    cloud.gke.faults["GetCluster"] = [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE]
    assert finish("cluster", stack()).change is Change.CREATED


def test_a_call_that_may_succeed_later_says_so(cloud: Cloud) -> None:
    cloud.gke.faults["GetCluster"] = [grpc.StatusCode.ABORTED]
    with pytest.raises(TransientError, match=r"Cannot look at cluster tuskwatch now"):
        once("cluster", stack())


def test_a_delete_waits_for_the_operation_that_is_under_way(cloud: Cloud) -> None:
    once("cluster", stack())
    busy = once("no-cluster", stack())
    assert isinstance(busy, Pending)
    assert finish("no-cluster", stack()).change is Change.REMOVED
    assert finish("no-cluster", stack()).change is Change.ABSENT


def test_provisioning_while_a_teardown_is_under_way_creates_anew_after_it(cloud: Cloud) -> None:
    finish("cluster", stack())
    cloud.gke.looks_until_ready = 3
    once("no-cluster", stack())
    assert finish("cluster", stack()).change is Change.CREATED


def test_nodes_get_the_least_scopes_that_serve(cloud: Cloud) -> None:
    finish("cluster", stack())
    (pool,) = cloud.gke.clusters[PATH].node_pools
    assert [scope.rpartition("/")[2] for scope in pool.config.oauth_scopes] == ["devstorage.read_write", "logging.write", "monitoring"]
    assert (pool.config.machine_type, pool.initial_node_count) == ("n1-standard-4", 2)


def test_the_test_endpoint_must_be_on_loopback(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", '{"conn_type": "google_cloud_platform", "extra": {"gke_endpoint": "192.0.2.1:443"}}'
    )
    with pytest.raises(StackInvalidError, match="only a loopback address"):
        once("cluster", stack())
    assert cloud.gke.calls == []
