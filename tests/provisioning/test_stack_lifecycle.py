"""Provision, again, tear down: against Google and Kubernetes at the wire, for both targets."""

import pytest

from dags.provisioning.outcome import Change, Done
from tests.provisioning.conftest import PROVISION, TEARDOWN, Cloud, existing_stack, finish, once, provision, stack, teardown
from tests.provisioning.fake_kubernetes import Fault


def test_gke_up_again_and_down_leaves_nothing(cloud: Cloud) -> None:
    wanted = stack()
    assert provision(wanted) == [Change.CREATED, Change.CREATED, Change.CREATED, Change.CREATED, Change.FOUND]
    assert {"console", "pachd", "pachyderm-proxy"} <= set(cloud.kube.names("deployments"))

    again = stack(run="manual__2")
    assert provision(again, run="manual__2") == [Change.FOUND] * 5

    assert teardown(wanted, confirm_bucket="acme-pachyderm") == [Change.REMOVED] * 5
    assert cloud.leftovers() == []
    assert cloud.existing.requests == []


def test_existing_cluster_up_again_and_down_leaves_the_cluster(cloud: Cloud) -> None:
    wanted = existing_stack()
    assert provision(wanted) == [Change.ABSENT, Change.ABSENT, Change.CREATED, Change.CREATED, Change.FOUND]
    assert provision(existing_stack(run="manual__2"), run="manual__2")[2:] == [Change.FOUND] * 3
    assert teardown(wanted) == [Change.REMOVED, Change.REMOVED, Change.REMOVED, Change.KEPT, Change.ABSENT]
    assert cloud.leftovers() == []
    assert cloud.existing.names("nodes") == ["node-1"]
    assert cloud.gke.calls == []


def test_teardown_keeps_a_bucket_that_is_not_confirmed(cloud: Cloud) -> None:
    wanted = stack()
    provision(wanted)
    cloud.storage.put("acme-pachyderm", "chunks/1", b"data")
    assert teardown(wanted, confirm_bucket="acme-pachydrem")[-1] is Change.KEPT
    assert list(cloud.storage.buckets) == ["acme-pachyderm"]
    assert teardown(wanted, confirm_bucket="acme-pachyderm") == [Change.ABSENT] * 4 + [Change.REMOVED]
    assert cloud.leftovers() == []


def test_killed_after_every_call_it_still_gets_up_and_down(cloud: Cloud) -> None:
    """A retry knows nothing of the try before: no progress is handed on."""
    for step in (*PROVISION, *TEARDOWN):
        for _ in range(40):
            if isinstance(once(step, stack(), confirm_bucket="acme-pachyderm"), Done):
                break
        else:
            pytest.fail(f"{step} is not done")
    assert cloud.gke.calls.count("CreateCluster") == 1
    assert cloud.leftovers() == []


@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_every_step_bears_two_bad_answers_to_each_kind_of_request(cloud: Cloud, status: int) -> None:
    for step in (*PROVISION, *TEARDOWN):
        cloud.existing.faults[:] = [Fault(method, "", status, times=2) for method in ("GET", "PATCH", "DELETE")]
        finish(step, existing_stack())
    assert cloud.leftovers() == []
