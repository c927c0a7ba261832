"""Projects, repos and branches over the wire."""

import grpc
import pytest
from python_pachyderm import RpcError
from python_pachyderm.proto.v2.pfs import pfs_pb2

from tests.minipachd.api.calls import branch, names, repo, start


def test_repos_are_created_listed_and_deleted(shared_engine):
    client = shared_engine.client
    client.create_repo("one", "the first")
    client.create_repo("two")

    listed = [info.repo.name for info in client.list_repo()]
    assert {"one", "two"} <= set(listed)
    info = client.inspect_repo("one")
    assert (info.description, info.repo.project.name, info.repo.type) == ("the first", "default", "user")

    client.delete_repo("two")
    client.delete_repo("two")  # a missing one is no error
    assert "two" not in names(client.list_repo())


@pytest.mark.parametrize(
    ("call", "code", "text"),
    [
        (lambda c: c.inspect_repo("nowhere"), "NOT_FOUND", "repo default/nowhere not found"),
        (lambda c: c.create_repo("bad name"), "UNKNOWN", "only alphanumeric characters, underscores, and dashes"),
        (lambda c: c.create_repo("__filesets__"), "UNKNOWN", "is a reserved name"),
        (lambda c: c.create_repo("x", project_name="nowhere"), "NOT_FOUND", 'project "nowhere" not found'),
        (lambda c: c.inspect_branch("nowhere", "master"), "NOT_FOUND", 'branch "master" not found in repo default/nowhere'),
        (lambda c: list(c.list_branch("nowhere")), "NOT_FOUND", "repo default/nowhere not found"),
        (lambda c: c.create_branch("nowhere", "master"), "NOT_FOUND", "repo default/nowhere not found"),
        (lambda c: c.start_commit("nowhere", "master"), "NOT_FOUND", "repo default/nowhere not found"),
        (lambda c: list(c.list_commit("nowhere")), "NOT_FOUND", "repo default/nowhere not found"),
        (lambda c: list(c.inspect_commit("0123456789ab4cdef0123456789abcde")), "NOT_FOUND", "no commits found for commitset"),
        (lambda c: c.put_file_bytes(("nowhere", "master"), "/f", b""), "NOT_FOUND", "repo default/nowhere not found"),
        (lambda c: c.inspect_project("nowhere"), "NOT_FOUND", 'project "nowhere" not found'),
        (lambda c: c.create_project("-x"), "UNKNOWN", "must start with an alphanumeric"),
        (lambda c: c.create_project("default"), "ALREADY_EXISTS", "project default already exists"),
    ],
)
def test_errors_have_pachyderms_code_and_text(shared_engine, call, code, text):
    with pytest.raises(RpcError) as error:
        call(shared_engine.client)
    assert (error.value.code().name, text in error.value.details()) == (code, True), error.value.details()


def test_an_existing_repo_is_refused_and_can_be_updated(shared_engine):
    client = shared_engine.client
    client.create_repo("again", "old")
    with pytest.raises(RpcError, match="repo default/again already exists") as error:
        client.create_repo("again")
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS
    client.create_repo("again", "new", update=True)
    assert client.inspect_repo("again").description == "new"


def test_a_project_is_deleted_only_when_empty(shared_engine):
    client = shared_engine.client
    client.create_project("my-project_1", "about")
    client.create_repo("inside", project_name="my-project_1")
    assert [info.project.name for info in client.list_project()] == ["default", "my-project_1"]
    with pytest.raises(RpcError, match="cannot delete project my-project_1: repo my-project_1/inside still exists") as error:
        client.delete_project("my-project_1")
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    client.delete_repo("inside", project_name="my-project_1")
    client.delete_project("my-project_1")
    assert [info.project.name for info in client.list_project()] == ["default"]


def test_a_branch_always_has_a_head_and_branches_are_listed_newest_first(shared_engine):
    client = shared_engine.client
    client.create_repo("branched")
    client.create_branch("branched", "master")
    client.create_branch("branched", "develop")
    assert [info.branch.name for info in client.list_branch("branched")] == ["develop", "master"]
    head = client.inspect_commit(client.inspect_branch("branched", "master").head)
    (info,) = head
    assert (info.origin.kind, info.HasField("finished"), info.details.size_bytes) == (pfs_pb2.OriginKind.Value("AUTO"), True, 0)
    client.delete_branch("branched", "develop")
    assert [info.branch.name for info in client.list_branch("branched")] == ["master"]


def test_provenance_must_be_a_dag_with_each_repo_once(shared_engine):
    client = shared_engine.client
    for name in ("dag-a", "dag-b", "dag-c"):
        client.create_repo(name)
    client.create_branch("dag-b", "master", provenance=[branch("dag-a")])
    with pytest.raises(RpcError, match=r"multiple branches from the same repo, .+, cannot participate in a DAG"):
        client.create_branch("dag-c", "master", provenance=[branch("dag-b"), branch("dag-a", "other")])
    with pytest.raises(RpcError, match="cannot be in the provenance of its own branch"):
        client.create_branch("dag-a", "x", provenance=[branch("dag-a")])
    with pytest.raises(RpcError, match=r"own provenance|cannot participate in a DAG"):
        client.create_branch("dag-a", "master", provenance=[branch("dag-b")])
    with pytest.raises(RpcError, match="as subvenance, deleting it would break those branches"):
        client.delete_branch("dag-a", "master")
    with pytest.raises(RpcError, match="as subvenance"):
        client.delete_repo("dag-a")
    with pytest.raises(RpcError, match="cannot start a commit on an output branch"):
        client.start_commit("dag-b", "master")

    info = client.inspect_branch("dag-b", "master")
    assert [(found.repo.name, found.name) for found in info.provenance] == [("dag-a", "master")]
    assert [(found.repo.name, found.name) for found in client.inspect_branch("dag-a", "master").subvenance] == [("dag-b", "master")]

    client.delete_repo("dag-a", force=True)
    assert list(client.inspect_branch("dag-b", "master").provenance) == []


def test_a_moved_head_opens_a_commit_of_the_same_set_downstream_in_topological_order(shared_engine):
    client = shared_engine.client
    for name in ("d-in", "d-left", "d-right", "d-out"):
        client.create_repo(name)
    client.create_branch("d-left", "master", provenance=[branch("d-in")])
    client.create_branch("d-right", "master", provenance=[branch("d-in")])
    client.create_branch("d-out", "master", provenance=[branch("d-left"), branch("d-right")])

    commit = client.start_commit("d-in", "master")

    opened = list(client.inspect_commit(commit.id))
    order = [info.commit.repo.name for info in opened]
    assert sorted(order) == ["d-in", "d-left", "d-out", "d-right"]
    assert order[0] == "d-in"
    assert order[-1] == "d-out"
    assert all(info.commit.id == commit.id and not info.HasField("finished") for info in opened)
    out = opened[-1]
    assert sorted(found.repo.name for found in out.direct_provenance) == ["d-left", "d-right"]
    assert out.origin.kind == pfs_pb2.OriginKind.Value("AUTO")


def test_a_trigger_moves_its_branch_when_enough_commits_were_made(shared_engine):
    client = shared_engine.client
    client.create_repo("triggered")
    client.create_repo("downstream")
    # The branch that is followed need not exist yet.
    client.create_branch("triggered", "slow", trigger=pfs_pb2.Trigger(branch="master", commits=2))
    client.create_branch("downstream", "master", provenance=[branch("triggered", "slow")])
    first = client.inspect_branch("triggered", "slow").head.id

    client.put_file_bytes(("triggered", "master"), "/1", b"1")
    assert client.inspect_branch("triggered", "slow").head.id == first
    client.put_file_bytes(("triggered", "master"), "/2", b"2")
    assert client.inspect_branch("triggered", "slow").head.id == client.inspect_branch("triggered", "master").head.id
    below = client.inspect_branch("downstream", "master").head.id
    assert below != client.inspect_branch("triggered", "master").head.id, "what a trigger sets off is a commit set of its own"


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        (pfs_pb2.Trigger(commits=1), "triggers must specify a branch"),
        (pfs_pb2.Trigger(branch="master", size="much"), "invalid trigger size"),
        (pfs_pb2.Trigger(branch="master", cron_spec="often"), "invalid trigger cron spec"),
        (pfs_pb2.Trigger(branch="master", rate_limit_spec="0 0 30 2 *"), "invalid trigger rate limit spec"),
        (pfs_pb2.Trigger(branch="master", commits=-1), "negative number of commits"),
        (pfs_pb2.Trigger(branch="looping", commits=1), "triggers cannot form a loop"),
    ],
)
def test_triggers_that_cannot_work_are_refused(shared_engine, trigger, text):
    shared_engine.client.create_repo("bad-triggers", update=True)
    with pytest.raises(RpcError, match=text):
        shared_engine.client.create_branch("bad-triggers", "looping", trigger=trigger)


def test_delete_all_leaves_the_default_project_alone(engine):
    client = engine.client
    client.create_project("other")
    client.create_repo("a", project_name="other")
    start(client, repo(client, "b"))
    client.delete_all()
    assert list(client.list_repo()) == []
    assert [info.project.name for info in client.list_project()] == ["default"]
