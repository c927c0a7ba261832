"""What a real Pachyderm answers where one might expect something else; seen there, or read in its code."""

import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
from python_pachyderm import Client
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.service import Service

from tests.minipachd.api.calls import branch, paths, put, repo, start
from tests.support import Engine


def code(call: Callable[[], Any]) -> str:
    """The name of the status that a call ends with; a stream is read to its end."""
    try:
        answer = call()
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as exc:
        return str(exc.code().name)
    return "OK"


def modify(client: Client, name: str, commit: str, *bodies: dict[str, Any]) -> None:
    """One ModifyFile stream of these messages, to a branch or an id with or without ancestry."""
    target = pfs_pb2.Commit(repo=branch(name).repo, branch=branch(name, ""), id=commit)
    client._req(
        Service.PFS,
        "ModifyFile",
        req=iter([pfs_pb2.ModifyFileRequest(set_commit=target), *(pfs_pb2.ModifyFileRequest(**b) for b in bodies)]),
    )


def add(path: str, data: bytes = b"1") -> dict[str, Any]:
    return {"add_file": pfs_pb2.AddFile(path=path, raw=BytesValue(value=data))}


def delete(path: str) -> dict[str, Any]:
    return {"delete_file": pfs_pb2.DeleteFile(path=path)}


@pytest.fixture
def client(either_engine: Engine) -> Client:
    return either_engine.client


@pytest.fixture
def name(client: Client) -> str:
    return repo(client, f"r-{uuid.uuid4().hex[:8]}")


@pytest.mark.parametrize(
    "path", ["", "*", "/d/[1]", "/.", "/..", "/a/../b", "/a\x00b", "/ä", "/a\nb", "/a*", "/{a}", "/(a)", "/a@b", "/a+b"]
)
def test_neither_put_nor_delete_takes_a_path_that_no_file_can_have(client, name, path):
    put(client, name, {"/a": b"1", "/d/1": b"1"})
    for body in (delete(path), add(path), {"add_file": pfs_pb2.AddFile(path=path)}):
        with pytest.raises(grpc.RpcError, match=r"path \(.*\) invalid") as error:
            modify(client, name, "master", body)
        assert error.value.code() is grpc.StatusCode.UNKNOWN
    assert paths(client.walk_file((name, "master"), "/")) == ["/", "/a", "/d/", "/d/1"]


@pytest.mark.parametrize("path", ["a", "//a", "/a/", "a//"])
def test_slashes_in_excess_do_no_harm(client, name, path):
    modify(client, name, "master", add(path))
    assert paths(client.walk_file((name, "master"), "/")) == ["/", "/a"]


def test_what_is_put_to_the_root_makes_a_directory(client, name):
    """It is taken, and shows as the directory that it is named as."""
    modify(client, name, "master", add("/", b"123"))
    assert [(info.file.path, info.file_type, info.size_bytes) for info in client.walk_file((name, "master"), "/")] == [("/", 2, 0)]
    assert client.inspect_file((name, "master"), "/").file_type == 2
    assert list(client.list_file((name, "master"), "/")) == []
    file = pfs_pb2.File(commit=pfs_pb2.Commit(branch=branch(name)), path="/")
    assert code(lambda: client._req(Service.PFS, "GetFile", file=file)) == "UNKNOWN"
    modify(client, name, "master", add("/a"))
    assert paths(client.walk_file((name, "master"), "/")) == ["/", "/a"]
    assert paths(client.list_file((name, "master"), "/")) == ["/a"]
    assert paths(client.glob_file((name, "master"), "/*")) == ["/a"]


@pytest.mark.parametrize(("path", "found"), [("/.", "/"), ("", "/"), ("/d/..", "/"), ("/d/.", "/d/"), ("/d/../d//1", "/d/1"), ("..", None)])
def test_relative_elements_of_a_path_that_is_read_are_resolved(client, name, path, found):
    put(client, name, {"/a": b"1", "/d/1": b"1"})
    if found is None:
        assert code(lambda: client.inspect_file((name, "master"), path)) == "NOT_FOUND"
        return
    assert client.inspect_file((name, "master"), path).file.path == found
    assert paths(client.walk_file((name, "master"), path))[0] == found
    assert paths(client.glob_file((name, "master"), path)) == [found]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("/{d", ["/d/"]),
        ("/{d,e", ["/d/", "/e"]),
        ("/(d|e", ["/d/", "/e"]),
        ("/!(d", ["/e"]),
        ("/{", []),
        ("/()", []),
        ("/d\\", []),
        ("/[d", None),
    ],
)
def test_a_bracket_of_a_pattern_that_is_not_closed_ends_where_the_pattern_does(client, name, pattern, found):
    """Only a character class must be closed."""
    put(client, name, {"/d/1": b"1", "/e": b""})
    if found is None:
        assert code(lambda: list(client.glob_file((name, "master"), pattern))) == "UNKNOWN"
    else:
        assert paths(client.glob_file((name, "master"), pattern)) == found


def test_deleting_a_branch_that_is_not_there_is_an_error_since_2_8(either_engine, client, name):
    expected = "NOT_FOUND" if either_engine.client.get_remote_version().minor == 12 else "OK"
    assert code(lambda: client.delete_branch(name, "none")) == expected
    assert code(lambda: client.delete_branch("none", "none")) == expected


@pytest.mark.parametrize("call", ["DropCommitSet", "SquashCommitSet"])
def test_a_set_that_is_not_there_has_nothing_to_lose(client, call):
    assert code(lambda: client._req(Service.PFS, call, commit_set=pfs_pb2.CommitSet(id=uuid.uuid4().hex))) == "OK"


@pytest.mark.parametrize(
    ("reference", "since_2_8", "in_2_7"),
    [
        ("master", 3, 3),
        ("master^", 2, 2),
        ("master~~", 1, 1),
        ("master^0", 3, 3),
        ("master^2", 1, 1),
        ("master.1", 1, 1),
        ("master.3", 3, 3),
        ("master.3^", 2, "UNKNOWN"),
        ("master.3^2", 1, "UNKNOWN"),
        ("master.4", 3, "NOT_FOUND"),  # one beyond the newest is the newest, too
        ("master.5", "UNKNOWN", "NOT_FOUND"),
        ("master.0", "UNKNOWN", 3),
        ("master^9", "UNKNOWN", "NOT_FOUND"),
        ("master^-1", "UNKNOWN", 1),
        ("master^^2", "UNKNOWN", "UNKNOWN"),
        ("master~^", "UNKNOWN", "UNKNOWN"),
        ("master^a", "UNKNOWN", "UNKNOWN"),
        ("none^", "NOT_FOUND", "NOT_FOUND"),
    ],
)
def test_ancestry(either_engine, name, reference, since_2_8, in_2_7):
    client = either_engine.client
    commits = [put(client, name, {f"/{number}": b"1"}).id for number in (1, 2, 3)]
    expected = since_2_8 if client.get_remote_version().minor == 12 else in_2_7
    if isinstance(expected, str):
        assert code(lambda: list(client.inspect_commit((name, None, reference)))) == expected
    else:
        (found,) = client.inspect_commit((name, None, reference))
        assert found.commit.id == commits[expected - 1]


def test_a_branch_in_the_ids_place_beside_another_is_refused_in_2_7_and_the_one_that_counts_since(either_engine, name):
    client = either_engine.client
    put(client, name, {"/a": b"1"})
    client.create_branch(name, "other", head_commit=(name, "master"))
    expected = "OK" if client.get_remote_version().minor == 12 else "UNKNOWN"
    assert code(lambda: list(client.inspect_commit((name, "none", "other")))) == expected


def test_finding_commits_counts_those_before_the_one_that_is_found(client, name):
    commit = put(client, name, {"/a": b"1"})
    found = list(client._req(Service.PFS, "FindCommits", start=commit, file_path="/a"))
    assert [(answer.WhichOneof("result"), answer.commits_searched) for answer in found] == [
        ("found_commit", 0),
        ("last_searched_commit", 1),
    ]


def test_a_branch_that_is_set_to_the_head_it_has_makes_everything_downstream_anew(client, name):
    downstream = repo(client, f"{name}-below")
    commit = put(client, name, {"/a": b"1"})
    client.create_branch(downstream, "master", provenance=[branch(name)])
    before = client.inspect_branch(downstream, "master").head.id
    client.create_branch(name, "master", head_commit=commit)
    head = client.inspect_branch(downstream, "master").head.id
    assert head != before
    (info,) = (info for info in client.inspect_commit(head) if info.commit.repo.name == downstream)
    assert [made.id for made in info.direct_provenance] == [commit.id]


def test_an_id_has_ancestors_and_no_first_commit(engine_2_12):
    client, name = engine_2_12.client, repo(engine_2_12.client, "of-ids")
    first, second = put(client, name, {"/1": b"1"}), put(client, name, {"/2": b"2"})
    (found,) = client.inspect_commit((name, None, f"{second.id}^"))
    assert found.commit.id == first.id
    (found,) = client.inspect_commit((name, None, second.id.upper()))
    assert found.commit.id == second.id
    assert code(lambda: list(client.inspect_commit((name, None, f"{second.id}.1")))) == "UNKNOWN"


def test_a_file_and_a_directory_of_one_name_cannot_be_read_since_2_8(either_engine, name):
    """Neither in an open commit, nor in the one with an error that it becomes; what is beside them can."""
    client = either_engine.client
    commit = start(client, name)
    modify(client, name, commit.id, add("/a/b"), add("/a/b/c"), add("/d/1"))
    expected = "UNKNOWN" if client.get_remote_version().minor == 12 else "OK"
    for _ in range(2):
        for call in (
            lambda: list(client.walk_file(commit, "/")),
            lambda: list(client.list_file(commit, "/")),
            lambda: list(client.glob_file(commit, "/a/**")),
            lambda: client.inspect_file(commit, "/a"),
            lambda: list(client.diff_file(commit, "/")),
        ):
            assert code(call) == expected
        assert paths(client.list_file(commit, "/d")) == ["/d/1"]
        if not next(iter(client.inspect_commit(commit))).finished.seconds:
            client.finish_commit(commit)
    assert next(iter(client.inspect_commit(commit))).error


def test_branches_that_lose_their_head_together_get_one_commit(client, name):
    commit = start(client, name)
    client.create_branch(name, "-x", head_commit=(name, None, "master.1"))
    client.drop_commit(commit.id)
    heads = {info.branch.name: info.head.id for info in client.list_branch(name)}
    assert set(heads) == {"master", "-x"}
    assert len(set(heads.values())) == 1
    assert commit.id not in heads.values()


def test_a_repo_is_only_once_among_branches_that_are_connected(client, name):
    """Also where two branches of one repo have nothing but their origin in common."""
    downstream = repo(client, f"{name}-below")
    put(client, name, {"/a": b"1"})
    client.create_branch(downstream, "master", provenance=[branch(name)])
    with pytest.raises(grpc.RpcError, match="multiple branches from the same repo") as error:
        client.create_branch(downstream, "other", provenance=[branch(name)])
    assert error.value.code() is grpc.StatusCode.UNKNOWN
