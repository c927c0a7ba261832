"""gRPC errors become the provider's; transient ones are retried, within bounds."""

import inspect
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from airflow_pachyderm import exceptions
from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.errors import RetryPolicy
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import (
    PachydermAuthError,
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermUnavailableError,
)
from tests.airflow_pachyderm.scripted_pachd import ScriptedPachd, pfs_pb2

QUICK = RetryPolicy(deadline_seconds=1.0, first_pause_seconds=0.01, max_pause_seconds=0.05)
AWAY = (grpc.StatusCode.UNAVAILABLE, "restarting")


@pytest.fixture
def pachd() -> Iterator[ScriptedPachd]:
    with ScriptedPachd() as pachd:
        yield pachd


@pytest.fixture
def pfs(pachd: ScriptedPachd) -> Iterator[PfsClient]:
    server = Server(pachd.connection, retry=QUICK)
    yield PfsClient(server)
    server.close()


def test_a_transient_error_is_retried(pachd: ScriptedPachd, pfs: PfsClient) -> None:
    pachd.script("FinishCommit", AWAY, (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy"), pfs_pb2.google_dot_protobuf_dot_empty__pb2.Empty())
    commit = pfs_commit()

    pfs.finish_commit(commit)

    assert len(pachd.requests("FinishCommit")) == 3


@pytest.mark.parametrize(
    "details",
    [
        "base commit images@1 for commit images@2 unfinished",
        "commit unexpectedly resulted in rollback",
        "scanning project row: ERROR: current transaction is aborted, commands ignored until end of transaction block (SQLSTATE 25P02)",
    ],
)
def test_what_passes_by_itself_is_retried_whatever_its_code(pachd: ScriptedPachd, pfs: PfsClient, details: str) -> None:
    pachd.script("CreateRepo", (grpc.StatusCode.UNKNOWN, details), pfs_pb2.google_dot_protobuf_dot_empty__pb2.Empty())

    assert pfs.create_repo("images")


def test_a_lasting_one_ends_with_the_last_error(pachd: ScriptedPachd, pfs: PfsClient) -> None:
    pachd.script("CreateRepo", AWAY)

    with pytest.raises(
        PachydermUnavailableError, match=r"Cannot create repo images at 127\.0\.0\.1:\d+ \(connection scripted\).*restarting"
    ):
        pfs.create_repo("images")

    assert len(pachd.requests("CreateRepo")) > 3


@pytest.mark.parametrize(
    ("code", "details", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, "repo default/images not found", PachydermNotFoundError),
        (grpc.StatusCode.FAILED_PRECONDITION, "no", PachydermConflictError),
        (grpc.StatusCode.INVALID_ARGUMENT, "no", PachydermInvalidError),
        (grpc.StatusCode.UNAUTHENTICATED, "no token", PachydermAuthError),
        (grpc.StatusCode.PERMISSION_DENIED, "not yours", PachydermAuthError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "slow", PachydermUnavailableError),
        (grpc.StatusCode.UNKNOWN, "parent commit x has not been finished", PachydermConflictError),
        (grpc.StatusCode.UNKNOWN, "commit x not found", PachydermNotFoundError),
        (grpc.StatusCode.UNKNOWN, "name (a b) invalid: only alphanumeric characters", PachydermInvalidError),
        (grpc.StatusCode.UNKNOWN, "boom", PachydermError),
        (grpc.StatusCode.UNIMPLEMENTED, "DeleteRepos", PachydermError),
    ],
)
def test_a_lasting_error_has_its_type_and_the_servers_words(
    pachd: ScriptedPachd, pfs: PfsClient, code: grpc.StatusCode, details: str, expected: type[PachydermError]
) -> None:
    pachd.script("CreateRepo", (code, details))

    with pytest.raises(PachydermError) as caught:
        pfs.create_repo("images")

    assert type(caught.value) is expected
    assert details in str(caught.value)
    assert len(pachd.requests("CreateRepo")) == 1


def test_every_error_has_the_one_root() -> None:
    classes = [value for _, value in inspect.getmembers(exceptions, inspect.isclass) if value.__module__ == exceptions.__name__]

    assert len(classes) > 5
    assert all(issubclass(value, PachydermError) for value in classes)


def test_no_server_says_so_at_once_and_what_to_do(free_port: int) -> None:
    server = Server(PachydermConnection("pach", "127.0.0.1", free_port), retry=RetryPolicy(deadline_seconds=0))

    with pytest.raises(PachydermUnavailableError, match=r"no server answers .*correct host, port and TLS of connection pach"):
        PfsClient(server).create_repo("images")

    server.close()


def test_the_token_goes_with_every_call(pachd: ScriptedPachd) -> None:
    seen: list[Any] = []
    inner = pachd.service

    def service(details: grpc.HandlerCallDetails) -> Any:
        seen.append(dict(details.invocation_metadata).get("authn-token"))
        return inner(details)

    pachd.service = service  # type: ignore[method-assign]
    pachd.script("CreateRepo", pfs_pb2.google_dot_protobuf_dot_empty__pb2.Empty())
    server = Server(PachydermConnection("pach", "127.0.0.1", pachd.port, token="t0ken"))
    PfsClient(server).create_repo("images")
    server.close()

    assert seen == ["t0ken"]


def test_a_read_that_ends_early_is_an_error(pachd: ScriptedPachd, pfs: PfsClient) -> None:
    """python-pachyderm's own reader returns what came."""
    from google.protobuf.wrappers_pb2 import BytesValue

    pachd.script("InspectFile", pfs_pb2.FileInfo(size_bytes=10))
    pachd.script("GetFile", [BytesValue(value=b"12345")])

    with pytest.raises(PachydermUnavailableError, match="ended after 5 of 10 bytes; read it again"):
        pfs.read_file("model", "master", "/graph.pb")
    with pytest.raises(PachydermUnavailableError, match="ended after 5 of 10 bytes; read it again"):
        list(pfs.read_blocks("model", "master", "/graph.pb"))


def pfs_commit() -> Any:
    from airflow_pachyderm.client.answers import Commit

    return Commit("images", "master", "a" * 32, "", 0.0, finished=False, error="")
