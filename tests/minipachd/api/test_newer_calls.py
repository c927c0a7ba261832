"""The protocol since Pachyderm 2.8: pipelines as JSON, defaults, single commits, summaries; and what is refused."""

import json
import sqlite3
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from python_pachyderm.proto.v2.enterprise import enterprise_pb2, enterprise_pb2_grpc
from python_pachyderm.proto.v2.license import license_pb2, license_pb2_grpc
from python_pachyderm.service import pfs_proto, pps_proto

from minipachd.api import newer
from tests.minipachd.api.newer_client import NewerClient
from tests.minipachd.pps.lab import Lab, counts
from tests.support import Engine

COPY = {"cmd": ["sh", "-e"], "stdin": ["cp -r $PFS_ROOT/in/* $PFS_ROOT/out/; echo copied"]}


@pytest.fixture
def call(shared_engine: Engine) -> Iterator[NewerClient]:
    client = NewerClient(shared_engine)
    yield client
    client.close()


@pytest.fixture
def lab(shared_engine: Engine) -> Iterator[Lab]:
    yield Lab(shared_engine)
    shared_engine.client.delete_all()


def spec(name: str = "edges", **fields: object) -> str:
    return json.dumps({"pipeline": {"name": name}, "input": {"pfs": {"repo": "in", "glob": "/*"}}, "transform": COPY} | fields)


def create(call: NewerClient, text: str, **options: object) -> dict:
    answer = call("pps_v2.API/CreatePipelineV2", create_pipeline_request_json=text, **options)
    return json.loads(answer.effective_create_pipeline_request_json)


def info(lab: Lab, name: str = "edges") -> object:
    return next(iter(lab.client.inspect_pipeline(name, details=True)))


def specs(lab: Lab, name: str = "edges") -> tuple[dict, dict]:
    """What the user asked for, and what came of it."""
    texts = newer.parsed(info(lab, name))
    return json.loads(texts.user_spec_json), json.loads(texts.effective_spec_json)


def commit(name: str, commit_id: str) -> dict:
    return {"repo": {"name": name, "type": "user"}, "id": commit_id}


def commits(lab: Lab, name: str) -> list[str]:
    return [found.commit.id for found in lab.client.list_commit(name)]


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    return error.value.code(), error.value.details()


# Pipelines as JSON


def test_a_pipeline_made_from_json_runs_and_shows_what_was_asked_and_what_came_of_it(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    asked = spec(datum_tries=2, outputBranch="done", parallelism_spec={"constant": 2})

    effective = create(call, asked)

    assert (effective["datumTries"], effective["outputBranch"], effective["reprocessSpec"]) == ("2", "done", "until_success")
    assert specs(lab) == (json.loads(asked), effective)
    assert counts(lab.run({"/a": "1"})["edges"]) == {"processed": 1, "total": 1}
    assert lab.files("edges", "done") == {"/a": b"1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "the pipeline spec cannot be read as JSON"),
        ("[1]", "the pipeline spec must be a JSON object"),
        (spec(datum_trys=2), 'CreatePipelineRequest has no field "datum_trys"'),
        (spec(transform={"cmd": ["sh"], "colour": 1}), 'Transform has no field "colour"'),
        (spec(transform=["sh"]), "invalid pipeline spec"),
        (spec(datum_tries="many"), "datumTries"),
        (spec(maximum_expected_uptime="60s"), 'no field "maximum_expected_uptime"'),
    ],
)
def test_json_that_is_no_spec_is_refused_by_the_name_of_the_field(call: NewerClient, lab: Lab, text: str, words: str) -> None:
    lab.repo()

    with pytest.raises(grpc.RpcError) as error:
        create(call, text)

    assert refused(error)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert words in refused(error)[1]
    assert list(lab.client.list_pipeline()) == []


def test_a_dry_run_shows_the_effective_spec_and_makes_nothing(call: NewerClient, lab: Lab) -> None:
    lab.repo()

    effective = create(call, spec(), dry_run=True)

    assert effective["input"]["pfs"] | {"branch": "master", "name": "in"} == effective["input"]["pfs"]
    assert list(lab.client.list_pipeline()) == []


def test_an_existing_pipeline_needs_update(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    create(call, spec())

    with pytest.raises(grpc.RpcError) as error:
        create(call, spec())
    create(call, spec(description="second"), update=True)

    assert refused(error) == (grpc.StatusCode.ALREADY_EXISTS, 'pipeline "default/edges" already exists; set "update" to change it')
    assert (info(lab).version, info(lab).details.description) == (2, "second")


def test_in_a_transaction_a_pipeline_is_there_when_the_transaction_is(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    transaction = lab.client.start_transaction()

    call("pps_v2.API/CreatePipelineV2", transaction=transaction.id, create_pipeline_request_json=spec())

    (shown,) = lab.client.inspect_transaction(transaction).requests
    assert newer.parsed(shown).create_pipeline_v2.user_json == spec()
    assert list(lab.client.list_pipeline()) == []
    lab.client.finish_transaction(transaction)
    assert specs(lab)[0] == json.loads(spec())


def test_an_update_in_a_transaction_stays_an_update(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    create(call, spec())
    transaction = lab.client.start_transaction()

    call("pps_v2.API/CreatePipelineV2", transaction=transaction.id, create_pipeline_request_json=spec(description="second"), update=True)
    lab.client.finish_transaction(transaction)

    assert (info(lab).version, info(lab).details.description) == (2, "second")


def test_the_spec_of_a_pipeline_made_by_a_message_can_be_edited_as_json(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    lab.pipeline("edges", description="first", resource_requests=pps_proto.ResourceSpec(memory="64Mi"), datum_timeout=None)
    asked, _ = specs(lab)

    create(call, json.dumps(asked | {"description": "second"}), update=True)

    assert (info(lab).details.description, info(lab).details.resource_requests.memory) == ("second", "64Mi")


def test_the_effective_spec_makes_the_same_pipeline_again(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    cross = {"cross": [{"pfs": {"repo": "in", "glob": "/*", "name": "one"}}, {"cron": {"name": "tick", "spec": "@yearly"}}]}
    create(call, spec(input=cross, datum_timeout="1.5s", datum_set_spec={"number": 3}, metadata={"labels": {"a": "b"}}))
    _, effective = specs(lab)

    create(call, json.dumps(effective), update=True)

    assert specs(lab)[1] == effective


def test_a_message_that_no_json_can_say_is_refused_by_the_name_of_the_field(lab: Lab) -> None:
    lab.repo()

    with pytest.raises(grpc.RpcError) as error:
        lab.pipeline("edges", datum_timeout=Duration(seconds=10**13))

    assert refused(error)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert "invalid pipeline spec: Failed to serialize datum_timeout field" in refused(error)[1]


def test_rerun_skips_what_succeeded_unless_it_is_told_to_reprocess(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    create(call, spec())
    lab.run({"/a": "1"})

    call("pps_v2.API/RerunPipeline", pipeline={"name": "edges"})
    again = lab.newest("edges")
    call("pps_v2.API/RerunPipeline", pipeline={"name": "edges"}, reprocess=True)
    afresh = lab.newest("edges")

    assert (counts(again), again.pipeline_version) == ({"skipped": 1, "total": 1}, 2)
    assert (counts(afresh), afresh.pipeline_version) == ({"processed": 1, "total": 1}, 3)
    assert specs(lab)[0] == json.loads(spec())


# Defaults


def set_defaults(call: NewerClient, request: object, *, project: str | None = None, **options: object) -> list[str]:
    """:return: The affected pipelines."""
    text = json.dumps({"createPipelineRequest": request})
    if project is None:
        answer = call("pps_v2.API/SetClusterDefaults", cluster_defaults_json=text, **options)
    else:
        answer = call("pps_v2.API/SetProjectDefaults", project={"name": project}, project_defaults_json=text, **options)
    return [pipeline.name for pipeline in answer.affected_pipelines]


def test_defaults_of_project_and_cluster_fill_what_a_spec_leaves_out(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    set_defaults(call, {"datumTries": 7, "description": "cluster", "transform": {"env": {"A": "1", "B": "1"}}})
    set_defaults(call, {"description": "project", "transform": {"env": {"B": "2"}}}, project="default")

    create(call, spec(transform=COPY | {"env": {"C": "3"}}))
    lab.pipeline("older", datum_tries=0)
    create(call, spec("bare", datum_tries=None, transform=COPY | {"env": {"A": None}}))

    details = info(lab).details
    assert (details.datum_tries, details.description, dict(details.transform.env)) == (7, "project", {"A": "1", "B": "2", "C": "3"})
    assert info(lab, "older").details.datum_tries == 7
    assert (info(lab, "bare").details.datum_tries, dict(info(lab, "bare").details.transform.env)) == (3, {"B": "2"})


def test_defaults_are_given_back_as_they_were_set(call: NewerClient, lab: Lab) -> None:
    assert call("pps_v2.API/GetClusterDefaults").cluster_defaults_json == "{}"

    call("pps_v2.API/SetClusterDefaults", cluster_defaults_json='{ "create_pipeline_request": {"salt": "s"}}')
    set_defaults(call, {"salt": "t"}, project="default")

    assert call("pps_v2.API/GetClusterDefaults").cluster_defaults_json == '{ "create_pipeline_request": {"salt": "s"}}'
    found = call("pps_v2.API/GetProjectDefaults", project={"name": "default"})
    assert (found.project_defaults_json, found.created_at.seconds > 0) == ('{"createPipelineRequest": {"salt": "t"}}', True)
    shown = call("pfs_v2.API/InspectProjectV2", project={"name": "default"})
    assert shown.defaults_json == found.project_defaults_json
    assert pfs_proto.ProjectInfo.FromString(shown.info.SerializeToString()).project.name == "default"
    lab.client.delete_all()
    assert call("pps_v2.API/GetClusterDefaults").cluster_defaults_json == "{}"
    assert call("pps_v2.API/GetProjectDefaults").project_defaults_json == "{}"


def test_new_defaults_change_existing_pipelines_only_when_asked_to(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    create(call, spec())
    create(call, spec("firm", datum_tries=2))
    lab.run({"/a": "1"})

    assert set_defaults(call, {"datumTries": 5}, regenerate=True, dry_run=True) == ["edges"]
    assert call("pps_v2.API/GetClusterDefaults").cluster_defaults_json == "{}"
    assert set_defaults(call, {"datumTries": 5}) == []
    assert (info(lab).version, info(lab).details.datum_tries) == (1, 3)
    assert set_defaults(call, {"datumTries": 6}, regenerate=True, reprocess=True) == ["edges"]
    assert (info(lab).version, info(lab).details.datum_tries, info(lab, "firm").version) == (2, 6, 1)
    assert counts(lab.newest("edges")) == {"processed": 1, "total": 1}
    assert specs(lab)[0] == json.loads(spec())


def test_defaults_that_are_none_are_refused(call: NewerClient, lab: Lab) -> None:
    for text, words in (
        ('{"datumTries": 5}', 'defaults have no field "datumTries"'),
        ('{"createPipelineRequest": {"datumTrys": 5}}', 'no field "datumTrys"'),
        ('{"createPipelineRequest": {"datumTries": "x"}}', "datumTries"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            call("pps_v2.API/SetClusterDefaults", cluster_defaults_json=text)
        assert refused(error)[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert words in refused(error)[1]
    with pytest.raises(grpc.RpcError) as error:
        set_defaults(call, {}, reprocess=True)
    assert "reprocess needs regenerate" in refused(error)[1]
    with pytest.raises(grpc.RpcError) as error:
        set_defaults(call, {}, project="nowhere")
    assert refused(error) == (grpc.StatusCode.NOT_FOUND, 'project "nowhere" not found')


def test_defaults_of_a_project_go_away_with_it(call: NewerClient, lab: Lab) -> None:
    lab.client.create_project("attic")
    set_defaults(call, {"salt": "s"}, project="attic")
    lab.client.delete_project("attic")
    lab.client.create_project("attic")

    assert call("pps_v2.API/GetProjectDefaults", project={"name": "attic"}).project_defaults_json == "{}"


def test_a_data_directory_from_before_defaults_is_migrated(engine: Engine) -> None:
    lab = Lab(engine)
    lab.repo()
    lab.pipeline("edges", datum_tries=4)
    engine.stop()
    with sqlite3.connect(engine.root / "metadata.db") as db:
        db.execute("DROP TABLE pps_defaults")
        db.execute("UPDATE schema_versions SET version = 1 WHERE component = 'pps'")
        ((stored,),) = db.execute("SELECT spec FROM pps_versions").fetchall()
        old = {name: value for name, value in json.loads(stored).items() if name != "user_json"}
        db.execute("UPDATE pps_versions SET spec = ?", (json.dumps(old).encode(),))
    db.close()

    engine.start()

    asked, effective = specs(Lab(engine))
    assert asked == effective
    assert effective["datumTries"] == "4"
    call = NewerClient(engine)
    set_defaults(call, {"salt": "s"})
    assert "salt" in call("pps_v2.API/GetClusterDefaults").cluster_defaults_json
    call.close()


# Single commits


def test_dropping_one_commit_takes_along_what_was_made_from_it_when_asked_to(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    create(call, spec())
    lab.run({"/a": "1"})
    last = lab.put({"/b": "2"})
    lab.settle(last)

    with pytest.raises(grpc.RpcError) as error:
        call("pfs_v2.API/DropCommit", commit=commit("in", last))
    assert "without recursive, as it has subvenance" in refused(error)[1]
    call("pfs_v2.API/DropCommit", commit=commit("in", last), recursive=True)

    assert last not in commits(lab, "in") + commits(lab, "edges")
    assert (lab.files("in"), lab.files("edges")) == ({"/a": b"1"}, {"/a": b"1"})


def test_a_commit_with_children_is_squashed_and_not_dropped(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    first, second = lab.put({"/a": "1"}), lab.put({"/b": "2"})

    with pytest.raises(grpc.RpcError) as error:
        call("pfs_v2.API/DropCommit", commit=commit("in", first))
    assert "cannot drop a commit that has children" in refused(error)[1]
    with pytest.raises(grpc.RpcError) as error:
        call("pfs_v2.API/SquashCommit", commit=commit("in", second))
    assert "cannot squash a commit that has no children" in refused(error)[1]
    call("pfs_v2.API/SquashCommit", commit=commit("in", first))

    assert commits(lab, "in") == [second]
    assert lab.files("in") == {"/a": b"1", "/b": b"2"}


def test_dropping_with_all_that_was_made_from_it_may_take_a_commit_and_its_child(call: NewerClient, lab: Lab) -> None:
    lab.repo("in")
    lab.repo("other")
    old = lab.put({"/x": "1"})
    cross = {"cross": [{"pfs": {"repo": "in", "glob": "/*"}}, {"pfs": {"repo": "other", "glob": "/*"}}]}
    create(call, spec(input=cross))
    lab.settle(lab.put({"/y": "1"}, repo="other"))
    lab.settle(lab.put({"/z": "1"}, repo="other"))

    call("pfs_v2.API/DropCommit", commit=commit("in", old), recursive=True)

    assert old not in commits(lab, "in")
    assert lab.files("in") == {}
    assert lab.files("other") == {"/y": b"1", "/z": b"1"}


# Newer fields of older calls


def test_a_missing_pipeline_is_an_error_when_the_client_says_so(call: NewerClient, lab: Lab) -> None:
    for name in ("DeletePipeline", "StopPipeline"):
        older = getattr(pps_proto, f"{name}Request")(pipeline=pps_proto.Pipeline(name="nowhere"))
        call.raw(f"pps_v2.API/{name}", older, newer.message("google.protobuf.Empty"))
        strict = newer.message(f"pps_v2.{name}Request").FromString(older.SerializeToString())
        strict.must_exist = True
        with pytest.raises(grpc.RpcError) as error:
            call.raw(f"pps_v2.API/{name}", strict, newer.message("google.protobuf.Empty"))
        assert refused(error) == (grpc.StatusCode.NOT_FOUND, "pipeline default/nowhere not found")


def test_deleting_a_repo_says_whether_there_was_one(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    request = pfs_proto.DeleteRepoRequest(repo=pfs_proto.Repo(name="in", type="user"))

    answers = [call.raw("pfs_v2.API/DeleteRepo", request, newer.message("pfs_v2.DeleteRepoResponse")).deleted for _ in range(2)]

    assert answers == [True, False]


def test_branches_say_when_they_were_made(lab: Lab) -> None:
    lab.repo()
    lab.put({"/a": "1"})

    assert newer.parsed(lab.client.inspect_branch("in", "master")).created_at.seconds > 0


def test_propagation_specs_are_refused_and_not_dropped_in_silence(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    older = pfs_proto.CreateBranchRequest(branch=pfs_proto.Branch(repo=pfs_proto.Repo(name="in", type="user"), name="b"))
    request = newer.message("pfs_v2.CreateBranchRequest").FromString(older.SerializeToString())
    request.branch_propagation_specs.add()

    with pytest.raises(grpc.RpcError) as error:
        call.raw("pfs_v2.API/CreateBranch", request, newer.message("google.protobuf.Empty"))

    assert refused(error)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert "branch_propagation_specs are not supported" in refused(error)[1]
    assert [branch.branch.name for branch in lab.client.list_branch("in")] == []


def test_pipelines_of_a_commit_set_are_as_they_were_then(call: NewerClient, lab: Lab, shared_engine: Engine) -> None:
    lab.repo()
    create(call, spec(description="first"))
    lab.run({"/a": "1"})
    then = lab.client.inspect_branch("in", "master").head.id
    create(call, spec(description="second"), update=True)
    create(call, spec("late"))

    def names(commit_set: str) -> list[tuple[str, str]]:
        request = pps_proto.ListPipelineRequest(commit_set=pfs_proto.CommitSet(id=commit_set))
        with grpc.insecure_channel(shared_engine.address) as channel:
            answer = channel.unary_stream(
                "/pps_v2.API/ListPipeline", request_serializer=type(request).SerializeToString,
                response_deserializer=pps_proto.PipelineInfo.FromString,
            )(request)  # fmt: skip
            return [(found.pipeline.name, found.details.description) for found in answer]

    assert names(then) == [("edges", "first")]
    assert names("") == [("late", ""), ("edges", "second")]  # what pachctl sends when it was told no commit


def test_logs_since_zero_are_those_of_a_day(call: NewerClient, lab: Lab, shared_engine: Engine) -> None:
    lab.repo()
    create(call, spec())
    lab.run({"/a": "1"})
    request = pps_proto.GetLogsRequest(pipeline=pps_proto.Pipeline(name="edges"))
    request.since.SetInParent()  # what pachctl sends when it was told nothing

    with grpc.insecure_channel(shared_engine.address) as channel:
        lines = channel.unary_stream(
            "/pps_v2.API/GetLogs", request_serializer=type(request).SerializeToString,
            response_deserializer=pps_proto.LogMessage.FromString,
        )(request)  # fmt: skip
        assert "copied" in [line.message for line in lines]


# Summaries


def test_summaries_count_pipelines_and_repos_of_a_project(call: NewerClient, lab: Lab) -> None:
    lab.repo()
    create(call, spec())
    create(call, spec("stopped"))
    create(call, spec("bad", transform={"cmd": ["false"]}, datum_tries=1))
    lab.client.create_project("empty")
    lab.run({"/a": "12345"})
    lab.client.stop_pipeline("stopped")

    (pipelines,) = call("pps_v2.API/PipelinesSummary").summaries
    (repos,) = call("pfs_v2.API/ReposSummary", projects=[{"name": "default"}, {"name": "empty"}]).summaries

    assert (pipelines.project.name, pipelines.active_pipelines, pipelines.paused_pipelines) == ("default", 2, 1)
    assert (pipelines.failed_pipelines, pipelines.unhealthy_pipelines) == (0, 1)
    assert (repos.project.name, repos.user_repo_count, repos.size_bytes) == ("default", 4, 15)
    assert call("pps_v2.API/CheckStatus", stream=True, all=True) == []


# What a one-machine engine has no use for


def test_the_enterprise_service_answers_as_an_open_source_pachyderm_does(shared_engine: Engine) -> None:
    with grpc.insecure_channel(shared_engine.address) as channel:
        stub = enterprise_pb2_grpc.APIStub(channel)

        assert stub.GetState(enterprise_pb2.GetStateRequest()).state == enterprise_pb2.NONE
        assert stub.GetActivationCode(enterprise_pb2.GetActivationCodeRequest()).state == enterprise_pb2.NONE
        licence = license_pb2_grpc.APIStub(channel).GetActivationCode(license_pb2.GetActivationCodeRequest())
        assert licence.state == enterprise_pb2.NONE
        assert stub.PauseStatus(enterprise_pb2.PauseStatusRequest()).status == enterprise_pb2.PauseStatusResponse.UNPAUSED
        with pytest.raises(grpc.RpcError) as error:
            stub.Activate(enterprise_pb2.ActivateRequest())
    assert refused(error)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert "enterprise_v2.API/Activate is not implemented by minipachd" in refused(error)[1]


@pytest.mark.parametrize("method", ["pfs_v2.API/ForgetCommit", "metadata.API/EditMetadata", "logs.API/GetLogs", "no.Such/Method"])
@pytest.mark.parametrize("shape", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_a_method_that_nobody_wrote_is_refused_by_its_name(shared_engine: Engine, method: str, shape: str) -> None:
    with grpc.insecure_channel(shared_engine.address) as channel:
        call = getattr(channel, shape)(f"/{method}", request_serializer=lambda _: b"", response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as error:
            list(call(iter([None]) if shape.startswith("stream") else None))

    assert refused(error)[0] is grpc.StatusCode.UNIMPLEMENTED
    assert f"{method} is not implemented by minipachd" in refused(error)[1]
