"""Planning from what changed gives what planning from everything gives."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from minipachd.pfs import CommitSetId, FileEntry, FileTree, Pfs
from minipachd.pfs.filetree import encode_entry
from minipachd.pfs.watch import Watch
from minipachd.pps import input_changes
from minipachd.pps.datum import DatumInput, DatumRecord, datum_hash, decode_record, encode_record, make_datum, record_tree
from minipachd.pps.inputs import InputCommit, datums
from minipachd.pps.plan import Base, Inputs, Plan, make_plan
from minipachd.pps.records import Job, Pipeline
from minipachd.pps.spec import (
    CrossInput,
    DatumState,
    GroupInput,
    Input,
    JobId,
    JobKey,
    JobState,
    PfsInput,
    PipelineKey,
    PipelineSpec,
    PipelineState,
    Transform,
    UnionInput,
    leaves,
)
from minipachd.storage import Entry, Tree

KEY = PipelineKey("default", "p")
PATHS = ["/a", "/b", "/d/x", "/d/y", "/d/e/z", "/c1", "/c2", "/e/x", "/[*]/x", "/[*]/{-}"]
GLOBS = ["/", "/*", "/*/*", "/**", "/d/*", "/c?", "/d/(x|e)", "/{a,d/**}", "/a"]
GROUPED = [
    *[(glob, "x") for glob in GLOBS],
    ("/(*)", "$1"),
    ("/(*)/(*)", "$1/$2"),
    ("/(*)/(*)", "${2}/$1"),
    ("/(*)/(*)", "$1"),
    ("/(*)/(*)", "$2"),
    ("/(*)/(*)", "$1$2"),
    ("/(?)(*)", "$1"),
    ("/(*)(*)", "$2/$1"),
    ("/d/(*)", "d/$1"),
    ("/*/(x|e)", "$1"),
    ("/((d|a)*)", "$2"),
    ("/(**)", "$1"),
    ("/(?)*", "$1$$"),
]


def leaf(repo: str) -> st.SearchStrategy[Input]:
    return st.sampled_from(GLOBS).map(lambda glob: PfsInput(name=repo, project="default", repo=repo, glob=glob, group_by="x"))


def grouped(repo: str) -> st.SearchStrategy[Input]:
    return st.sampled_from(GROUPED).map(lambda way: PfsInput(name=repo, project="default", repo=repo, glob=way[0], group_by=way[1]))


GROUPS = st.one_of(st.tuples(grouped("one")), st.tuples(grouped("one"), grouped("two"))).map(GroupInput)
INPUTS = st.one_of(
    GROUPS,
    st.tuples(GROUPS, leaf("three")).map(CrossInput),
    leaf("one"),
    st.tuples(leaf("one"), leaf("two")).map(CrossInput),
    st.tuples(leaf("one"), leaf("two")).map(UnionInput),
    st.tuples(st.tuples(leaf("one"), leaf("two")).map(UnionInput), leaf("three")).map(CrossInput),
    st.tuples(leaf("one"), leaf("two"), leaf("three")).map(CrossInput),
)
CONTENT = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(["1", "2"]))
STATE = st.fixed_dictionaries({"one": CONTENT, "two": CONTENT, "three": CONTENT})


def commits(store: Pfs, node: Input, state: dict[str, dict[str, str]], commit_id: str) -> Inputs:
    by_leaf = {}
    with store.database.transaction():
        for source in leaves(node):
            entries = [FileEntry(path, "default", 1, text.encode() * 32) for path, text in state[source.repo].items()]
            tree = Tree(store.nodes).edit(map(encode_entry, entries))
            by_leaf[source] = InputCommit(CommitSetId(commit_id), FileTree(tree))
    return Inputs(by_leaf, {}, unfinished=False, failed=(), complete=True)


def shown(plan: Plan) -> tuple[object, ...]:
    tasks = sorted((task.datum.id, task.hash, task.datum.inputs) for task in plan.tasks)
    return plan.total, plan.skipped, plan.done, tasks, sorted(record.id for record in plan.dropped)


@pytest.fixture(autouse=True)
def _as_if_there_were_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_changes, "_FILES_PER_KEY", 0)


@pytest.mark.parametrize(("glob", "group_by", "cheap"), [("/(*)/(*).*", "$1/$2", True), ("/(*)", "$1", True), ("/(*)(*)", "$1$2", False)])
def test_a_group_is_planned_from_changes_where_its_key_tells_its_paths(store: Pfs, glob: str, group_by: str, cheap: bool) -> None:
    node = GroupInput((PfsInput(name="one", project="default", repo="one", glob=glob, group_by=group_by),))
    old = commits(store, node, {"one": {"/a/1.jpg": "1", "/a/1.json": "1", "/b": "1"}}, "old")
    new = commits(store, node, {"one": {"/a/1.jpg": "2", "/a/1.json": "1", "/a/2.jpg": "1", "/b": "1", "/c": "1"}}, "new")

    changes = input_changes.input_changes(node, old.by_leaf.__getitem__, new.by_leaf.__getitem__, Watch())

    assert (changes is not None) is cheap


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(node=INPUTS, before=STATE, after=STATE)
def test_a_plan_from_changes_is_the_plan_from_everything(store: Pfs, node: Input, before: dict, after: dict) -> None:
    spec = PipelineSpec(pipeline=KEY, transform=Transform(cmd=("true",)), input=node, salt="s")
    pipeline = Pipeline(KEY, 1, spec, CommitSetId("0"), 0, stopped=False, state=PipelineState.RUNNING, reason="")
    old, new = commits(store, node, before, "old"), commits(store, node, after, "new")
    records = [
        DatumRecord(id=datum.id, job=JobId("old"), hash=datum_hash(datum, salt="s"), state=DatumState.SUCCESS, inputs=datum.inputs)
        for datum in datums(node, old.by_leaf.__getitem__, Watch())
    ]
    with store.database.transaction():
        settled = record_tree(store.nodes, None).edit(Entry(record.id.encode(), encode_record(record)) for record in records)
    base = Base(Job(JobKey(KEY, JobId("old")), 1, 1, JobState.SUCCESS, 0), spec, b"", old)

    assert shown(make_plan(pipeline, new, settled, JobId("new"), Watch(), base=base)) == shown(
        make_plan(pipeline, new, settled, JobId("new"), Watch())
    )


def test_a_record_is_short_and_one_that_names_its_defaults_is_read_as_well() -> None:
    part = DatumInput(
        name="images", project="default", repo="images", repo_type="user", branch="master", commit_id="c", path="/a", hash=b"h", size=1
    )
    datum = make_datum([part])
    record = DatumRecord(id=datum.id, job=JobId("j"), hash=b"d", state=DatumState.SUCCESS, inputs=datum.inputs, outputs=("/a",))
    spelled_out = msgspec.msgpack.encode(
        asdict(record) | {"inputs": [asdict(part)], "stats": asdict(record.stats), "reason": ""}  # as earlier versions wrote it
    )
    assert decode_record(spelled_out) == decode_record(encode_record(record)) == record
    assert len(encode_record(record)) < len(spelled_out) * 2 / 3
