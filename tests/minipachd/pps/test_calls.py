"""The calls of ``pps_v2.API`` one by one, as python-pachyderm makes them."""

import stat

import pytest
from grpc import RpcError, StatusCode
from python_pachyderm.service import Service, pps_proto

from tests.minipachd.pps.lab import DatumState, JobState, Lab, PipelineState, counts, cross, pfs


def test_inspect_pipeline_shows_the_spec_with_its_defaults(lab: Lab) -> None:
    lab.repo("in")
    lab.repo("rules")
    lab.client.create_pipeline(
        "shown",
        transform=pps_proto.Transform(cmd=["true"], env={"A": "1"}, image_pull_secrets=["reg"]),
        input=cross(pfs("rules", "/"), pfs("in", "*")),
        resource_requests=pps_proto.ResourceSpec(cpu=2, memory="1G"),
        metadata=pps_proto.Metadata(labels={"team": "x"}),
        description="what it does",
    )

    (info,) = lab.client.inspect_pipeline("shown", details=True)

    details = info.details
    assert (info.pipeline.project.name, info.version, info.parallelism, info.type) == (
        "default",
        1,
        1,
        pps_proto.PipelineInfo.PIPELINE_TYPE_TRANSFORM,
    )
    assert [child.pfs.name for child in details.input.cross] == ["in", "rules"]
    assert (details.input.cross[0].pfs.glob, details.input.cross[0].pfs.branch) == ("/*", "master")
    assert (details.transform.image, list(details.transform.image_pull_secrets), dict(details.transform.env)) == (
        "ubuntu:20.04",
        ["reg"],
        {"A": "1"},
    )
    assert (details.resource_requests.cpu, details.resource_requests.memory) == (2, "1G")
    assert (details.metadata.labels["team"], details.description, details.output_branch) == ("x", "what it does", "master")
    assert (details.datum_tries, details.reprocess_spec) == (3, "until_success")
    (plain,) = lab.client.inspect_pipeline("shown")
    assert not plain.HasField("details")


def test_missing_things_are_not_found(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    nothing = "0" * 12 + "4" + "0" * 19
    calls = [
        (lambda: list(lab.client.inspect_pipeline("none")), "pipeline default/none not found"),
        (lambda: list(lab.client.list_job("none")), "pipeline default/none not found"),
        (lambda: lab.client.start_pipeline("none"), "pipeline default/none not found"),
        (lambda: list(lab.client.inspect_job(nothing, "copy")), f"jobs default/copy@{nothing} not found"),
        (lambda: list(lab.client.get_pipeline_logs("none")), "pipeline default/none not found"),
        (lambda: lab.client.inspect_secret("none"), 'secrets "none" not found'),
        (lambda: list(lab.client.list_datum(input=pfs("none"))), "not found in repo default/none"),
    ]
    for call, text in calls:
        with pytest.raises(RpcError) as caught:
            call()
        assert (caught.value.code(), text in caught.value.details()) == (StatusCode.NOT_FOUND, True), caught.value.details()
    lab.client.stop_pipeline("none")
    lab.client.delete_pipeline("none")


def test_create_twice_needs_update(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    with pytest.raises(RpcError) as caught:
        lab.pipeline("copy")
    assert caught.value.code() == StatusCode.ALREADY_EXISTS
    assert 'pipeline "default/copy" already exists' in caught.value.details()


def test_a_dry_run_changes_nothing(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy", dry_run=True)
    assert list(lab.client.list_pipeline()) == []
    with pytest.raises(RpcError, match="input must specify a glob"):
        lab.pipeline("copy", dry_run=True, reads=pfs("in", ""))


def test_jobs_and_job_sets_are_listed_newest_first(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("first")
    lab.pipeline("second", reads=pfs("first"), cmd=["true"])
    commit = lab.put({"/a": "1"})
    lab.settle(commit)

    sets = list(lab.client.list_job())
    assert sets[0].job_set.id == commit
    assert [job.job.pipeline.name for job in sets[0].jobs] == ["first", "second"]
    assert len(sets) == 3
    assert [job.job.id for job in lab.client.list_job("first")] == [commit, sets[2].job_set.id]
    assert [job.job.id for job in lab.client.list_job("first", number=1)] == [commit]
    assert [job.job.id for job in lab.client.list_job("first", input_commit=("in", commit))] == [commit]
    assert [job.data_total for job in lab.client.list_job("first", jqFilter='.state == "JOB_SUCCESS"')] == [1, 0]
    assert list(lab.client.list_job("first", jqFilter='.state == "JOB_FAILURE" or .state == "JOB_KILLED"')) == []

    lab.pipeline("first", update=True)
    lab.newest("first")
    assert len(list(lab.client.list_job("first"))) == 1
    assert len(list(lab.client.list_job("first", history=-1))) == 3


def test_job_sets_that_a_filter_leaves_out_do_not_count(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("picky", "grep -q good $in")
    bad = lab.put({"/a": "bad"})
    lab.settle(bad)
    lab.run({"/a": "good"})

    request = pps_proto.ListJobSetRequest(number=1, jqFilter='.state == "JOB_FAILURE"')  # the client leaves the filter out
    assert [found.job_set.id for found in lab.client._PPSMixin__stub.ListJobSet(request)] == [bad]


def test_job_details_show_inputs_with_their_commit(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    commit = lab.put({"/a": "1"})
    lab.settle(commit)

    (job,) = lab.client.inspect_job(commit, "copy", details=True)

    assert job.details.input.pfs.commit == commit
    assert job.output_commit.branch.name == "master"
    assert (job.created.seconds > 0, job.started.nanos > 0, job.finished.nanos > 0) == (True, True, True)
    assert job.stats.download_bytes == job.stats.upload_bytes == 1


def test_subscribe_job_sees_jobs_as_they_come(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    lab.newest("copy")
    stream = lab.client._req(Service.PPS, "SubscribeJob", pipeline=pps_proto.Pipeline(name="copy"))
    commit = lab.client.start_commit("in", "master")

    assert next(stream).job.id == commit.id
    lab.client.finish_commit(commit)
    stream.cancel()


def test_delete_job_forgets_it_and_the_next_one_begins_anew(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    lab.newest("copy")
    commit = lab.put({"/a": "1", "/b": "1"})
    lab.settle(commit)

    lab.client.delete_job(commit, "copy")

    assert [job.job.id for job in lab.client.list_job("copy")] != [commit]
    assert counts(lab.run({"/c": "1"}, delete=["/b"])["copy"]) == {"processed": 2, "total": 2}
    assert set(lab.files("copy")) == {"/a", "/c"}


def test_datums_are_listed_by_id_in_pages(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    commit = lab.put({f"/{name}": name for name in "abcd"})
    lab.settle(commit)
    lab.put({"/e": "e"})
    newest = lab.newest("copy").job

    found = list(lab.client.list_datum("copy", newest.id))
    ids = [datum.datum.id for datum in found]
    assert ids == sorted(ids)
    assert [datum.state for datum in found].count(DatumState.SKIPPED) == 4
    assert {datum.datum.job.id for datum in found} == {commit, newest.id}

    def page(**options: object) -> list[str]:
        return [datum.datum.id for datum in lab.client._req(Service.PPS, "ListDatum", job=newest, **options)]

    assert page(number=2) == ids[:2]
    assert page(paginationMarker=ids[1]) == ids[2:]
    assert page(paginationMarker=ids[3], number=2, reverse=True) == [ids[2], ids[1]]
    assert page(filter=pps_proto.ListDatumRequest.Filter(state=[DatumState.SUCCESS])) == [
        datum.datum.id for datum in found if datum.state == DatumState.SUCCESS
    ]
    with pytest.raises(RpcError, match="number must be > 0 when reverse"):
        page(reverse=True)

    one = lab.client.inspect_datum("copy", newest.id, ids[0])
    assert (one.datum.id, one.data[0].file.commit.repo.name, one.data[0].size_bytes) == (ids[0], "in", 1)
    with pytest.raises(RpcError, match="not found in job"):
        lab.client.inspect_datum("copy", newest.id, "0" * 64)


def test_logs_can_be_followed_filtered_and_cut(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("talk", "echo one; echo two; cat $in")
    stream = lab.client.get_pipeline_logs("talk", follow=True)
    commit = lab.put({"/a": "three\n", "/b": "four\n"})

    followed = [message for message in (next(stream).message for _ in range(10)) if "user code" not in message]
    stream.cancel()
    lab.settle(commit)

    assert followed == ["one", "two", "three", "one", "two", "four"]
    assert lab.logs("talk", commit) == lab.logs("talk", commit, follow=True) == followed
    assert lab.logs("talk", commit, data_filters=["/b"]) == ["one", "two", "four"]
    datum = next(datum for datum in lab.client.list_datum("talk", commit) if datum.data[0].file.path == "/a").datum
    assert lab.logs("talk", commit, datum=datum) == ["one", "two", "three"]
    assert next(line.message for line in lab.client.get_job_logs("talk", commit, tail=2)) == "four"
    master = [line.message for line in lab.client.get_pipeline_logs("talk", master=True)]
    assert any("0 datums matched" in line for line in master)
    assert any("job SUCCESS" in line for line in master)


def test_secrets_reach_the_pipelines_that_name_them_and_nobody_else(lab: Lab) -> None:
    lab.repo()
    lab.client.create_secret("mail", {"key": "s3cr3t-value"})
    script = "echo ${KEY:-none} >$PFS_ROOT/out/key; env | grep -c s3cr3t >>$PFS_ROOT/out/key || true"
    lab.pipeline("named", script, secrets=[pps_proto.SecretMount(name="mail", key="key", env_var="KEY")])
    lab.pipeline("other", script)

    lab.run({"/a": "1"})

    assert (lab.files("named")["/key"], lab.files("other")["/key"]) == (b"s3cr3t-value\n1\n", b"none\n0\n")
    (info,) = lab.client.list_secret()
    assert (info.secret.name, info.type) == ("mail", "Opaque")
    (stored,) = (lab.engine.root / "secrets").iterdir()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert "s3cr3t" not in lab.log
    with pytest.raises(RpcError, match="already exists"):
        lab.client.create_secret("mail", {"key": "other"})
    lab.client.delete_secret("mail")
    assert lab.client.list_secret() == []
    with pytest.raises(RpcError, match="not found"):
        lab.client.inspect_secret("mail")


def test_a_pipeline_and_its_input_can_be_made_in_one_transaction(lab: Lab) -> None:
    with lab.client.transaction():
        lab.client.create_repo("in")
        lab.pipeline("copy")
    assert lab.newest("copy").state == JobState.JOB_SUCCESS


def test_two_inputs_changed_in_one_transaction_make_one_job(lab: Lab) -> None:
    lab.repo("a")
    lab.repo("b")
    lab.pipeline("both", "cat $a $b >$PFS_ROOT/out/ab", reads=cross(pfs("a"), pfs("b")))
    with lab.client.transaction() as transaction:
        commits = [lab.client.start_commit(repo, "master") for repo in ("a", "b")]
    for commit in commits:
        lab.client.put_file_bytes(commit, "/f", commit.repo.name.encode())
        lab.client.finish_commit(commit)

    jobs = lab.settle(transaction.id)

    assert (jobs["both"].job.id, jobs["both"].state) == (transaction.id, JobState.JOB_SUCCESS)
    assert lab.files("both") == {"/ab": b"ab"}


def test_delete_all_leaves_nothing(lab: Lab) -> None:
    lab.repo()
    lab.client.create_secret("s", {"k": "v"})
    lab.pipeline("first", "echo x")
    lab.pipeline("second", "echo x", reads=pfs("first"))
    lab.put({"/a": "1"})

    lab.client.delete_all()

    assert list(lab.client.list_pipeline()) == list(lab.client.list_job()) == list(lab.client.list_repo(type="")) == []
    assert lab.client.list_secret() == []
    assert [path for path in (lab.engine.root / "logs").rglob("*") if path.is_file()] == []


def test_a_stopped_pipeline_stays_stopped_through_an_update(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    lab.client.stop_pipeline("copy")
    lab.pipeline("copy", update=True)

    (info,) = lab.client.inspect_pipeline("copy")
    assert (info.stopped, info.state, info.version) == (True, PipelineState.PIPELINE_PAUSED, 2)
    lab.client.start_pipeline("copy")
    assert lab.newest("copy").pipeline_version == 2


def test_squashing_and_dropping_a_set_takes_its_jobs_along(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    first, second = (lab.put({f"/{name}": name}) for name in "ab")
    lab.settle(second)

    lab.client.drop_commit(second)

    assert second not in [job.job.id for job in lab.client.list_job("copy")]
    assert counts(lab.run({"/c": "c"})["copy"]) == {"processed": 1, "skipped": 1, "total": 2}
    lab.client.squash_commit(first)
    assert first not in [job.job.id for job in lab.client.list_job("copy")]
    assert lab.files("copy") == {"/a": b"a", "/c": b"c"}
    assert lab.run({"/d": "d"})["copy"].state == JobState.JOB_SUCCESS
    assert set(lab.files("copy")) == {"/a", "/c", "/d"}


def test_what_is_not_there_says_so_by_name(lab: Lab) -> None:
    for name, request in (("RenderTemplate", {"template": "x"}), ("ActivateAuth", {})):
        with pytest.raises(RpcError) as caught:
            lab.client._req(Service.PPS, name, **request)
        assert caught.value.code() == StatusCode.UNIMPLEMENTED
        assert name in caught.value.details()
