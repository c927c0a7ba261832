"""Which datums an input gives."""

import time

import pytest
from grpc import RpcError, StatusCode
from python_pachyderm.service import pfs_proto, pps_proto

from tests.minipachd.pps.lab import JobState, Lab, counts, cross, pfs

Input = pps_proto.Input


def datums(lab: Lab, node: Input) -> list[list[str]]:
    """The paths of every datum, in the order of the inputs, sorted."""
    return sorted([f"{info.file.commit.repo.name}{info.file.path}" for info in datum.data] for datum in lab.client.list_datum(input=node))


@pytest.fixture
def numbered(lab: Lab) -> Lab:
    """Pachyderm's own example: ``/foo0 .. /foo9`` and ``/foo01, /foo11 .. /foo41`` in two repos."""
    lab.repo("a")
    lab.repo("b")
    lab.put({f"/foo{number}": "a" for number in range(4)}, repo="a")
    lab.put({f"/foo{number}1": "b" for number in range(1, 3)}, repo="b")
    return lab


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("/", ["in/"]),
        ("/*", ["in/d/", "in/x"]),
        ("/**", ["in/d/", "in/d/a", "in/d/b", "in/x"]),
        ("/*/*", ["in/d/a", "in/d/b"]),
        ("d/(a|c)", ["in/d/a"]),
        ("/none*", []),
    ],
)
def test_one_datum_per_match(lab: Lab, glob: str, expected: list[str]) -> None:
    lab.repo()
    lab.put({"/d/a": "1", "/d/b": "2", "/x": "3"})

    assert datums(lab, pfs("in", glob)) == [[path] for path in expected]


def test_an_empty_repo_has_no_datum_even_for_the_root(lab: Lab) -> None:
    lab.repo()
    lab.put({"/a": "1"})
    lab.put(delete=["/a"])
    assert datums(lab, pfs("in", "/")) == []


def test_cross_is_ordered_by_the_names_of_the_inputs(numbered: Lab) -> None:
    found = datums(numbered, cross(pfs("b", "/*", name="z"), pfs("a", "/foo[01]", name="y")))

    assert found == [["a/foo0", "b/foo11"], ["a/foo0", "b/foo21"], ["a/foo1", "b/foo11"], ["a/foo1", "b/foo21"]]


def test_union_gives_the_datums_of_all(numbered: Lab) -> None:
    assert datums(numbered, Input(union=[pfs("a", "/foo[01]"), pfs("b")])) == [["a/foo0"], ["a/foo1"], ["b/foo11"], ["b/foo21"]]


def test_join_pairs_equal_keys(numbered: Lab) -> None:
    node = Input(join=[pfs("a", "/foo(?)", join_on="$1"), pfs("b", "/foo(?)1", join_on="$1")])

    assert datums(numbered, node) == [["a/foo1", "b/foo11"], ["a/foo2", "b/foo21"]]


def test_outer_join_keeps_what_has_no_partner(numbered: Lab) -> None:
    node = Input(join=[pfs("a", "/foo(?)", join_on="$1", outer_join=True), pfs("b", "/foo(?)1", join_on="$1")])

    assert datums(numbered, node) == [["a/foo0"], ["a/foo1", "b/foo11"], ["a/foo2", "b/foo21"], ["a/foo3"]]


def test_group_collects_equal_keys_over_all_children(numbered: Lab) -> None:
    node = Input(group=[pfs("a", "/foo(?)", group_by="$1"), pfs("b", "/foo(?)1", group_by="$1")])

    assert datums(numbered, node) == [["a/foo0"], ["a/foo1", "b/foo11"], ["a/foo2", "b/foo21"], ["a/foo3"]]


def test_a_join_inside_a_group_is_flattened(numbered: Lab) -> None:
    inner = Input(join=[pfs("a", "/foo(?)", join_on="$1", group_by="same"), pfs("b", "/foo(?)1", join_on="$1", group_by="same")])

    assert datums(numbered, Input(group=[inner])) == [["a/foo1", "b/foo11", "a/foo2", "b/foo21"]]


def test_the_keys_are_in_the_environment(numbered: Lab) -> None:
    lab = numbered
    lab.pipeline("joined", "env | grep -E '^PACH_DATUM_[ab]_' | sort >$PFS_ROOT/out/$PACH_DATUM_a_JOIN_ON",
                 reads=Input(join=[pfs("a", "/foo(?)", join_on="$1"), pfs("b", "/foo(?)1", join_on="$1")]))  # fmt: skip
    lab.newest("joined")

    assert lab.files("joined")["/1"] == b"PACH_DATUM_a_JOIN_ON=1\nPACH_DATUM_b_JOIN_ON=1\n"


def test_a_union_of_the_same_files_counts_them_once(lab: Lab) -> None:
    lab.repo()
    lab.put({"/a": "1", "/b": "2"})
    lab.pipeline("copy", reads=Input(union=[pfs("in", "/*"), pfs("in", "/a")]))

    assert counts(lab.newest("copy")) == {"processed": 2, "total": 2}


def test_a_cron_input_ticks_on_request_and_by_the_clock(lab: Lab) -> None:
    lab.pipeline("clock", "echo $tick >$PFS_ROOT/out/$(basename $tick)", reads=Input(cron=pps_proto.CronInput(name="tick", spec="@never")))
    assert lab.newest("clock").state == JobState.JOB_SUCCESS

    lab.client.run_cron("clock")

    job = lab.newest("clock")
    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"processed": 1, "total": 1})
    assert len(lab.files("clock_tick")) == 1

    began = time.time()
    lab.pipeline("seconds", "true", reads=Input(cron=pps_proto.CronInput(name="tick", spec="@every 1s", overwrite=True)))
    stream = lab.client.subscribe_commit("seconds_tick", "master")
    next(stream), next(stream)
    assert time.time() - began >= 1
    assert len(lab.files("seconds_tick")) == 1
    lab.client.delete_pipeline("seconds")
    assert [info.repo.name for info in lab.client.list_repo() if "seconds" in info.repo.name] == []


def test_run_cron_needs_a_cron_input(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy")
    with pytest.raises(RpcError, match=r"pipeline.*have a cron input"):
        lab.client.run_cron("copy")


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (Input(), "no input set"),
        (
            Input(pfs=pps_proto.PFSInput(repo="in", glob="/*"), cron=pps_proto.CronInput(name="x", spec="@daily")),
            "multiple input types set",
        ),
        (pfs("in", ""), "input must specify a glob"),
        (pfs("", "/"), "input must specify a repo"),
        (pfs("in", "/", name="out"), "input cannot be named"),
        (pfs("in", "/", name=".env"), "input cannot be named"),
        (pfs("in", "/", name="../up"), "input cannot be named"),
        (pfs("in", "/", commit="0" * 32), "input cannot come from a commit"),
        (pfs("in", "/["), "is not closed"),
        (pfs("in", "/", s3=True), "s3 inputs are not supported by minipachd"),
        (cross(pfs("in"), pfs("in")), 'name "in" was used more than once'),
        (cross(pfs("in"), pfs("in", name="other", branch="dev")), "multiple branches from the same repo"),
        (cross(), "no input set"),
        (Input(cron=pps_proto.CronInput(name="x", spec="every day")), "error parsing cron-spec"),
        (pfs("elsewhere"), "repo default/elsewhere not found"),
    ],
)
def test_bad_inputs_are_refused_in_pachyderms_words(lab: Lab, node: Input, text: str) -> None:
    lab.repo()
    lab.put({"/a": "1"})
    lab.client.create_branch("in", "dev")
    with pytest.raises(RpcError) as caught:
        lab.pipeline("bad", reads=node)
    assert text in caught.value.details()
    assert list(lab.client.list_pipeline()) == []
    assert [info.repo.name for info in lab.client.list_repo(type="")] == ["in"]


@pytest.mark.parametrize(
    ("name", "options", "code", "text"),
    [
        ("bad name", {}, StatusCode.UNKNOWN, "only alphanumeric characters, underscores, and dashes"),
        ("-x", {}, StatusCode.UNKNOWN, "must start with an alphanumeric character"),
        ("x" * 52, {}, StatusCode.UNKNOWN, "1 characters longer than the 51 max"),
        ("x", {"reprocess_spec": "sometimes"}, StatusCode.UNKNOWN, "ReprocessSpec must be one of"),
        ("x", {"project_name": "nowhere"}, StatusCode.NOT_FOUND, 'project "nowhere" not found'),
        ("in", {}, StatusCode.UNKNOWN, "a repo with the same name already exists"),
        ("x", {"s3_out": True}, StatusCode.UNIMPLEMENTED, "s3_out"),
        ("x", {"egress": pps_proto.Egress(URL="no-such://x")}, StatusCode.UNIMPLEMENTED, "unsupported scheme 'no-such'"),
        ("x", {"egress": pps_proto.Egress(URL="just/a/path")}, StatusCode.UNKNOWN, "is no URL"),
        ("x", {"egress": pps_proto.Egress(sql_database={"url": "x"})}, StatusCode.UNIMPLEMENTED, "egress to a sql_database"),
        ("x", {"egress": pps_proto.Egress(object_storage={})}, StatusCode.UNKNOWN, "egress.object_storage must have a url"),
        ("x", {"spout": pps_proto.Spout()}, StatusCode.UNIMPLEMENTED, "spout of pipelines is not supported by minipachd"),
        ("x", {"service": pps_proto.Service()}, StatusCode.UNIMPLEMENTED, "service of pipelines is not supported by minipachd"),
        ("x", {"resource_limits": pps_proto.ResourceSpec(memory="much")}, StatusCode.UNKNOWN, "could not parse resource_limits.memory"),
        ("x", {"pod_patch": "{"}, StatusCode.UNKNOWN, "malformed PodPatch"),
        (
            "x",
            {"secrets": [pps_proto.SecretMount(name="none", key="k", env_var="K")]},
            StatusCode.UNKNOWN,
            "missing Kubernetes secret none",
        ),
    ],
)
def test_bad_specs_are_refused_in_pachyderms_words(lab: Lab, name: str, options: dict, code: StatusCode, text: str) -> None:
    lab.repo()
    with pytest.raises(RpcError) as caught:
        lab.pipeline(name, **options)
    assert (caught.value.code(), text in caught.value.details()) == (code, True), caught.value.details()


def test_an_input_with_a_trigger_runs_when_the_trigger_fires(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("pairs", reads=pfs("in", "/*", trigger=pfs_proto.Trigger(commits=2)))
    lab.newest("pairs")
    branch = lab.client.inspect_branch("in", "pairs-trigger-1")
    assert (branch.trigger.branch, branch.trigger.commits) == ("master", 2)

    first = lab.put({"/a": "1"})
    assert list(lab.client.inspect_job(first)) == []
    lab.put({"/b": "2"})

    job = lab.newest("pairs")
    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"processed": 2, "total": 2})
    (info,) = lab.client.inspect_pipeline("pairs", details=True)
    assert (info.details.input.pfs.branch, info.details.input.pfs.trigger.commits) == ("pairs-trigger-1", 2)
