"""Secrets as files, and what is kept away from user code that does not name them."""

import json
from base64 import b64encode
from pathlib import Path

import pytest
from grpc import RpcError, StatusCode
from python_pachyderm.service import pps_proto

from minipachd.errors import UnsupportedError
from minipachd.pfs import Pfs, RepoKey
from minipachd.pps import Pps
from minipachd.pps.sandbox import Sandbox
from minipachd.pps.spec import PfsInput, PipelineKey, PipelineSpec, SecretMount, Transform
from minipachd.storage import DataDirectory
from tests.minipachd.pps.lab import JobState, Lab


@pytest.fixture
def mounts(tmp_path: Path) -> None:
    """A system where processes can have mounts of their own."""
    probe = tmp_path / "probe"
    probe.mkdir()
    sandbox = Sandbox(probe, on_lines=lambda _lines: None)
    sandbox.close()
    if not sandbox.isolated:
        pytest.skip(f"no mount namespace here: {sandbox.isolation_error}")


def mount(path: str, name: str = "mail") -> list[pps_proto.SecretMount]:
    return [pps_proto.SecretMount(name=name, mount_path=path)]


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("path", ["/etc/minipachd-test/mail", "/minipachd-test/", "/etc", "/var/run/minipachd-test"])
def test_a_mounted_secret_is_a_directory_of_files_that_nobody_else_sees(lab: Lab, path: str) -> None:
    lab.repo()
    lab.client.create_secret("mail", {"key": "s3cr3t", "user.name": "me"})
    script = f"""
cd {path}
cat key user.name >$PFS_ROOT/out/$(basename $in)
(echo spoiled >key) 2>/dev/null || true
(rm -f key user.name) 2>/dev/null || true
"""
    lab.pipeline("named", script, secrets=mount(path))
    lab.pipeline("other", f"if [ -e {path}/key ]; then cat {path}/key; fi >$PFS_ROOT/out/key")

    lab.run({"/a": "1", "/b": "1"})

    assert lab.files("named") == {"/a": b"s3cr3tme", "/b": b"s3cr3tme"}
    assert lab.files("other") == {"/key": b""}
    assert not (Path(path) / "user.name").exists()
    assert "s3cr3t" not in lab.log
    lab.client.delete_secret("mail")


@pytest.mark.usefixtures("mounts")
def test_user_code_does_not_find_the_stored_secrets_of_others(lab: Lab) -> None:
    lab.repo()
    lab.client.create_secret("mail", {"key": "s3cr3t"})
    lab.pipeline("look", f"ls {lab.engine.root}/secrets >$PFS_ROOT/out/found")

    lab.run({"/a": "1"})

    assert lab.files("look") == {"/found": b""}
    assert [info.secret.name for info in lab.client.list_secret()] == ["mail"]
    lab.client.delete_secret("mail")


@pytest.mark.usefixtures("mounts")
def test_a_secret_that_cannot_be_mounted_fails_its_datum_with_the_reason(lab: Lab) -> None:
    lab.repo()
    lab.client.create_secret("mail", {"key": "s3cr3t"})
    lab.pipeline("named", "true", secrets=mount("/etc/passwd"))

    job = lab.run({"/a": "1"})["named"]

    assert job.state == JobState.JOB_FAILURE
    assert "secrets cannot be mounted at /etc/passwd" in job.reason
    assert "Not a directory" in job.reason
    lab.client.delete_secret("mail")


@pytest.mark.parametrize("path", ["etc/mail", "/", "//x", "/etc/../mail", "/pfs", "/pfs/in/", "/proc/x", "/dev"])
def test_paths_that_make_no_sense_are_refused(lab: Lab, path: str) -> None:
    lab.repo()
    lab.client.create_secret("mail", {"key": "s3cr3t"})
    with pytest.raises(RpcError, match="mount_path") as caught:
        lab.pipeline("named", "true", secrets=mount(path))
    assert caught.value.code() is StatusCode.UNKNOWN
    lab.client.delete_secret("mail")


@pytest.mark.parametrize("key", ["../../escape", "..", "", "a/b", "a b"])
def test_keys_that_are_no_file_names_are_refused(lab: Lab, key: str) -> None:
    document = {"metadata": {"name": "bad"}, "data": {key: b64encode(b"x").decode()}}
    with pytest.raises(RpcError, match="invalid key"):
        lab.client._PPSMixin__stub.CreateSecret(pps_proto.CreateSecretRequest(file=json.dumps(document).encode()))


def test_where_processes_have_no_mounts_of_their_own_the_pipeline_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with DataDirectory(tmp_path) as directory:
        pfs = Pfs(directory)
        pps = Pps(pfs, directory, namespaces=False)
        pps.secrets.create(b'{"metadata": {"name": "mail"}, "stringData": {"key": "x"}}', now_ns=0)
        spec = PipelineSpec(
            pipeline=PipelineKey("default", "named"),
            transform=Transform(cmd=("true",), secrets=(SecretMount(name="mail", mount_path="/secrets"),)),
            input=PfsInput(name="in", project="default", repo="in", glob="/*"),
            salt="",
        )
        with pfs.transaction() as txn:
            txn.create_repo(RepoKey("default", "in"))
            with pytest.raises(UnsupportedError, match=r"mount_path '/secrets' of secret 'mail' .* use env_var and key"):
                pps.create_pipeline(txn, spec)
        pfs.close()
