"""What the system refuses is named for what it is, and is no damage."""

import errno
import resource
import sqlite3
from pathlib import Path

import grpc
import pytest
from grpc import RpcError, StatusCode
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from minipachd.errors import LimitError, ReadOnlyError, StorageFullError, UnreadableError
from minipachd.storage import ChunkStore, Database
from minipachd.storage.chunks import read_verified
from minipachd.storage.limits import named
from tests.support import Engine


def test_without_free_descriptors_reads_and_writes_say_so_and_nothing_is_called_damaged(engine: Engine) -> None:
    engine.client.create_repo("in")
    for number in range(3):
        with engine.client.modify_file_client(("in", "master")) as commit:
            commit.put_file_from_bytes(f"/{number}", b"%d" % number * 2_000_000)
    head = engine.client.inspect_branch("in", "master").head
    stub = pfs_pb2_grpc.APIStub(grpc.insecure_channel(engine.address))
    list(stub.ListRepo(pfs_pb2.ListRepoRequest()))
    pid = engine.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), hard))

    def get() -> None:
        list(stub.GetFile(pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=head, path="/0"))))

    def put() -> None:
        with engine.client.modify_file_client(("in", "master")) as commit:
            commit.put_file_from_bytes("/x", b"x" * 2_000_000)

    for call in (get, put):
        with pytest.raises(RpcError, match=r"open files.* \(ulimit -n\)") as error:
            call()
        assert error.value.code() is StatusCode.RESOURCE_EXHAUSTED

    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert engine.client.get_file(("in", "master"), "/0").read() == b"0" * 2_000_000
    assert list(engine.client.fsck()) == []


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(errno.EMFILE, ""), LimitError, "ulimit -n"),
        (OSError(errno.ENFILE, ""), LimitError, r"fs\.file-max"),
        (OSError(errno.ENOMEM, ""), LimitError, "no more memory"),
        (MemoryError(), LimitError, "no more memory"),
        (RuntimeError("can't start new thread"), LimitError, "no more threads"),
        (OSError(errno.EROFS, ""), ReadOnlyError, "read-only"),
        (OSError(errno.ENOSPC, ""), StorageFullError, "free some space"),
        (OSError(errno.EDQUOT, ""), StorageFullError, "free some space"),
    ],
)
def test_each_limit_has_its_name(error: Exception, kind: type[Exception], words: str) -> None:
    found = named(error, "cannot write to /x")
    assert isinstance(found, kind)
    assert named(OSError(errno.EIO, ""), "x") is None
    with pytest.raises(kind, match=f"cannot write to /x: .*{words}"):
        raise found


def test_a_database_that_may_not_be_written_is_called_read_only(tmp_path: Path) -> None:
    database = Database(tmp_path / "metadata.db")
    ChunkStore(database, tmp_path)
    database.close()
    connection = sqlite3.connect(f"file:{tmp_path}/metadata.db?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError) as error:
        connection.execute("DELETE FROM packs")
    connection.close()
    assert isinstance(named(error.value, "x"), ReadOnlyError)


def test_a_pack_that_the_disk_does_not_give_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.pack").mkdir()
    with pytest.raises(UnreadableError, match=r"pack x\.pack cannot be read"):
        read_verified(tmp_path / "x.pack", bytes(32), offset=0, length=1)
