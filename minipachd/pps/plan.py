"""What a job has to do: its datums against those that are settled already."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from minipachd.pfs import Commit, CommitKey, CommitReference, FileEntry, FileTree, RepoKey, View
from minipachd.pfs.watch import Watch
from minipachd.pps.datum import Datum, DatumRecord, datum_hash, datum_id, decode_record, make_datum
from minipachd.pps.input_changes import input_changes
from minipachd.pps.inputs import InputCommit, datums
from minipachd.pps.records import Job, Pipeline, find_job, get_pipeline
from minipachd.pps.run import Task
from minipachd.pps.spec import (
    DatumId,
    DatumState,
    Input,
    JobId,
    JobKey,
    JobState,
    LeafInput,
    PipelineSpec,
    ReprocessSpec,
    input_branch,
    leaves,
)
from minipachd.storage import Tree


@dataclass(frozen=True, slots=True)
class Inputs:
    """The commits that a job reads.

    :ivar trees: By (project, repo, type, commit id).
    :ivar unfinished: There is one that may still change.
    :ivar failed: Names of the inputs whose commit has an error.
    :ivar complete: Every commit is the one that the output was made from; a squash may have taken some away.
    """

    by_leaf: dict[LeafInput, InputCommit]
    trees: dict[tuple[str, str, str, str], FileTree]
    unfinished: bool
    failed: tuple[str, ...]
    complete: bool


def resolve_inputs(view: View, node: Input, *, output: Commit | None) -> Inputs:
    """Find the commit that every leaf reads.

    :param output: The job's output commit, which knows what it is made from; without one the branch heads are read.
    """
    made_from = {} if output is None else {upstream.repo: upstream for upstream in output.direct_provenance}
    by_leaf: dict[LeafInput, InputCommit] = {}
    trees: dict[tuple[str, str, str, str], FileTree] = {}
    failed = []
    unfinished = False
    for leaf in leaves(node):
        repo = leaf_repo(leaf)
        upstream = made_from.get(repo)
        commit = view.resolve(CommitReference(repo, input_branch(leaf))) if upstream is None else view.commit(upstream)
        unfinished |= not commit.finished
        if commit.error:
            failed.append(leaf.name)
        files = view.files(commit)
        by_leaf[leaf] = InputCommit(commit.id, files)
        trees[repo.project, repo.name, repo.type, commit.id] = files
    complete = all(leaf_repo(leaf) in made_from for leaf in by_leaf)
    return Inputs(by_leaf, trees, unfinished, tuple(failed), complete)


def leaf_repo(leaf: LeafInput) -> RepoKey:
    """The repo that an input reads."""
    return RepoKey(leaf.project, leaf.repo, getattr(leaf, "repo_type", "user"))


@dataclass(frozen=True, slots=True)
class Plan:
    """A job's work.

    :ivar done: Datums that this very job settled before the server went down.
    :ivar dropped: Records that are no longer right: their outputs go before anything runs.
    """

    total: int
    skipped: int
    done: int
    tasks: list[Task]
    dropped: list[DatumRecord]


def make_plan(pipeline: Pipeline, inputs: Inputs, settled: Tree, job_id: JobId, watch: Watch, *, base: "Base | None" = None) -> Plan:
    """Compare the datums of a job with settled ones.

    :param settled: Records of the base job or, when the job is being resumed, its own.
    :param base: Where the records come from, when they are a good job's: then only what changed since is looked at, if the input allows.
    :raises TooManyDatumsError: A plan may not hold so many. :raises NotWantedError: See :class:`Watch`.
    """
    spec = pipeline.spec
    changes = None
    if base is not None and base.comparable(pipeline, settled):
        changes = input_changes(spec.input, base.inputs.by_leaf.__getitem__, inputs.by_leaf.__getitem__, watch)
    planner = _Planner(pipeline, settled, job_id)
    if changes is None:
        for datum in datums(spec.input, inputs.by_leaf.__getitem__, watch):
            planner.want(datum)
        planner.drop_unwanted()
        return planner.plan(total=len(planner.wanted))
    for parts in changes.added:
        watch.look()
        planner.want(make_datum(parts))
    for parts in changes.removed:
        watch.look()
        planner.drop(datum_id(parts))
    return planner.plan(total=settled.aggregate().count + planner.new - planner.gone)


class _Planner:
    """Sorts datums into those to run, those to skip and those to forget."""

    def __init__(self, pipeline: Pipeline, settled: Tree, job_id: JobId) -> None:
        self._salt, self._settled, self._job_id = pipeline.spec.salt, settled, job_id
        self._every_job = pipeline.spec.reprocess_spec is ReprocessSpec.EVERY_JOB
        self._tasks: list[Task] = []
        self._dropped: list[DatumRecord] = []
        self._done = 0
        self.wanted: set[bytes] = set()
        self.new = self.gone = 0

    def want(self, datum: Datum) -> None:
        """The job has this datum."""
        key = datum.id.encode()
        self.wanted.add(key)
        digest = datum_hash(datum, salt=self._salt)
        entry = self._settled.get(key)
        if entry is None:
            self.new += 1
        else:
            record = decode_record(entry.value)
            own = record.job == self._job_id
            if record.state is DatumState.SUCCESS and record.hash == digest and (own or not self._every_job):
                self._done += own
                return
            self._dropped.append(record)
        self._tasks.append(Task(datum, digest))

    def drop(self, datum: DatumId) -> None:
        """The base had this datum; unless the job wants it as well, its output goes."""
        key = datum.encode()
        entry = None if key in self.wanted else self._settled.get(key)
        if entry is not None:
            self.gone += 1
            self._dropped.append(decode_record(entry.value))

    def drop_unwanted(self) -> None:
        """Drop every settled datum that the job does not want."""
        self._dropped.extend(decode_record(entry.value) for entry in self._settled.scan() if entry.key not in self.wanted)

    def plan(self, *, total: int) -> Plan:
        return Plan(total, total - len(self._tasks) - self._done, self._done, self._tasks, self._dropped)


@dataclass(frozen=True, slots=True)
class Base:
    """The job that another one starts from.

    :ivar spec: Of the version that ran it.
    :ivar files: Its output.
    """

    job: Job
    spec: PipelineSpec
    files: FileTree
    inputs: Inputs

    @property
    def root(self) -> bytes:
        return self.files.root

    def comparable(self, pipeline: Pipeline, settled: Tree) -> bool:
        """Whether what did not change since is sure to be right: same inputs, same salt, and every datum a success."""
        spec = pipeline.spec
        same = self.spec.input == spec.input and self.spec.salt == spec.salt and spec.reprocess_spec is not ReprocessSpec.EVERY_JOB
        return same and self.inputs.complete and settled.aggregate().weight == 0


def find_base(view: View, output: Commit, pipeline: Pipeline) -> Base | None:
    """The nearest earlier job that succeeded: what a job starts from."""
    parent = output.parent
    while parent is not None:
        commit = view.commit(parent)
        if not commit.error:
            job = find_job(view.db, JobKey(pipeline.key, JobId(commit.id)))
            if job is not None and job.state is JobState.SUCCESS:
                spec = get_pipeline(view.db, pipeline.key, version=job.version).spec
                return Base(job, spec, view.files(commit), resolve_inputs(view, spec.input, output=commit))
        parent = commit.parent
    return None


@dataclass(frozen=True, slots=True)
class Salvage:
    """What jobs that failed since the base had finished, newest first: right results that need no second run."""

    sources: tuple[tuple[Tree, FileTree], ...]

    def find(self, task: Task, job_id: JobId) -> tuple[DatumRecord, list[FileEntry]] | None:
        """The record of a datum's success, as this job's, and its output files."""
        for records, files in self.sources:
            entry = records.get(task.datum.id.encode())
            if entry is None:
                continue
            record = decode_record(entry.value)
            if record.state is not DatumState.SUCCESS or record.hash != task.hash:
                continue
            found = [piece for path in record.outputs if (piece := files.get(path)) is not None and piece.tag == record.id]
            if len(found) == len(record.outputs):
                return msgspec.structs.replace(record, job=job_id, inputs=task.datum.inputs), found
        return None


def find_salvage(view: View, output: Commit, pipeline: Pipeline, tree: Callable[[bytes], Tree]) -> Salvage:
    """Look through the failed and killed jobs between an output commit and its base; only those that ran this version of the pipeline."""
    if pipeline.spec.reprocess_spec is ReprocessSpec.EVERY_JOB:
        return Salvage(())
    sources = []
    for commit in _failed_ancestors(view, output):
        job = find_job(view.db, JobKey(pipeline.key, JobId(commit.id)))
        if job is not None and job.version == pipeline.version and job.datums and job.state in (JobState.FAILURE, JobState.KILLED):
            sources.append((tree(job.datums), view.files(commit)))
    return Salvage(tuple(sources))


def _failed_ancestors(view: View, output: Commit) -> Iterator[Commit]:
    parent: CommitKey | None = output.parent
    while parent is not None:
        commit = view.commit(parent)
        if not commit.error:
            return
        yield commit
        parent = commit.parent
