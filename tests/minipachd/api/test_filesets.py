"""File sets, files that leave for a URL, and the checks of the store; python-pachyderm has no calls for them."""

import grpc
import pytest
from python_pachyderm import RpcError
from python_pachyderm.proto.v2.pfs import pfs_pb2, pfs_pb2_grpc

from tests.minipachd.api.calls import content, put, repo


@pytest.fixture
def stub(engine):
    repo(engine.client, "images")
    with grpc.insecure_channel(engine.address) as channel:
        yield pfs_pb2_grpc.APIStub(channel)


def add(path, data):
    message = pfs_pb2.ModifyFileRequest()
    message.add_file.path = path
    message.add_file.raw.value = data
    return message


def remove(path):
    message = pfs_pb2.ModifyFileRequest()
    message.delete_file.path = path
    return message


def create(stub, *messages):
    return stub.CreateFileSet(iter(messages)).file_set_id


def in_set(file_set, path="/"):
    commit = pfs_pb2.Commit(id=file_set, branch=pfs_pb2.Branch(repo=pfs_pb2.Repo(name="__filesets__", type="user")))
    return pfs_pb2.File(commit=commit, path=path)


def listed(stub, file_set):
    return {info.file.path: info.size_bytes for info in stub.ListFile(pfs_pb2.ListFileRequest(file=in_set(file_set)))}


def test_a_file_set_is_read_like_a_commit_and_goes_over_an_open_one(engine, stub):
    before = put(engine.client, "images", {"/a": b"old", "/b": b"kept", "/log": b"1"})
    file_set = create(stub, remove("/a"), add("/a", b"new"), add("/log", b"2"))
    assert listed(stub, file_set) == {"/a": 3, "/log": 1}
    (piece,) = stub.GetFile(pfs_pb2.GetFileRequest(file=in_set(file_set, "/a")))
    assert piece.value == b"new"

    commit = engine.client.start_commit("images", "master")
    stub.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=file_set))
    engine.client.finish_commit(commit)
    assert [content(engine.client, commit, path) for path in ("/a", "/b", "/log")] == [b"new", b"kept", b"12"]
    assert content(engine.client, before, "/a") == b"old"
    with pytest.raises(grpc.RpcError, match="has already finished"):
        stub.AddFileSet(pfs_pb2.AddFileSetRequest(commit=commit, file_set_id=file_set))


def test_a_commit_as_a_file_set_and_sets_over_each_other(engine, stub):
    commit = put(engine.client, "images", {"/a": b"a", "/d/b": b"b"})
    bottom = stub.GetFileSet(pfs_pb2.GetFileSetRequest(commit=commit)).file_set_id
    top = create(stub, remove("/d/"), add("/a", b"+"), add("/c", b"cc"))
    composed = stub.ComposeFileSet(pfs_pb2.ComposeFileSetRequest(file_set_ids=[bottom, top], ttl_seconds=60)).file_set_id
    assert listed(stub, composed) == {"/a": 2, "/c": 2}
    (shard,) = stub.ShardFileSet(pfs_pb2.ShardFileSetRequest(file_set_id=composed)).shards
    assert (shard.lower, shard.upper) == ("", "")

    again = engine.client.start_commit("images", "master")
    stub.AddFileSet(pfs_pb2.AddFileSetRequest(commit=again, file_set_id=composed))
    engine.client.finish_commit(again)
    assert content(engine.client, again, "/a") == b"aa+", "the commit's file, and what the set appends"
    assert [info.file.path for info in engine.client.list_file(again, "/")] == ["/a", "/c"], "what a lower set takes away stays away"


def test_file_sets_outlive_a_kill_and_a_collection_and_end_with_their_time(engine, stub):
    file_set = create(stub, add("/a", b"x" * 100_000))
    engine.kill()
    engine.start()
    with grpc.insecure_channel(engine.address) as channel:
        stub = pfs_pb2_grpc.APIStub(channel)
        assert listed(stub, file_set) == {"/a": 100_000}
        stub.RenewFileSet(pfs_pb2.RenewFileSetRequest(file_set_id=file_set, ttl_seconds=1800))
        for seconds in (0, 1801):
            with pytest.raises(grpc.RpcError, match=f"ttl_seconds must be between 1 and 1800, it is {seconds}"):
                stub.RenewFileSet(pfs_pb2.RenewFileSetRequest(file_set_id=file_set, ttl_seconds=seconds))
        with pytest.raises(grpc.RpcError, match="file set missing not found") as error:
            stub.RenewFileSet(pfs_pb2.RenewFileSetRequest(file_set_id="missing", ttl_seconds=9))
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("call", ["GetFile", "GetFileTAR"])
def test_get_file_writes_what_matches_to_a_url(engine, stub, tmp_path, call):
    commit = put(engine.client, "images", {"/d/a.jpg": b"a", "/d/b.jpg": b"b", "/c.txt": b"c"})
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path="/d/*.jpg"), URL=f"file://{tmp_path}/out")
    assert list(getattr(stub, call)(request)) == []
    found = {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    assert found == {"d/a.jpg": b"a", "d/b.jpg": b"b"}
    assert list((engine.root / "tmp").iterdir()) == []
    with pytest.raises(grpc.RpcError, match="unsupported scheme 'nowhere'"):
        list(getattr(stub, call)(pfs_pb2.GetFileRequest(file=request.file, URL="nowhere://x")))
    missing = pfs_pb2.File(commit=commit, path="/missing*")
    with pytest.raises(grpc.RpcError, match=r"file /missing\* not found"):
        list(getattr(stub, call)(pfs_pb2.GetFileRequest(file=missing, URL=request.URL)))


def test_egress_copies_a_commit(engine, stub, tmp_path):
    commit = put(engine.client, "images", {"/a": b"12345", "/d/b": b"678"})
    target = pfs_pb2.ObjectStorageEgress(url=f"file://{tmp_path}/out")
    answer = stub.Egress(pfs_pb2.EgressRequest(commit=commit, object_storage=target))
    assert answer.object_storage.bytes_written == 8
    assert (tmp_path / "out" / "d" / "b").read_bytes() == b"678"
    with pytest.raises(grpc.RpcError, match="SQL") as error:
        stub.Egress(pfs_pb2.EgressRequest(commit=commit, sql_database=pfs_pb2.SQLDatabaseEgress(url="postgres://x")))
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_check_storage_counts_chunks_and_reads_them(engine, stub):
    put(engine.client, "images", {"/a": b"a" * (2 << 20), "/b": b"b"})
    request = pfs_pb2.CheckStorageRequest(read_chunk_data=True)
    assert stub.CheckStorage(request).chunk_object_count == 2  # the two halves of /a are the same chunk
    for pack in (engine.root / "packs").iterdir():
        pack.write_bytes(bytes(pack.stat().st_size))
    with pytest.raises(grpc.RpcError, match="is damaged at byte 0") as error:
        stub.CheckStorage(request)
    assert error.value.code() is grpc.StatusCode.DATA_LOSS


def test_fsck_puts_a_recorded_size_right_when_asked(engine, stub):
    import sqlite3

    commit = put(engine.client, "images", {"/a": b"12345"})
    engine.stop()
    connection = sqlite3.connect(engine.root / "metadata.db")
    connection.execute("UPDATE commits SET size = 7")
    connection.commit()
    connection.close()
    engine.start()
    (finding,) = engine.client.fsck()
    assert "invariant 3" in finding.error
    (fixed,) = engine.client.fsck(fix=True)
    assert fixed.fix.endswith("said 7 bytes, its files have 5: corrected")
    assert list(engine.client.fsck()) == []
    assert next(iter(engine.client.inspect_commit(commit))).details.size_bytes == 5


def test_fsck_finds_files_that_no_datum_has_written(engine, stub):
    from python_pachyderm.proto.v2.pps import pps_pb2

    put(engine.client, "images", {"/a": b"1"})
    project = pps_pb2.Input(pfs=pps_pb2.PFSInput(repo="images", glob="/*"))
    engine.client.create_pipeline("copy", pps_pb2.Transform(cmd=["bash"], stdin=["cp $PFS_ROOT/images/* $PFS_ROOT/out/"]), input=project)
    head = next(iter(engine.client.list_branch("copy"))).head
    engine.client.wait_commit(head)
    assert list(stub.Fsck(pfs_pb2.FsckRequest(zombie_all=True))) == []
    engine.stop()
    _lose_datums(engine.root)
    engine.start()
    (zombie,) = stub_of(engine).Fsck(pfs_pb2.FsckRequest(zombie_target=head))
    assert zombie.error.startswith("zombie: file /a of commit default/copy@")


def _lose_datums(root):
    import sqlite3

    connection = sqlite3.connect(root / "metadata.db")
    connection.execute("UPDATE pps_jobs SET datums = x''")
    connection.commit()
    connection.close()


def stub_of(engine):
    return pfs_pb2_grpc.APIStub(grpc.insecure_channel(engine.address))


def test_a_stream_for_a_file_set_names_no_commit(stub):
    message = pfs_pb2.ModifyFileRequest()
    message.set_commit.id = "x"
    with pytest.raises((grpc.RpcError, RpcError), match="cannot set commit"):
        create(stub, message)
