"""The token: who has none reads and writes nothing; whoever belongs to the installation has it without set-up."""

import stat
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from python_pachyderm import Client
from python_pachyderm.proto.v2.admin import admin_pb2_grpc
from python_pachyderm.proto.v2.auth import auth_pb2_grpc
from python_pachyderm.proto.v2.enterprise import enterprise_pb2_grpc
from python_pachyderm.proto.v2.identity import identity_pb2_grpc
from python_pachyderm.proto.v2.license import license_pb2_grpc
from python_pachyderm.proto.v2.pfs import pfs_pb2_grpc
from python_pachyderm.proto.v2.pps import pps_pb2_grpc
from python_pachyderm.proto.v2.transaction import transaction_pb2_grpc
from python_pachyderm.proto.v2.version.versionpb import version_pb2_grpc

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermAuthError
from minipachd.api import newer
from minipachd.api.server import serve  # noqa: F401 - loads every service of the server
from tests.minipachd.pps.lab import JobState, Lab, pfs
from tests.support import Engine

MODULES = (
    admin_pb2_grpc, auth_pb2_grpc, enterprise_pb2_grpc, identity_pb2_grpc, license_pb2_grpc, pfs_pb2_grpc, pps_pb2_grpc,
    transaction_pb2_grpc, version_pb2_grpc,
)  # fmt: skip
OPEN = {"InspectCluster", "Activate", "Authenticate", "WhoAmI", "GetState", "GetVersion"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("guarded"), auth=True) as engine:
        yield engine


def methods() -> list[tuple[str, str]]:
    """Every method that the server knows: service and name."""
    found = {
        (service.full_name, method.name)
        for module in MODULES
        for service in sys.modules[module.__name__.removesuffix("_grpc")].DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    for service in ("pfs_v2.API", "pps_v2.API"):
        found |= {(service, method.name) for method in newer._POOL.FindServiceByName(service).methods}
    return sorted(found | {("minipachd.Upkeep", "CollectGarbage"), ("no.such.Service", "Method")})


@pytest.fixture(scope="module")
def channel(guarded: Engine) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(guarded.address) as channel:
        yield channel


def refusal(channel: grpc.Channel, method: str, token: str | None) -> tuple[grpc.StatusCode, str]:
    metadata = (("authn-token", token),) if token is not None else ()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(method)(b"", metadata=metadata, timeout=20)
    return caught.value.code(), caught.value.details() or ""


def test_no_call_but_those_that_pachyderm_answers_everybody_goes_without_the_token(channel):
    asked = [(service, name) for service, name in methods() if name not in OPEN or service in ("pfs_v2.API", "pps_v2.API")]
    assert len(asked) > 100
    answers = {(service, name): refusal(channel, f"/{service}/{name}", None)[0] for service, name in asked}
    assert {method: code for method, code in answers.items() if code is not grpc.StatusCode.UNAUTHENTICATED} == {}


@pytest.mark.parametrize("token", [None, "", "x"], ids=["none", "empty", "wrong"])
def test_the_refusal_says_where_the_token_lies(guarded, channel, token):
    code, text = refusal(channel, "/pfs_v2.API/ListRepo", token)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert str(guarded.root / "token") in text
    assert ("no authentication token" if not token else "provided auth token is corrupted") in text  # Pachyderm's words
    assert guarded.token not in text


def test_clients_look_at_version_and_health_before_they_have_a_token(guarded, channel):
    assert Client.new_from_pachd_address(guarded.address).get_remote_version().major == 2
    assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_the_token_is_kept_for_its_owner_alone_and_stays(tmp_path):
    engine = Engine(tmp_path, auth=True)
    tokens = []
    for _ in range(2):
        with engine:
            path = engine.root / "token"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            tokens.append(engine.token)
            assert list(engine.client.list_repo()) == []
        path.chmod(0o644)
    assert tokens[0] == tokens[1]
    assert len(tokens[0]) >= 40
    assert f"the token in {path} could be read by other users (mode 644)" in engine.log_tail()
    assert tokens[0] not in engine.log_tail(1_000_000)


def test_authentication_is_off_only_when_asked_for_and_that_is_said(tmp_path):
    with Engine(tmp_path) as engine:
        assert list(engine.client.list_repo()) == []
        assert "authentication is off: whoever reaches 127.0.0.1" in engine.log_tail()
        assert not (engine.root / "token").exists()


def test_the_environment_says_it_too_and_a_mistake_in_it_is_refused(tmp_path):
    command = [sys.executable, "-m", "minipachd", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    done = subprocess.run(command, env={"MINIPACHD_AUTH": "off"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "'off' is no way to ask callers for who they are (see MINIPACHD_AUTH, too); say token or none" in done.stderr


@pytest.mark.parametrize("content", ["", "short", "two words that are long enough", "ünïcödé-ünïcödé-ünïcödé"])
def test_a_file_without_a_token_is_named(tmp_path, content):
    (tmp_path / "mine").write_text(content)
    command = [sys.executable, "-m", "minipachd", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    done = subprocess.run([*command, "--token-file", str(tmp_path / "mine")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert f"{tmp_path / 'mine'} holds no token" in done.stderr


def test_the_provider_shows_the_connections_token(guarded):
    host, _, port = guarded.address.rpartition(":")
    with_token = PachydermConnection(conn_id="mine", host=host, port=int(port), token=guarded.token)
    server = Server(with_token)
    try:
        PfsClient(server).create_repo("provided")
        assert "provided" in {repo.repo.name for repo in guarded.client.list_repo()}
    finally:
        server.close()
    server = Server(PachydermConnection(conn_id="bare", host=host, port=int(port)))
    try:
        with pytest.raises(PachydermAuthError, match=r"token of this minipachd lies in .*/token.* connection bare"):
            PfsClient(server).create_repo("refused")
    finally:
        server.close()


def test_garbage_is_collected_beside_a_server_that_asks_for_the_token(guarded):
    command = [sys.executable, "-m", "minipachd", "gc", "--data", str(guarded.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "freed" in done.stdout


PROGRAM = """
import os, pathlib, sys
import protobuf_compat
protobuf_compat.install()
from python_pachyderm import Client
root, token = pathlib.Path(os.environ["PFS_ROOT"]), os.environ["PACH_TOKEN"].encode()
names = [repo.repo.name for repo in Client.new_in_cluster().list_repo()]
files = [str(path) for path in root.rglob("*") if path.is_file() and token in path.read_bytes()]
(root / "out" / "found").write_text(" ".join(sorted(names) + files))
"""


def test_code_of_a_pipeline_calls_the_server_without_set_up(guarded):
    """As a process it has the server's rights anyway: its environment holds the token, and no file that it is given does."""
    lab = Lab(guarded)
    lab.repo("asked")
    lab.pipeline("asks", cmd=["python3", "-c", PROGRAM], reads=pfs("asked"))
    jobs = lab.settle(lab.put({"/a": "1"}, repo="asked"))
    assert jobs["asks"].state == JobState.JOB_SUCCESS, jobs["asks"].reason
    assert set(lab.files("asks")["/found"].decode().split()) - {"provided"} == {"asked", "asks"}
