"""What minipachd answers as Pachyderm 2.12, and as 2.7: ``minipachd.api.dialect``."""

import subprocess
import sys
import uuid

import pytest
from grpc import RpcError, StatusCode
from python_pachyderm.service import Service

from tests.minipachd.api.calls import branch, put, repo, start
from tests.support import Engine


@pytest.fixture
def spoken(either_engine: Engine) -> tuple[Engine, str]:
    """A server and the name of the branch that it tells: 2.12 tells none."""
    version = either_engine.client.get_remote_version()
    return either_engine, {12: "", 7: "master"}[version.minor]


def test_the_version_is_the_one_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIPACHD_SPEAK", "2.7")
    for speak, minor in (("", 7), ("2.12", 12)):
        with Engine(tmp_path / (speak or "environment"), speak=speak) as engine:
            version = engine.client.get_remote_version()
            assert (version.major, version.minor) == (2, minor)


def test_another_version_is_refused_by_name(tmp_path, monkeypatch):
    command = [sys.executable, "-m", "minipachd", "--data", str(tmp_path / "data")]
    for arguments, speak in (((), "2.8"), (("--speak", "3"), "")):
        monkeypatch.setenv("MINIPACHD_SPEAK", speak)
        ended = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert "MINIPACHD_SPEAK" in ended.stderr
        assert "say 2.12 or 2.7" in ended.stderr


def test_the_commit_that_an_answer_is_about_has_a_branch_only_in_2_7(spoken):
    engine, told = spoken
    client, name = engine.client, repo(engine.client, "branches")
    started = start(client, name)
    assert (started.branch.name, started.HasField("branch"), started.repo.name) == (told, bool(told), name)
    client.put_file_bytes(started, "/a", b"a")
    client.finish_commit(started)
    second = put(client, name, {"/b": b"b"})

    newest = client.inspect_commit((name, second.id))
    newest = next(iter(newest))
    for commit in (newest.commit, newest.parent_commit):
        assert (commit.branch.name, commit.repo.name) == (told, name)
    assert {info.commit.branch.name for info in client.list_commit(name)} == {told}
    assert client.inspect_branch(name, "master").head.branch.name == told
    assert {info.head.branch.name for info in client.list_branch(name)} == {told}
    (subscribed,) = (next(client.subscribe_commit(name, "master")),)
    assert subscribed.commit.branch.name == told
    sets = [info for info in client._req(Service.PFS, "ListCommitSet") if info.commit_set.id == second.id]
    assert [info.commit.branch.name for one in sets for info in one.commits] == [told]


def test_files_are_of_a_commit_that_has_a_branch_only_in_2_7(spoken):
    engine, told = spoken
    client, name = engine.client, repo(engine.client, "files")
    commit = put(client, name, {"/d/a": b"a"})
    shown = [
        client.inspect_file(commit, "/d/a"),
        *client.list_file(commit, "/d"),
        *client.walk_file(commit, "/"),
        *client.glob_file(commit, "/d/*"),
        *(answer.new_file for answer in client.diff_file(commit, "/")),
    ]
    assert {(info.file.commit.branch.name, info.file.commit.repo.name, info.file.commit.id) for info in shown} == {(told, name, commit.id)}


def test_commits_that_are_named_beside_it_keep_their_branch(spoken):
    """In 2.12, too: children, and what a commit was made from."""
    client = spoken[0].client
    upstream, downstream = repo(client, "upstream"), repo(client, "downstream")
    client.create_branch(downstream, "master", provenance=[branch(upstream)])
    first, second = put(client, upstream, {"/a": b"a"}), put(client, upstream, {"/b": b"b"})

    (older,) = (info for info in client.list_commit(upstream) if info.commit.id == first.id)
    assert [(child.id, child.branch.name) for child in older.child_commits] == [(second.id, "master")]
    (made,) = (info for info in client.inspect_commit(second.id) if info.commit.repo.name == downstream)
    assert [(commit.id, commit.branch.name) for commit in made.direct_provenance] == [(second.id, "master")]


def test_waiting_for_the_jobs_of_a_set_that_does_not_exist_ends_at_once_with_nothing(spoken):
    """So it is for the client to tell this from a set without jobs; the commits of such a set are not found."""
    unknown = uuid.uuid4().hex
    client = spoken[0].client
    assert list(client.inspect_job(unknown, wait=True)) == []
    with pytest.raises(RpcError, match=f"no commits found for commitset {unknown}") as error:
        list(client.inspect_commit(unknown))
    assert error.value.code() is StatusCode.NOT_FOUND
