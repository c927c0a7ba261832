"""What a job has to do: its datums against those that are settled already."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from minipachd.pfs import Commit, CommitKey, CommitReference, FileEntry, FileTree, RepoKey, View
from minipachd.pps.datum import DatumRecord, datum_hash, decode_record
from minipachd.pps.inputs import InputCommit, datums
from minipachd.pps.records import Job, Pipeline, find_job
from minipachd.pps.run import Task
from minipachd.pps.spec import DatumState, Input, JobId, JobKey, JobState, LeafInput, ReprocessSpec, input_branch, leaves
from minipachd.storage import EMPTY_ROOT, Tree


@dataclass(frozen=True, slots=True)
class Inputs:
    """The commits that a job reads.

    :ivar trees: By (project, repo, type, commit id).
    :ivar unfinished: There is one that may still change.
    :ivar failed: Names of the inputs whose commit has an error.
    """

    by_leaf: dict[LeafInput, InputCommit]
    trees: dict[tuple[str, str, str, str], FileTree]
    unfinished: bool
    failed: tuple[str, ...]


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
    return Inputs(by_leaf, trees, unfinished, tuple(failed))


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


def make_plan(pipeline: Pipeline, inputs: Inputs, settled: Tree, job_id: JobId) -> Plan:
    """Compare the datums of a job with settled ones.

    :param settled: Records of the base job or, when the job is being resumed, its own.
    """
    spec = pipeline.spec
    every_job = spec.reprocess_spec is ReprocessSpec.EVERY_JOB
    tasks: list[Task] = []
    dropped: list[DatumRecord] = []
    wanted: set[bytes] = set()
    skipped = done = total = 0
    for datum in datums(spec.input, inputs.by_leaf.__getitem__):
        total += 1
        key = datum.id.encode()
        wanted.add(key)
        digest = datum_hash(datum, salt=spec.salt)
        entry = settled.get(key)
        if entry is not None:
            record = decode_record(entry.value)
            own = record.job == job_id
            if record.state is DatumState.SUCCESS and record.hash == digest and (own or not every_job):
                done += own
                skipped += not own
                continue
            dropped.append(record)
        tasks.append(Task(datum, digest))
    dropped.extend(decode_record(entry.value) for entry in settled.scan() if entry.key not in wanted)
    return Plan(total, skipped, done, tasks, dropped)


def find_base(view: View, output: Commit, pipeline: Pipeline) -> tuple[Job | None, bytes]:
    """The nearest earlier job that succeeded, and the root of its output: what a job starts from."""
    parent = output.parent
    while parent is not None:
        commit = view.commit(parent)
        if not commit.error:
            job = find_job(view.db, JobKey(pipeline.key, JobId(commit.id)))
            if job is not None and job.state is JobState.SUCCESS:
                return job, commit.root
        parent = commit.parent
    return None, EMPTY_ROOT


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
