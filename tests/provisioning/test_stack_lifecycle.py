"""Provision, again, tear down: against Google and Kubernetes at the wire, for both targets."""

from dags.provisioning.outcome import Change
from tests.provisioning.conftest import Cloud, existing_stack, provision, stack, teardown


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
