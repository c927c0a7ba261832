"""Content behind URLs: what the server may fetch and write, and that nobody else waits for it."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import grpc
import pytest
from grpc import RpcError, StatusCode
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc
from python_pachyderm.service import pps_proto

from minipachd.errors import ForbiddenError, MinipachdError, UnsupportedError
from minipachd.pfs.local_files import LocalFiles
from minipachd.pfs.sources import open_url, shown
from tests.support import Engine


@pytest.fixture
def silent() -> Iterator[tuple[str, threading.Semaphore]]:
    """A web server that takes every request, begins to answer and never goes on; its URL, and a count of the requests."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    held, requests = [], threading.Semaphore(0)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                held.append(connection)
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
                requests.release()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/slow", requests
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in held:
        connection.close()


def put_urls(engine: Engine, url: str, count: int) -> list[grpc.Future]:
    """Calls that each have the server fetch a URL, none of them waited for."""
    stub = pfs_pb2_grpc.APIStub(grpc.insecure_channel(engine.address))
    commit = pfs_pb2.Commit(branch=pfs_pb2.Branch(repo=pfs_pb2.Repo(name="in", type="user"), name="master"))
    add = pfs_pb2.AddFile(path="/slow", url=pfs_pb2.AddFile.URLSource(URL=url))
    messages = [pfs_pb2.ModifyFileRequest(set_commit=commit), pfs_pb2.ModifyFileRequest(add_file=add)]
    return [stub.ModifyFile.future(iter(messages)) for _ in range(count)]


def test_slow_urls_keep_nobody_else_waiting_and_sigterm_ends_the_server(engine: Engine, silent: tuple[str, threading.Semaphore]) -> None:
    url, requests = silent
    engine.client.create_repo("in")
    calls = put_urls(engine, url, 40)
    for _ in calls:
        assert requests.acquire(timeout=60)

    assert [info.repo.name for info in engine.client.list_repo()] == ["in"]
    with engine.client.modify_file_client(("in", "other")) as commit:
        commit.put_file_from_bytes("/a", b"1")
    for call in calls[:20]:
        call.cancel()
    assert [info.repo.name for info in engine.client.list_repo()] == ["in"]

    assert engine.stop(timeout_seconds=20) == 0
    engine.start()
    assert [info.repo.name for info in engine.client.list_repo()] == ["in"]


def test_the_server_ends_on_sigterm_also_while_it_writes_to_a_url_that_does_not_answer(
    engine: Engine, silent: tuple[str, threading.Semaphore], tmp_path: Path
) -> None:
    engine.client.create_repo("in")
    with engine.client.modify_file_client(("in", "master")) as commit:
        commit.put_file_from_bytes("/a", b"1")
    egress = pps_proto.Egress(URL=silent[0])
    transform = pps_proto.Transform(cmd=["sh"], stdin=["echo 1 >$PFS_ROOT/out/a"])
    engine.client.create_pipeline(
        "slow", transform=transform, input=pps_proto.Input(pfs=pps_proto.PFSInput(repo="in", glob="/")), egress=egress
    )
    assert silent[1].acquire(timeout=60)

    assert engine.stop(timeout_seconds=20) == 0


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Engine]:
    """A server as it is by default."""
    with Engine(tmp_path / "closed") as engine:
        yield engine


def test_files_of_the_machine_are_out_of_reach_unless_somebody_allowed_them(closed: Engine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    closed.client.create_repo("in")
    head = ("in", "master")
    with closed.client.modify_file_client(head) as commit:
        commit.put_file_from_bytes("/a", b"1")
    stub = pfs_pb2_grpc.APIStub(grpc.insecure_channel(closed.address))
    file = pfs_pb2.File(commit=closed.client.inspect_branch("in", "master").head, path="/a")
    target = f"file://{tmp_path}/written"
    transform = pps_proto.Transform(cmd=["true"])
    reads = pps_proto.Input(pfs=pps_proto.PFSInput(repo="in", glob="/"))

    refused = [
        lambda: closed.client.put_file_url(head, "/x", secret.as_uri()),
        lambda: closed.client.put_file_url(head, "/x", tmp_path.as_uri(), recursive=True),
        lambda: closed.client.put_file_url(head, "/x", "file:///dev/zero"),
        lambda: closed.client.put_file_url(head, "/x", f"file://{closed.root}/metadata.db"),
        lambda: list(stub.GetFile(pfs_pb2.GetFileRequest(file=file, URL=target))),
        lambda: list(stub.GetFileTAR(pfs_pb2.GetFileRequest(file=file, URL=target))),
        lambda: stub.Egress(pfs_pb2.EgressRequest(commit=file.commit, object_storage=pfs_pb2.ObjectStorageEgress(url=target))),
        lambda: closed.client.create_pipeline("p", transform=transform, input=reads, egress=pps_proto.Egress(URL=target)),
    ]

    for call in refused:
        with pytest.raises(RpcError, match=r"--allow-files|data directory") as error:
            call()
        assert error.value.code() is StatusCode.PERMISSION_DENIED
    assert not (tmp_path / "written").exists()
    assert [info.file.path for info in closed.client.list_file(head, "/")] == ["/a"]


def everything(url: str, local: LocalFiles, *, recursive: bool = False) -> bytes:
    return b"".join(piece for source in open_url(url, recursive=recursive, local=local) for piece in source.pieces)


REMOTE = {"http", "https", "gs", "gcs", "s3", "s3a", "abfs", "abfss", "az", "adl", "oss", "oci"}
"""What reads no local file, whatever its path."""


@pytest.mark.parametrize(
    "scheme", [*sorted({*fsspec.available_protocols()} - REMOTE), "FILE", "file::file", "simplecache::file", "https::file"]
)
@pytest.mark.parametrize("recursive", [False, True])
def test_no_other_scheme_that_fsspec_knows_reads_anything(tmp_path: Path, scheme: str, recursive: bool) -> None:
    (tmp_path / "secret").write_text("secret")
    path = tmp_path if recursive else tmp_path / "secret"
    for url in (f"{scheme}://{path}", f"{scheme}://a::file://{path}", f"https://a::{scheme}://{path}"):
        with pytest.raises((ForbiddenError, UnsupportedError)):
            everything(url, LocalFiles(), recursive=recursive)


@pytest.fixture
def open_to(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for folder in (root / "data", root / "deep"):
        folder.mkdir(parents=True)
    (root / "a").write_text("a")
    (root / "deep" / "b").write_text("b")
    (root / "data" / "token").write_text("secret")
    (tmp_path / "outside").write_text("secret")
    return root


def test_below_an_allowed_directory_only_regular_files_are_read_and_no_link_leads_out(open_to: Path, tmp_path: Path) -> None:
    local = LocalFiles([open_to], never=open_to / "data")
    assert everything(f"file://{open_to}/a", local) == b"a"
    (open_to / "inner").symlink_to("deep/b")
    assert everything(f"file://{open_to}/inner", local) == b"b"
    assert everything(f"file://{open_to}", local, recursive=True) == b"abb"  # without the server's own data

    (open_to / "link").symlink_to(tmp_path / "outside")
    (open_to / "folder").symlink_to(tmp_path)
    (open_to / "token").symlink_to("data/token")
    os.mkfifo(open_to / "pipe")
    for path in ("link", "folder/outside", "token", "data/token", "../outside", "deep/../../outside", "pipe", "deep"):
        with pytest.raises(MinipachdError):
            everything(f"file://{open_to}/{path}", local)
    with pytest.raises(MinipachdError):
        everything(f"file://{open_to}", local, recursive=True)  # the link is named, not left out


def test_below_an_allowed_directory_nothing_is_written_through_a_link(open_to: Path, tmp_path: Path) -> None:
    local = LocalFiles([open_to], never=open_to / "data")
    source = tmp_path / "source"
    source.write_text("new")
    local.save(source, f"{open_to}/to/x/y")
    assert (open_to / "to" / "x" / "y").read_text() == "new"

    (open_to / "folder").symlink_to(tmp_path)
    (open_to / "file").symlink_to(tmp_path / "outside")
    for path in ("folder/x", "data/x", "../x", "to/../../x"):
        with pytest.raises((MinipachdError, OSError)):
            local.save(source, f"{open_to}/{path}")
    local.save(source, f"{open_to}/file")
    assert not (open_to / "file").is_symlink()
    assert (tmp_path / "outside").read_text() == "secret"
    assert not (tmp_path / "x").exists()


def test_passwords_and_signatures_of_urls_are_not_printed() -> None:
    assert shown("https://me:pass@host/a?sig=secret") == "https://host/a?…"
    with pytest.raises(MinipachdError) as error:
        everything("http://me:word@127.0.0.1:9/a?sig=secret", LocalFiles())
    assert "word" not in str(error.value)
    assert "secret" not in str(error.value)
