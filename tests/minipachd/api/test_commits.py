"""Commits and commit sets over the wire."""

import threading

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from python_pachyderm import RpcError
from python_pachyderm.proto.v2.pfs import pfs_pb2
from python_pachyderm.service import Service

from tests.minipachd.api.calls import branch, content, paths, put, repo

AUTO = pfs_pb2.OriginKind.Value("AUTO")
USER = pfs_pb2.OriginKind.Value("USER")
FINISHED = pfs_pb2.CommitState.Value("FINISHED")


@pytest.fixture
def client(shared_engine):
    return shared_engine.client


def test_a_second_start_on_an_open_head_is_refused(client):
    repo(client, "c-open")
    commit = client.start_commit("c-open", "master")
    assert (commit.repo.name, len(commit.id), commit.id[12]) == ("c-open", 32, "4")
    with pytest.raises(RpcError, match=r"parent commit .* has not been finished"):
        client.start_commit("c-open", "master")
    client.finish_commit(commit)
    with pytest.raises(RpcError, match=r"commit [^ ]+ has already finished"):
        client.finish_commit(commit)
    client.start_commit("c-open", "master")


def test_finish_takes_every_form_of_reference_and_sets_a_real_time(client):
    repo(client, "c-finish")
    for reference in (lambda c: c, lambda c: ("c-finish", c.id), lambda _: ("c-finish", "master"), lambda c: ("c-finish", "master", c.id)):
        commit = client.start_commit("c-finish", "master", description="begun")
        client.finish_commit(reference(commit), description="ended")
        (info,) = client.inspect_commit(("c-finish", commit.id), pfs_pb2.CommitState.FINISHED)
        assert info.finished.seconds
        assert info.finished.nanos
        assert info.description == "ended"


def test_a_fork_starts_from_a_branch_named_in_the_ids_place(client):
    repo(client, "c-fork")
    first = put(client, "c-fork", {"/a": b"1"})
    patch = client.start_commit("c-fork", "patch", parent="master")
    client.finish_commit(patch)
    (info,) = client.inspect_commit(patch)
    assert info.parent_commit.id == first.id
    assert content(client, patch, "/a") == b"1"
    with pytest.raises(RpcError, match=r"parent commit .* not found"):
        client.start_commit("c-fork", "patch", parent="nowhere")


def test_references_reach_ancestors_by_every_operator(client):
    repo(client, "c-anc")
    ids = [put(client, "c-anc", {f"/{n}": b""}).id for n in range(3)]

    def named(reference):
        return next(iter(client.inspect_commit(("c-anc", reference)))).commit.id

    assert [named(f"master{suffix}") for suffix in ("^", "~1", "^^", "~2", "^2", ".1", ".3")] == [ids[n] for n in (1, 1, 0, 0, 0, 0, 2)]
    assert named(f"{ids[2]}^2") == ids[0]
    with pytest.raises(RpcError, match=r"commit [^ ]+ not found"):
        named("master^3")
    with pytest.raises(RpcError, match="invalid ancestry"):
        named("master^1.2")


def test_a_downstream_id_names_the_commit_that_it_read(client):
    repo(client, "c-left")
    repo(client, "c-right")
    repo(client, "c-both")
    client.create_branch("c-both", "master", provenance=[branch("c-left"), branch("c-right")])
    older = put(client, "c-left", {"/l": b"1"})
    newer = put(client, "c-right", {"/r": b"1"})
    (info,) = client.inspect_commit(("c-left", newer.id))
    assert info.commit.id == older.id, "the set of the newer commit used this one"
    assert {found.commit.repo.name: found.commit.id for found in client.inspect_commit(newer.id)} == {
        "c-left": older.id,
        "c-right": newer.id,
        "c-both": newer.id,
    }


def test_children_do_not_inherit_from_an_errored_commit(client):
    repo(client, "c-err")
    put(client, "c-err", {"/good": b"1"})
    bad = client.start_commit("c-err", "master")
    client.put_file_bytes(bad, "/bad", b"2")
    client.finish_commit(bad, error="no good")
    good = put(client, "c-err", {"/more": b"3"})
    assert paths(client.list_file(bad, "/")) == ["/bad", "/good"], "it stays readable"
    assert paths(client.list_file(good, "/")) == ["/good", "/more"]


def test_lists_filter_limit_and_walk(client):
    repo(client, "c-list")
    client.create_branch("c-list", "master")
    ids = [put(client, "c-list", {"/f": b"%d" % n}).id for n in range(4)]
    listed = [info.commit.id for info in client.list_commit("c-list")]
    assert listed == ids[::-1], "users' commits, newest first"
    everything = list(client.list_commit("c-list", all=True))
    assert [info.origin.kind for info in everything].count(AUTO) == 1
    assert [info.commit.id for info in client.list_commit("c-list", reverse=True, number=2)] == ids[:2]
    between = client.list_commit("c-list", to_commit=("c-list", ids[3]), from_commit=("c-list", ids[1]))
    assert [info.commit.id for info in between] == [ids[3], ids[2]]
    with pytest.raises(RpcError, match="cannot use 'from' commit without 'to'"):
        list(client.list_commit("c-list", from_commit=("c-list", ids[0])))


def test_a_long_list_is_whole_and_in_order(client):
    repo(client, "c-long")
    for number in range(600):
        client.put_file_bytes(("c-long", "master"), "/f", b"%d" % number)
    found = list(client.list_commit("c-long"))
    ids = [info.commit.id for info in found]
    assert len(set(ids)) == 600
    assert [info.parent_commit.id for info in found] == [*ids[1:], ""]
    assert [[child.id for child in info.child_commits] for info in found] == [[], *([child] for child in ids[:-1])]
    assert [info.commit.id for info in client.list_commit("c-long", reverse=True)] == ids[::-1]
    assert [info.commit.id for info in client.list_commit("c-long", to_commit=("c-long", ids[0]), number=500)] == ids[:500]


def test_lists_are_bounded_by_the_time_of_start(client):
    repo(client, "c-times")
    client.create_branch("c-times", "master")
    ids = [put(client, "c-times", {"/f": b"%d" % n}).id for n in range(4)]
    (info,) = client.inspect_commit(("c-times", ids[1]))

    def listed(**fields):
        request = pfs_pb2.ListCommitRequest(repo=info.commit.repo, origin_kind=USER, **fields)
        return [found.commit.id for found in client._req(Service.PFS, "ListCommit", req=request)]

    assert listed(started_time=info.started) == ids[:1], "before it, which is left out"
    assert listed(started_time=info.started, reverse=True) == ids[2:], "after it, oldest first"
    head = pfs_pb2.Commit(repo=info.commit.repo, id=ids[3])
    assert listed(started_time=info.started, to=head) == ids[3::-1], "there, Pachyderm does not look at it"
    assert listed(started_time=Timestamp(seconds=253_402_300_799)) == ids[::-1], "the last time that a message can hold"
    assert listed(started_time=Timestamp(seconds=-62_135_596_800), reverse=True) == ids


def test_a_collision_becomes_the_commits_error(client):
    repo(client, "c-clash")
    commit = client.start_commit("c-clash", "master")
    client.put_file_bytes(commit, "/a", b"file")
    client.put_file_bytes(commit, "/a/b", b"below")
    client.finish_commit(commit)
    (info,) = client.inspect_commit(commit, pfs_pb2.CommitState.FINISHED)
    assert "file / directory path collision (/a/b)" in info.error
    with client.modify_file_client(("c-clash", "master")) as files:  # a commit of its own
        files.put_file_from_bytes("/x", b"")
        files.put_file_from_bytes("/x/y", b"")
    (info,) = client.inspect_commit(("c-clash", "master"))
    assert "file / directory path collision (/x/y)" in info.error
    assert paths(client.list_file(("c-clash", put(client, "c-clash", {"/z": b""}).id), "/")) == ["/z"], "which nobody inherits"


def test_waiting_returns_when_the_last_commit_of_the_set_is_finished(client):
    repo(client, "c-wait-in")
    repo(client, "c-wait-out")
    client.create_branch("c-wait-out", "master", provenance=[branch("c-wait-in")])
    commit = client.start_commit("c-wait-in", "master")
    found = []
    waiter = threading.Thread(target=lambda: found.extend(client.wait_commit(commit.id)))
    waiter.start()
    client.finish_commit(commit)
    client.finish_commit(("c-wait-out", commit.id))
    waiter.join(20)
    assert [info.HasField("finished") for info in found] == [True, True]


def test_waiting_for_a_commit_that_is_dropped_ends_with_an_error(client):
    repo(client, "c-drop-wait")
    commit = client.start_commit("c-drop-wait", "master")
    errors = []

    def wait():
        try:
            client.wait_commit(commit)
        except RpcError as exc:
            errors.append(exc.details())

    waiter = threading.Thread(target=wait)
    waiter.start()
    client.drop_commit(commit.id)
    waiter.join(20)
    assert len(errors) == 1
    assert "was deleted" in errors[0] or "not found" in errors[0]


def test_subscribers_get_old_and_new_commits_and_may_leave(client):
    repo(client, "c-sub")
    old = put(client, "c-sub", {"/a": b""})
    stream = client.subscribe_commit("c-sub", "master", state=pfs_pb2.CommitState.FINISHED)
    assert next(stream).commit.id == old.id
    new = put(client, "c-sub", {"/b": b""})
    assert next(stream).commit.id == new.id
    stream.cancel()


def test_squash_and_drop_follow_pachyderms_rules(client):
    """The worked example of Pachyderm's own tests: two commits, and a branch made from theirs."""
    repo(client, "s-1")
    repo(client, "s-2")
    client.create_branch("s-2", "master", provenance=[branch("s-1")])
    first = put(client, "s-1", {"/a": b"1"})
    client.finish_commit(("s-2", "master"))
    second = put(client, "s-1", {"/b": b"2"})
    client.finish_commit(("s-2", "master"))

    def count(name, **filters):
        return len(list(client.list_commit(name, **filters)))

    assert (count("s-1"), count("s-2"), count("s-2", all=True)) == (2, 0, 3)
    with pytest.raises(RpcError, match="cannot drop a commit that has children"):
        client.drop_commit(first.id)
    with pytest.raises(RpcError, match="cannot squash a commit that has no children"):
        client.squash_commit(second.id)
    client.squash_commit(first.id)
    assert (count("s-1"), count("s-2", all=True)) == (1, 2)
    assert paths(client.list_file(second, "/")) == ["/a", "/b"], "squashing changes nothing that later commits show"
    client.drop_commit(second.id)
    assert (count("s-1"), count("s-2", all=True)) == (0, 1)
    assert list(client.list_file(("s-1", "master"), "/")) == []


def test_clear_drops_what_was_written(client):
    repo(client, "c-clear")
    put(client, "c-clear", {"/kept": b"1"})
    commit = client.start_commit("c-clear", "master")
    client.put_file_bytes(commit, "/gone", b"2")
    client._req(Service.PFS, "ClearCommit", commit=commit)
    assert paths(client.list_file(commit, "/")) == ["/kept"]
    client.finish_commit(commit)
    with pytest.raises(RpcError, match="cannot clear finished commit"):
        client._req(Service.PFS, "ClearCommit", commit=commit)


def test_find_commits_names_those_that_changed_a_file(client):
    repo(client, "c-find")
    ids = [put(client, "c-find", files).id for files in ({"/a": b"1"}, {"/b": b"1"}, {"/a": b"2"})]
    stream = client._req(
        Service.PFS, "FindCommits", req=pfs_pb2.FindCommitsRequest(start=pfs_pb2.Commit(branch=branch("c-find")), file_path="/a")
    )
    answers = list(stream)
    assert [answer.found_commit.id for answer in answers[:-1]] == [ids[2], ids[0]]
    assert answers[-1].last_searched_commit.id == ids[0]
