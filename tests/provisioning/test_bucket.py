"""The bucket step: found is not ours by itself, and what differs is named."""

from typing import Any

import pytest

from dags.provisioning.errors import DifferentError, StepFailedError
from dags.provisioning.outcome import Change, Pending
from tests.provisioning.conftest import RUN, Cloud, finish, once, stack

NAME = "acme-pachyderm"


def test_a_new_bucket_is_private_uniform_labelled_and_in_its_place(cloud: Cloud) -> None:
    assert finish("bucket", stack(bucket_versioning=True)).change is Change.CREATED
    bucket = cloud.storage.buckets[NAME]
    assert bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] is True
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    assert (bucket["location"], bucket["storageClass"], bucket["versioning"]) == ("US-EAST1", "STANDARD", {"enabled": True})
    assert bucket["labels"]["managed-by"] == "tuskwatch"
    assert int(bucket["softDeletePolicy"]["retentionDurationSeconds"]) == 0


def test_someone_elses_bucket_is_refused(cloud: Cloud) -> None:
    cloud.storage.foreign.add(NAME)
    with pytest.raises(DifferentError, match=r"someone else's"):
        finish("bucket", stack())


def test_a_readable_bucket_of_another_project_is_refused(cloud: Cloud) -> None:
    finish("bucket", stack())
    cloud.storage.owners[NAME] = "another-project"
    for step in ("bucket", "no-bucket"):
        with pytest.raises(DifferentError, match=r"not in project acme-cameras"):
            finish(step, stack(), confirm_bucket=NAME)
    assert NAME in cloud.storage.buckets


@pytest.mark.parametrize(
    ("field", "value", "difference"),
    [
        ("location", "EU", "location is EU, asked for US-EAST1"),
        ("versioning", {"enabled": True}, "versioning is True, asked for False"),
        ("iamConfiguration", {"publicAccessPrevention": "inherited"}, "public access prevention is inherited, asked for enforced"),
        ("labels", {}, "no label managed-by=tuskwatch"),
        ("labels", {"managed-by": "tuskwatch", "tuskwatch-stack": "other"}, "belongs to the stack other"),
    ],
)
def test_a_bucket_that_differs_is_refused_by_what_differs(cloud: Cloud, field: str, value: Any, difference: str) -> None:
    finish("bucket", stack())
    cloud.storage.buckets[NAME][field] = value
    with pytest.raises(DifferentError, match=difference):
        finish("bucket", stack())


def test_a_missing_permission_is_named(cloud: Cloud) -> None:
    cloud.storage.faults["POST"] = [403]
    with pytest.raises(StepFailedError, match=r"roles/storage.admin"):
        finish("bucket", stack())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_overload_is_sat_out(cloud: Cloud, status: int) -> None:
    cloud.storage.faults["GET"] = [status]
    assert finish("bucket", stack()).change is Change.CREATED


def test_a_large_bucket_is_emptied_in_steps(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dags.provisioning.bucket.DELETES_PER_CALL", 4)
    monkeypatch.setattr("dags.provisioning.bucket.DELETE_BATCH", 3)
    finish("bucket", stack())
    for number in range(10):
        cloud.storage.put(NAME, f"chunks/{number}", b"data")
    assert isinstance(once("no-bucket", stack(), confirm_bucket=NAME), Pending)
    assert finish("no-bucket", stack(), confirm_bucket=NAME).change is Change.REMOVED
    assert finish("no-bucket", stack(), confirm_bucket=NAME).change is Change.ABSENT


def test_undoing_a_failed_run_removes_its_own_empty_bucket_only(cloud: Cloud) -> None:
    finish("bucket", stack())
    assert finish("no-bucket", stack(), run="another", only_run=True).change is Change.KEPT
    cloud.storage.put(NAME, "chunks/1", b"data")
    assert finish("no-bucket", stack(), run=RUN, only_run=True).change is Change.KEPT
    cloud.storage.storage.delete_file(NAME, "chunks/1")
    assert finish("no-bucket", stack(), run=RUN, only_run=True).change is Change.REMOVED
