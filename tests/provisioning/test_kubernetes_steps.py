"""Namespace, rights, volumes and pods, on a Kubernetes API that checks what it gets."""

import pytest

from dags.provisioning.errors import DifferentError, StepFailedError, TransientError
from dags.provisioning.outcome import Change, Pending
from tests.provisioning.conftest import RUN, Cloud, existing_stack, finish, once, provision, teardown
from tests.provisioning.fake_kubernetes import Fault


def test_the_second_run_sends_nothing(cloud: Cloud) -> None:
    finish("base", existing_stack())
    sent = len(cloud.existing.bodies)
    assert finish("base", existing_stack(run="another")).change is Change.FOUND
    assert len(cloud.existing.bodies) == sent


@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_overload_and_cut_connections_are_sat_out(cloud: Cloud, status: int) -> None:
    cloud.existing.faults += [Fault("PATCH", "/roles/", status, times=2), Fault("GET", "/namespaces/tuskwatch$", status)]
    assert finish("base", existing_stack()).change is Change.CREATED


def test_an_api_that_stays_away_may_be_tried_again_later(cloud: Cloud) -> None:
    cloud.existing.faults.append(Fault("GET", "/namespaces/tuskwatch$", 503, times=4))
    with pytest.raises(TransientError, match=r"does not serve GET /api/v1/namespaces/tuskwatch: 503"):
        once("base", existing_stack())
    assert finish("base", existing_stack()).change is Change.CREATED


def test_a_missing_right_is_named_with_what_it_was_needed_for(cloud: Cloud) -> None:
    cloud.existing.faults.append(Fault("PATCH", "/rolebindings/", 403))
    with pytest.raises(StepFailedError, match=r"Cannot apply RoleBinding tuskwatch-installer"):
        finish("base", existing_stack())
    assert finish("base", existing_stack()).change is Change.CREATED


def test_someone_elses_namespace_is_refused(cloud: Cloud) -> None:
    cloud.existing.put("namespaces", "tuskwatch", {"metadata": {"labels": {"team": "payments"}}})
    for step in ("base", "no-volumes", "no-namespace"):
        with pytest.raises(DifferentError, match=r"not Tuskwatch's"):
            finish(step, existing_stack())
    assert cloud.existing.names("namespaces") == ["tuskwatch"]


def test_a_field_that_someone_else_changed_is_not_overwritten(cloud: Cloud) -> None:
    wanted = existing_stack(exposure="load-balancer", source_ranges=["203.0.113.0/24"])
    finish("base", wanted)
    cloud.existing.change("services", "tuskwatch-entrance", "spec.loadBalancerSourceRanges", ["0.0.0.0/0"], namespace="tuskwatch")
    with pytest.raises(DifferentError, match=r"conflict with .*loadBalancerSourceRanges"):
        finish("base", wanted)


def test_a_changed_range_is_taken_over(cloud: Cloud) -> None:
    finish("base", existing_stack(run="earlier", exposure="load-balancer", source_ranges=["203.0.113.0/24"]))
    done = finish("base", existing_stack(exposure="load-balancer", source_ranges=["198.51.100.7/32"]))
    assert done.change is Change.UPDATED
    service = cloud.existing.objects["services", "tuskwatch", "tuskwatch-entrance"]
    assert service["spec"]["loadBalancerSourceRanges"] == ["198.51.100.7/32"]


def test_pods_that_do_not_start_are_named_with_their_reason(cloud: Cloud) -> None:
    wanted = existing_stack()
    cloud.existing.stuck_pods = "pachd"
    for step in ("base", "release"):
        finish(step, wanted)
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image: i/o timeout"}
    status = {"containerStatuses": [{"name": "pachd", "restartCount": 3, "state": {"waiting": waiting}}]}
    cloud.existing.put("pods", "pachd-abc", {"spec": {"containers": []}, "status": status}, namespace="tuskwatch")
    for _ in range(4):
        outcome = once("pods", wanted)
    assert isinstance(outcome, Pending)
    assert "pachd 0/1" in outcome.message
    assert "pod pachd-abc, container pachd: ImagePullBackOff" in outcome.message


def test_a_volume_claim_that_a_pod_still_mounts_is_named_with_it_and_the_pod_goes(cloud: Cloud) -> None:
    """Kubernetes keeps such a claim for as long as the pod is there: what Helm did not remove would keep the teardown for ever."""
    wanted = existing_stack()
    provision(wanted)
    finish("no-release", wanted)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-postgres-0"}}]
    cloud.existing.put("pods", "psql-by-hand", {"spec": {"containers": [], "volumes": volumes}}, namespace="tuskwatch")
    outcome = once("no-volumes", wanted)
    assert isinstance(outcome, Pending)
    assert "volume claim data-postgres-0 (mounted by psql-by-hand)" in outcome.message
    finish("no-volumes", wanted)
    assert cloud.existing.names("persistentvolumeclaims") == []


def test_teardown_waits_for_load_balancer_and_disks_which_outlive_a_cluster(cloud: Cloud) -> None:
    wanted = existing_stack(exposure="load-balancer", source_ranges=["203.0.113.0/24"])
    provision(wanted)
    finish("no-release", wanted)
    outcome = once("no-volumes", wanted)
    assert isinstance(outcome, Pending)
    assert "load balancer tuskwatch-entrance" in outcome.message
    assert "volume claim data-postgres-0" in outcome.message
    finish("no-volumes", wanted)
    assert cloud.existing.names("persistentvolumes") == []
    assert "tuskwatch-entrance" not in cloud.existing.names("services")


def test_a_retained_disk_is_kept_and_said(cloud: Cloud) -> None:
    wanted = existing_stack()
    provision(wanted)
    cloud.existing.objects["persistentvolumes", "", "pv-etcd-storage-etcd-0"]["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
    assert finish("no-release", wanted).change is Change.REMOVED
    done = finish("no-volumes", wanted)
    assert done.change is Change.KEPT
    assert "pv-etcd-storage-etcd-0" in done.message


def test_undoing_a_failed_run_keeps_the_namespace_of_an_earlier_one(cloud: Cloud) -> None:
    finish("base", existing_stack())
    finish("base", existing_stack(run="another"), run="another")
    assert finish("no-namespace", existing_stack(run="another"), run="another", only_run=True).change is Change.KEPT
    assert finish("no-namespace", existing_stack(), run=RUN, only_run=True).change is Change.REMOVED


def test_teardown_of_what_is_not_there_says_so(cloud: Cloud) -> None:
    assert teardown(existing_stack()) == [Change.ABSENT, Change.ABSENT, Change.REMOVED, Change.KEPT, Change.ABSENT]
    assert cloud.leftovers() == []
