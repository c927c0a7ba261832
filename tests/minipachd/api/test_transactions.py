"""Transactions, version, cluster, and what is refused."""

import grpc
import pytest
from grpc_health.v1 import health_pb2
from python_pachyderm import RpcError
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.proto.v2.transaction import transaction_pb2
from python_pachyderm.service import Service

from minipachd import errors
from minipachd.api.dialect import DIALECTS
from minipachd.api.errors import CODES, code_of
from tests.minipachd.api.calls import branch, names, repo


@pytest.fixture
def client(shared_engine):
    return shared_engine.client


def create(name):
    return transaction_pb2.TransactionRequest(create_repo=pfs_pb2.CreateRepoRequest(repo=pfs_pb2.Repo(name=name)))


def test_a_transaction_happens_whole_at_its_end(client):
    with client.transaction() as transaction:
        client.create_repo("t-1")
        client.create_repo("t-2")
        assert [info.transaction.id for info in client.list_transaction()] == [transaction.id]
        info = client.inspect_transaction(transaction)
        assert len(info.requests) == len(info.responses) == 2
        assert not {"t-1", "t-2"} & set(names(client.list_repo(type="user"))), "reads see nothing of it yet"
    assert {"t-1", "t-2"} <= set(names(client.list_repo()))
    assert list(client.list_transaction()) == []


def test_commits_of_a_transaction_share_its_id_and_give_one_commit_downstream(client):
    for name in ("t-in1", "t-in2", "t-out"):
        repo(client, name)
    client.create_branch("t-out", "master", provenance=[branch("t-in1"), branch("t-in2")])
    before = len(list(client.list_commit("t-out", all=True)))
    with client.transaction() as transaction:
        for name in ("t-in1", "t-in2"):
            commit = client.start_commit(name, "master")
            assert commit.id == transaction.id
            client.finish_commit(commit)
    assert sorted(info.commit.repo.name for info in client.inspect_commit(transaction.id)) == ["t-in1", "t-in2", "t-out"]
    assert len(list(client.list_commit("t-out", all=True))) == before + 1
    assert not client.path_exists(commit, "/anything")


def test_a_call_that_cannot_work_is_refused_at_once_and_not_appended(client):
    with client.transaction() as transaction:
        client.create_repo("t-once")
        with pytest.raises(RpcError, match=r"error running request 2 of 2: repo default/t-once already exists") as error:
            client.create_repo("t-once")
        assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert len(client.inspect_transaction(transaction).requests) == 1


def test_an_exception_in_the_block_deletes_the_transaction(client):
    def fail():
        with client.transaction():
            client.create_repo("t-never")
            msg = "no"
            raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        fail()
    assert "t-never" not in names(client.list_repo())
    assert list(client.list_transaction()) == []


def test_a_batch_is_all_or_nothing(client):
    client.batch_transaction([create("t-b1"), create("t-b2")])
    assert {"t-b1", "t-b2"} <= set(names(client.list_repo()))
    with pytest.raises(RpcError, match="error running request 2 of 2"):
        client.batch_transaction([create("t-b3"), create("t-b1")])
    assert "t-b3" not in names(client.list_repo())


def test_two_commits_of_one_repo_in_a_transaction_are_refused(client):
    repo(client, "t-twice")
    with client.transaction():
        client.start_commit("t-twice", "master")
        with pytest.raises(RpcError, match=r"inconsistent dependencies.* already has a commit in this transaction"):
            client.start_commit("t-twice", "other")


def test_transactions_are_deleted_once_and_all_at_once(client):
    first = client.start_transaction()
    client.start_transaction()
    client.delete_transaction(first)
    with pytest.raises(RpcError, match=f"transactions {first.id} not found"):
        client.delete_transaction(first)
    client.delete_all_transactions()
    assert list(client.list_transaction()) == []


def test_version_cluster_and_health(shared_engine):
    client = shared_engine.client
    version = client.get_remote_version()
    assert (version.major, version.minor) == (2, 12)
    assert client.health_check().status == health_pb2.HealthCheckResponse.SERVING
    cluster = client.inspect_cluster()
    assert cluster.version_warnings_ok
    assert len(cluster.deployment_id) == 32
    shared_engine.stop()
    shared_engine.start()
    assert shared_engine.client.inspect_cluster() == cluster, "it is the same cluster after a restart"


def test_what_is_missing_says_so_by_name(client):
    for service, rpc, text in (
        (Service.PFS, "PutCache", "pfs_v2.API/PutCache is not implemented by minipachd"),
        (Service.AUTH, "WhoAmI", "the auth service is not activated"),
    ):
        with pytest.raises(RpcError, match=text) as error:
            client._req(service, rpc)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_client_can_delete_everything(engine):
    repo(engine.client, "gone")
    engine.client.start_transaction()
    engine.client.delete_all()
    assert list(engine.client.list_repo()) == []
    assert list(engine.client.list_transaction()) == []


def every_error(kind=errors.MinipachdError):
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:  # those of other modules are for their own callers, or inherit a code
            yield below
        yield from every_error(below)


@pytest.mark.parametrize("kind", list(every_error()), ids=lambda kind: kind.__name__)
def test_every_error_class_has_its_code(kind):
    assert any(parent in CODES for parent in kind.__mro__)
    assert all(code_of(kind.__new__(kind), dialect) is not grpc.StatusCode.OK for dialect in DIALECTS.values())
