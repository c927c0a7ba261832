"""Creating, updating, starting, stopping and deleting pipelines. All functions work inside a transaction."""

import dataclasses
import time
import uuid

import msgspec

from minipachd.errors import InvalidError, RepoNotFoundError
from minipachd.pfs import META_REPO, SPEC_REPO, BranchKey, RepoKey, Trigger, Txn
from minipachd.pps import jobs, records
from minipachd.pps.environment import secret_value
from minipachd.pps.plan import leaf_repo
from minipachd.pps.records import Pipeline
from minipachd.pps.secrets import SecretNotFoundError, Secrets
from minipachd.pps.spec import CronInput, PipelineKey, PipelineSpec, PipelineState, input_branch, leaves
from minipachd.pps.validate import complete

UPDATED_REASON = "all jobs killed because pipeline was updated by unknown user"
STOPPED_REASON = "all jobs killed because pipeline was stopped"


def create(txn: Txn, draft: PipelineSpec, secrets: Secrets, *, update: bool = False, reprocess: bool = False) -> Pipeline:
    """Make a pipeline, or a new version of one.

    :param draft: As the user gave it; see :func:`minipachd.pps.validate.complete`.
    :param reprocess: Give an update a new salt: every datum is processed again.
    :raises InvalidError: The spec breaks a rule. :raises PipelineExistsError: It exists, and ``update`` is not set.
    """
    now_ns = time.time_ns()
    spec = complete(draft, now_ns=now_ns)
    key = spec.pipeline
    txn.project(key.project)
    _check_secrets(spec, secrets)
    before = records.find_pipeline(txn.db, key)
    if before is not None and not update:
        raise records.PipelineExistsError(key)
    spec = msgspec.structs.replace(spec, salt=_salt(spec, before, reprocess=reprocess))
    _prepare_inputs(txn, spec)
    if before is None:
        _make_repos(txn, key, spec)
    else:
        jobs.stop_all(txn, key, reason=UPDATED_REASON)
    spec_branch = BranchKey(RepoKey(key.project, key.name, SPEC_REPO), "master")
    commit = txn.start_commit(spec_branch)
    txn.finish_commit(commit.key, by_pipeline=True)
    pipeline = Pipeline(
        key=key,
        version=1 if before is None else before.version + 1,
        spec=spec,
        spec_commit=commit.id,
        created_ns=now_ns,
        stopped=before is not None and before.stopped,
        state=PipelineState.STARTING,
        reason="",
    )
    if pipeline.stopped:
        pipeline = dataclasses.replace(pipeline, state=PipelineState.PAUSED)
    records.put_pipeline(txn.db, pipeline)
    if not pipeline.stopped:
        _connect(txn, spec)
    return pipeline


def start(txn: Txn, key: PipelineKey) -> None:
    """Let a stopped pipeline go on: a job with everything new since the last good one is made.

    :raises PipelineNotFoundError: There is none.
    """
    pipeline = records.get_pipeline(txn.db, key)
    if pipeline.stopped:
        records.set_pipeline_state(txn.db, key, PipelineState.STARTING, stopped=False)
        _connect(txn, pipeline.spec)


def stop(txn: Txn, key: PipelineKey) -> None:
    """Kill a pipeline's jobs and let no new ones begin. A missing pipeline is no error."""
    pipeline = records.find_pipeline(txn.db, key)
    if pipeline is None or pipeline.stopped:
        return
    jobs.stop_all(txn, key, reason=STOPPED_REASON)
    records.set_pipeline_state(txn.db, key, PipelineState.PAUSED, stopped=True)
    _disconnect(txn, pipeline.spec)


def delete(txn: Txn, key: PipelineKey, *, force: bool = False, keep_repo: bool = False) -> bool:
    """Delete a pipeline with its jobs, its versions and its repos.

    :param force: Also when other pipelines read its output.
    :param keep_repo: Leave the output repo, as a repo like any other.
    :return: False when there was no such pipeline, which is no error.
    :raises InvalidError: Another pipeline reads its output.
    """
    pipeline = records.find_pipeline(txn.db, key)
    if pipeline is None:
        return False
    for job in records.active_jobs(txn.db, key):
        jobs.stop(txn, job.key, reason="pipeline was deleted")
    records.delete_pipeline(txn.db, key)
    if keep_repo:
        _disconnect(txn, pipeline.spec)
        doomed = [RepoKey(key.project, key.name, META_REPO), RepoKey(key.project, key.name, SPEC_REPO)]
    else:
        doomed = [RepoKey(key.project, key.name)]
    doomed += [leaf_repo(leaf) for leaf in leaves(pipeline.spec.input) if isinstance(leaf, CronInput)]
    txn.delete_repos(doomed, force=force)
    return True


def delete_order(txn: Txn) -> list[PipelineKey]:
    """All pipelines, those downstream first."""
    pipelines = {pipeline.key: pipeline for pipeline in records.list_pipelines(txn.db)}
    order: dict[PipelineKey, None] = {}

    def visit(key: PipelineKey) -> None:
        if key in order or key not in pipelines:
            return
        for leaf in leaves(pipelines[key].spec.input):
            visit(PipelineKey(leaf.project, leaf.repo))
        order[key] = None

    for key in sorted(pipelines):
        visit(key)
    return list(reversed(order))


def _salt(spec: PipelineSpec, before: Pipeline | None, *, reprocess: bool) -> str:
    if before is None:
        return spec.salt or uuid.uuid4().hex
    return uuid.uuid4().hex if reprocess else before.spec.salt


def _check_secrets(spec: PipelineSpec, secrets: Secrets) -> None:
    for mount in spec.transform.secrets:
        try:
            if mount.key:
                secret_value(secrets, mount.name, mount.key)
            else:
                secrets.inspect(mount.name)
        except SecretNotFoundError:
            raise InvalidError(f"missing Kubernetes secret {mount.name}: create it before the pipeline that names it") from None


def _prepare_inputs(txn: Txn, spec: PipelineSpec) -> None:
    """Every repo that the pipeline reads must be there; those of its cron inputs are made."""
    for leaf in leaves(spec.input):
        repo = leaf_repo(leaf)
        if isinstance(leaf, CronInput):
            if not txn.has_repo(repo):
                txn.create_repo(repo, description=f"Cron tick repo for pipeline {spec.pipeline}.")
        elif not txn.has_repo(repo):
            raise RepoNotFoundError(repo)
        elif leaf.trigger is not None:
            _prepare_trigger(txn, BranchKey(repo, leaf.branch), leaf.trigger)


def _prepare_trigger(txn: Txn, branch: BranchKey, trigger: Trigger) -> None:
    """Make a branch that follows another one; it is empty until the trigger fires."""
    source = BranchKey(branch.repo, trigger.branch)
    head = None
    if txn.find_branch(source) is None:
        txn.create_branch(source)
        head = txn.branch(source).head  # as empty as a commit of the branch's own, of which a repo can have one per set
    txn.create_branch(branch, head=head, trigger=trigger)


def _make_repos(txn: Txn, key: PipelineKey, spec: PipelineSpec) -> None:
    output = RepoKey(key.project, key.name)
    if txn.has_repo(output):
        raise InvalidError(  # no AlreadyExistsError: that would say that the pipeline is there
            f"pipeline {key} cannot be created because a repo with the same name already exists; delete the repo or choose another name"
        )
    txn.create_repo(output, description=spec.description or f"Output repo for pipeline {key}.")
    txn.create_repo(RepoKey(key.project, key.name, SPEC_REPO), description=f"Spec repo for pipeline {key}.")
    txn.create_repo(RepoKey(key.project, key.name, META_REPO), description=f"Meta repo for pipeline {key}.")


def _connect(txn: Txn, spec: PipelineSpec) -> None:
    """Make output and meta branch depend on what the pipeline reads: their next commits are its jobs."""
    key = spec.pipeline
    provenance = list(dict.fromkeys(BranchKey(leaf_repo(leaf), input_branch(leaf)) for leaf in leaves(spec.input)))
    provenance.append(BranchKey(RepoKey(key.project, key.name, SPEC_REPO), "master"))
    for branch in _own_branches(spec):
        txn.create_branch(branch, provenance=provenance)


def _disconnect(txn: Txn, spec: PipelineSpec) -> None:
    for branch in _own_branches(spec):
        txn.create_branch(branch)


def _own_branches(spec: PipelineSpec) -> list[BranchKey]:
    key = spec.pipeline
    return [BranchKey(RepoKey(key.project, key.name, kind), spec.output_branch) for kind in ("user", META_REPO)]
