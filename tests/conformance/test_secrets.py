"""Secrets: created, listed without their values, given to the pipelines that name them."""

import grpc
import pytest

from tests.conformance.lab import JobState, Lab, refused


@pytest.fixture
def secret(lab: Lab) -> str:
    """The name of a secret that is there."""
    name = lab.secret_name()
    try:
        lab.client.create_secret(name, {"key": "s3cr3t-value"})
    except grpc.RpcError as exc:
        if exc.code() is grpc.StatusCode.UNIMPLEMENTED:
            pytest.skip("the server keeps no secrets")
        raise
    return name


def test_a_secret_is_listed_without_its_value_and_deleted(lab: Lab, secret: str) -> None:
    info = lab.client.inspect_secret(secret)
    assert (info.secret.name, info.type) == (secret, "Opaque")
    assert info.creation_timestamp.seconds > 0
    assert secret in [found.secret.name for found in lab.client.list_secret()]
    with refused(["UNKNOWN", "ALREADY_EXISTS"], "already exists"):
        lab.client.create_secret(secret, {"key": "other"})
    lab.client.delete_secret(secret)
    assert secret not in [found.secret.name for found in lab.client.list_secret()]
    with refused(["UNKNOWN", "NOT_FOUND"], "not found"):
        lab.client.inspect_secret(secret)
    with refused(["UNKNOWN", "NOT_FOUND"], "not found"):
        lab.client.delete_secret(secret)


def test_it_reaches_the_pipeline_that_names_it_and_no_other(workers: Lab, secret: str) -> None:
    lab = workers
    source = lab.repo()
    script = "echo ${KEY:-none} >/pfs/out/key"
    mount = {"name": secret, "key": "key", "envVar": "KEY"}
    named, other = lab.pipeline(source, script, transform={"secrets": [mount]}), lab.pipeline(source, script)
    jobs = lab.run(source, {"/a": "1"})
    assert {job.state for job in jobs.values()} == {JobState.JOB_SUCCESS}
    assert (lab.files(named), lab.files(other)) == ({"/key": b"s3cr3t-value\n"}, {"/key": b"none\n"})
