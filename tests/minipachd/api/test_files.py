"""Files over the wire: writing, reading, listing, globs, differences."""

import functools
import http.server
import io
import tarfile
import threading

import pytest
from python_pachyderm import RpcError
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.service import Service

from tests.minipachd.api.calls import content, paths, put, repo

MIB = 1 << 20


@pytest.fixture
def client(shared_engine):
    return shared_engine.client


def test_a_put_replaces_and_an_append_adds(client):
    repo(client, "f-put")
    head = ("f-put", "master")
    client.put_file_bytes(head, "/f", b"one")
    client.put_file_bytes(head, "/f", b"two")
    assert content(client, head, "/f") == b"two"
    client.put_file_bytes(head, "/f", b" and three", append=True)
    assert content(client, head, "/f") == b"two and three"
    assert client.inspect_file(head, "/f").size_bytes == 13


def test_equal_content_has_an_equal_hash_however_it_came_in(client):
    repo(client, "f-hash")
    head = ("f-hash", "master")
    data = bytes(range(256)) * (5 * MIB // 512)  # two and a half chunks
    client.put_file_bytes(head, "/whole", data)
    client.put_file_bytes(head, "/grown", data[: MIB + 7])
    client.put_file_bytes(head, "/grown", data[MIB + 7 :], append=True)
    whole, grown = client.inspect_file(head, "/whole"), client.inspect_file(head, "/grown")
    assert (whole.hash, whole.size_bytes) == (grown.hash, grown.size_bytes)
    assert content(client, head, "/grown") == data


def test_large_files_travel_in_pieces_and_from_an_offset(client):
    repo(client, "f-large")
    head = ("f-large", "master")
    data = b"".join(bytes([n]) * MIB for n in range(22))
    client.put_file_bytes(head, "/big", data)
    request = pfs_pb2.GetFileRequest(
        file=pfs_pb2.File(commit=pfs_pb2.Commit(branch=pfs_pb2.Branch(repo=pfs_pb2.Repo(name="f-large"), name="master")), path="/big")
    )
    pieces = [message.value for message in client._req(Service.PFS, "GetFile", req=request)]
    assert len(pieces) > 1
    assert b"".join(pieces) == data
    request.offset = 3 * MIB + 5
    assert b"".join(message.value for message in client._req(Service.PFS, "GetFile", req=request)) == data[3 * MIB + 5 :]


def test_empty_files_exist_and_can_be_read(client):
    repo(client, "f-empty")
    client.put_file_bytes(("f-empty", "master"), "/none", b"")
    (info,) = client.list_file(("f-empty", "master"), "")
    assert (info.file.path, info.size_bytes, info.file_type) == ("/none", 0, pfs_pb2.FileType.Value("FILE"))
    assert content(client, ("f-empty", "master"), "/none") == b""


def test_one_stream_is_applied_in_order_and_whole(client):
    repo(client, "f-stream")
    head = ("f-stream", "master")
    put(client, "f-stream", {"/dir/a": b"a", "/dir/b": b"b", "/top": b"t"})
    with client.modify_file_client(head) as files:
        files.delete_file("/dir/")
        files.put_file_from_bytes("/dir/c", b"c")
        files.put_file_from_bytes("/gone", b"x")
        files.delete_file("/gone")
    assert paths(client.walk_file(head, "/")) == ["/", "/dir/", "/dir/c", "/top"]

    def put_two() -> None:
        with client.modify_file_client(head) as files:
            files.put_file_from_bytes("/new", b"x")
            files.put_file_from_bytes("/bad*name", b"x")

    with pytest.raises(RpcError, match=r"path .* invalid"):
        put_two()
    assert paths(client.list_file(head, "/")) == ["/dir/", "/top"]


def test_a_directory_is_deleted_only_with_its_slash(client):
    repo(client, "f-del")
    head = ("f-del", "master")
    put(client, "f-del", {"/d/a": b"", "/e/a": b"", "/f": b""})
    client.delete_file(head, "/d")
    client.delete_file(head, "/nothing")
    assert paths(client.list_file(head, "/")) == ["/d/", "/e/", "/f"]
    client.delete_file(head, "/d/")
    assert paths(client.list_file(head, "/")) == ["/e/", "/f"]
    client.delete_file(head, "/")
    assert list(client.list_file(head, "/")) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/a*b", "globbing character"),
        ("/ä", "printable ASCII"),
        ("/a/../b", "relative file paths"),
        ("/a\nb", "printable ASCII"),
    ],
)
def test_illegal_paths_are_refused_and_named(client, path, text):
    client.create_repo("f-paths", update=True)
    with pytest.raises(RpcError, match=r"path \(.*\) invalid") as error:
        client.put_file_bytes(("f-paths", "master"), path, b"")
    assert text in error.value.details()


def test_copies_share_content_across_repos_and_are_recursive(client):
    repo(client, "f-src")
    repo(client, "f-dst")
    source = put(client, "f-src", {"/d/x": b"x", "/d/e/y": b"y", "/z": b"z"})
    commit = client.start_commit("f-dst", "master")
    client.copy_file(source, "/d", commit, "/copied")
    client.copy_file(source, "/z", commit, "/z2")
    client.copy_file(source, "/z", commit, "/z2", append=True)
    client.copy_file(source, "/nowhere", commit, "/n")  # copies the nothing that is there
    client.finish_commit(commit)
    assert paths(client.walk_file(commit, "/")) == ["/", "/copied/", "/copied/e/", "/copied/e/y", "/copied/x", "/z2"]
    assert content(client, commit, "/z2") == b"zz"


def test_lookups_answer_as_clients_expect(client):
    repo(client, "f-look")
    commit = put(client, "f-look", {"/dir/file1": b"1", "/file2": b"22"})
    exists = functools.partial(client.path_exists, commit)
    assert [exists(path) for path in ("/", "dir/", "dir", "dir/file1", "dir/file1/", "file2", "file1")] == [True] * 6 + [False]
    with pytest.raises(ValueError, match="nonexistent commit"):
        client.path_exists(("no-such-repo", "master"), "/a")
    directory = client.inspect_file(commit, "/dir")
    assert (directory.file.path, directory.file_type, directory.size_bytes) == ("/dir/", pfs_pb2.FileType.Value("DIR"), 1)
    assert len(directory.hash) == 32
    file = client.inspect_file(commit, "/file2").file
    assert (file.commit.id, file.commit.repo.name, file.datum) == (commit.id, "f-look", "default")
    with pytest.raises(RpcError, match="does not contain item"):
        list(client.walk_file(commit, "/nowhere"))
    assert list(client.list_file(commit, "/nowhere")) == []

    def get(path):
        return next(client._req(Service.PFS, "GetFile", req=pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path=path)))).value

    assert get("/dir/*") == b"1", "the path is a glob"
    for path, text in (("/dir", "cannot get directory"), ("/**", "matched multiple files"), ("/a file", "file /a file not found in repo")):
        with pytest.raises(RpcError, match=text):
            get(path)


def test_listings_page_in_both_directions(client):
    repo(client, "f-page")
    commit = put(client, "f-page", {"/a": b"", "/b/1": b"", "/b/2": b"", "/b-": b"", "/c": b""})
    assert paths(client.list_file(commit, "/")) == ["/a", "/b-", "/b/", "/c"]

    def page(rpc, **fields):
        file = pfs_pb2.File(commit=commit, path="/")
        marker = pfs_pb2.File(commit=commit, path=fields.pop("after")) if "after" in fields else None
        return paths(client._req(Service.PFS, rpc, file=file, paginationMarker=marker, **fields))

    assert page("ListFile", number=2) == ["/a", "/b-"]
    assert page("ListFile", number=2, after="/b-") == ["/b/", "/c"]
    assert page("ListFile", after="/b/") == ["/c"]
    assert page("ListFile", number=2, reverse=True, after="/c") == ["/b/", "/b-"]
    assert page("WalkFile", number=3) == ["/", "/a", "/b-"]
    assert page("WalkFile", number=3, after="/b-") == ["/b/", "/b/1", "/b/2"]
    assert page("WalkFile", after="/b/1") == ["/b/2", "/c"]
    assert page("WalkFile", number=2, reverse=True, after="/b/2") == ["/b/1", "/b/"]
    with pytest.raises(RpcError, match="number must be > 0 when reverse"):
        page("ListFile", reverse=True)
    with pytest.raises(RpcError, match="more than 100000"):
        page("ListFile", number=100_001)


def test_globs_find_files_and_directories(client):
    repo(client, "f-glob")
    commit = put(client, "f-glob", {"/a1.dat": b"", "/a2.dat": b"", "/d/b1.dat": b"", "/d/e/c1.dat": b""})

    def glob(pattern):
        return paths(client.glob_file(commit, pattern))

    assert glob("/*.dat") == ["/a1.dat", "/a2.dat"]
    assert glob("*") == ["/a1.dat", "/a2.dat", "/d/"]
    assert glob("/d/*") == ["/d/b1.dat", "/d/e/"]
    assert glob("/**1.dat") == ["/a1.dat", "/d/b1.dat", "/d/e/c1.dat"]
    assert glob("/{a1,d/b1}.dat") == ["/a1.dat", "/d/b1.dat"]
    assert glob("/") == ["/"]
    assert glob("/nothing*") == []
    with pytest.raises(RpcError, match="invalid"):
        glob("/[")


def test_an_archive_holds_what_matches_with_its_directories(client):
    repo(client, "f-tar")
    files = {"/a": b"1" * 700, "/d/b": b"2" * (MIB + 1), "/d/" + "n" * 200: b"long name", "/e": b""}
    commit = put(client, "f-tar", files)
    request = pfs_pb2.GetFileRequest(file=pfs_pb2.File(commit=commit, path="/"))
    data = b"".join(message.value for message in client._req(Service.PFS, "GetFileTAR", req=request))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        read = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
        directories = [member.name for member in archive if member.isdir()]
    assert read == files
    assert directories == ["", "/d"] or directories == ["/", "/d"]
    request.file.path = "/nowhere"
    with pytest.raises(RpcError, match="file /nowhere not found in repo default/f-tar at commit"):
        list(client._req(Service.PFS, "GetFileTAR", req=request))


def test_a_difference_lists_files_and_the_directories_above_them(client):
    repo(client, "f-diff")
    put(client, "f-diff", {"/d/same": b"1", "/d/old": b"1", "/other/x": b""})
    with client.commit("f-diff", "master") as commit:
        client.delete_file(commit, "/d/old")
        client.put_file_bytes(commit, "/d/new", b"2")
    found = [(answer.new_file.file.path, answer.old_file.file.path) for answer in client.diff_file(commit, "/")]
    assert found == [("/", "/"), ("/d/", "/d/"), ("/d/new", ""), ("", "/d/old")]

    put(client, "f-diff", {"/file1.dat": b"1", "/file2.dat": b"2"})
    head = ("f-diff", "master")
    answers = list(client.diff_file(head, "/file1.dat", head, "/file2.dat"))
    assert [(answer.HasField("new_file"), answer.HasField("old_file")) for answer in answers] == [(True, False), (False, True)]


def test_urls_are_fetched_by_the_server(client, tmp_path):
    repo(client, "f-url")
    head = ("f-url", "master")
    (tmp_path / "sub").mkdir()
    (tmp_path / "one.txt").write_bytes(b"one")
    (tmp_path / "sub" / "two.txt").write_bytes(b"two")
    client.put_file_url(head, "/local", (tmp_path / "one.txt").as_uri())
    client.put_file_url(head, "/tree", tmp_path.as_uri(), recursive=True)
    assert content(client, head, "/local") == b"one"
    assert paths(client.glob_file(head, "/tree/**.txt")) == ["/tree/one.txt", "/tree/sub/two.txt"]

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_port}"
            client.put_file_url(head, "/web", f"{base}/sub/two.txt")
            with pytest.raises(RpcError, match=r"error retrieving content from .*missing"):
                client.put_file_url(head, "/broken", f"{base}/missing")
        finally:
            server.shutdown()
            thread.join()
    assert content(client, head, "/web") == b"two"
    assert not client.path_exists(next(iter(client.list_commit("f-url"))).commit, "/broken")
    with pytest.raises(RpcError, match="unsupported scheme"):
        client.put_file_url(head, "/odd", "gopher-x://host/path")


def test_writing_to_a_finished_commit_by_its_id_is_refused(client):
    repo(client, "f-done")
    commit = put(client, "f-done", {"/a": b""})
    with pytest.raises(RpcError, match=r"commit [^ ]+ has already finished"):
        client.put_file_bytes(commit, "/b", b"")
    with pytest.raises(RpcError, match="first message must be a commit"):
        client._req(Service.PFS, "ModifyFile", req=iter([pfs_pb2.ModifyFileRequest(delete_file=pfs_pb2.DeleteFile(path="/a"))]))


def test_ten_thousand_tiny_messages_make_one_file(client):
    repo(client, "f-lines")
    lines = b"".join(b"line %d\n" % n for n in range(10_000))
    with client.modify_file_client(("f-lines", "master")) as files:
        files.put_file_from_fileobj("/lines", io.BytesIO(lines))
        for n in range(100):  # and interleaved ones
            files.put_file_from_bytes(f"/f{n % 3}", b"%d " % n, append=True)
    assert content(client, ("f-lines", "master"), "/lines") == lines
    assert content(client, ("f-lines", "master"), "/f0") == b"".join(b"%d " % n for n in range(0, 100, 3))


def test_fsck_finds_nothing_wrong(client):
    assert list(client.fsck()) == []
