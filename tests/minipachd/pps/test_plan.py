"""Planning from what changed gives what planning from everything gives."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipachd.pfs import CommitSetId, FileEntry, FileTree, Pfs
from minipachd.pfs.filetree import encode_entry
from minipachd.pps.datum import DatumRecord, datum_hash, encode_record
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
PATHS = ["/a", "/b", "/d/x", "/d/y", "/d/e/z", "/c1", "/c2"]
GLOBS = ["/", "/*", "/*/*", "/**", "/d/*", "/c?", "/d/(x|e)", "/{a,d/**}", "/a"]


def leaf(repo: str) -> st.SearchStrategy[Input]:
    return st.sampled_from(GLOBS).map(lambda glob: PfsInput(name=repo, project="default", repo=repo, glob=glob, group_by="x"))


INPUTS = st.one_of(
    leaf("one"),
    st.tuples(leaf("one"), leaf("two")).map(CrossInput),
    st.tuples(leaf("one"), leaf("two")).map(UnionInput),
    st.tuples(leaf("one"), leaf("two")).map(GroupInput),
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


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(node=INPUTS, before=STATE, after=STATE)
def test_a_plan_from_changes_is_the_plan_from_everything(store: Pfs, node: Input, before: dict, after: dict) -> None:
    spec = PipelineSpec(pipeline=KEY, transform=Transform(cmd=("true",)), input=node, salt="s")
    pipeline = Pipeline(KEY, 1, spec, CommitSetId("0"), 0, stopped=False, state=PipelineState.RUNNING, reason="")
    old, new = commits(store, node, before, "old"), commits(store, node, after, "new")
    records = [
        DatumRecord(id=datum.id, job=JobId("old"), hash=datum_hash(datum, salt="s"), state=DatumState.SUCCESS, inputs=datum.inputs)
        for datum in datums(node, old.by_leaf.__getitem__)
    ]
    with store.database.transaction():
        settled = Tree(store.nodes).edit(Entry(record.id.encode(), encode_record(record)) for record in records)
    base = Base(Job(JobKey(KEY, JobId("old")), 1, 1, JobState.SUCCESS, 0), spec, b"", old)

    assert shown(make_plan(pipeline, new, settled, JobId("new"), base=base)) == shown(make_plan(pipeline, new, settled, JobId("new")))
