"""The controller of one pipeline: takes its jobs in order, decides what each has to do, and writes down what came of it."""

import dataclasses
import logging
import threading
import time

from minipachd.errors import InvalidError, MinipachdError
from minipachd.pfs import Commit
from minipachd.pfs.watch import Watch
from minipachd.pps import jobs, records
from minipachd.pps.datum import encode_record, record_tree
from minipachd.pps.egress import EgressFailedError, EgressTimedOutError, egress
from minipachd.pps.plan import Inputs, Plan, find_base, find_salvage, make_plan, resolve_inputs
from minipachd.pps.pool import WorkerPool
from minipachd.pps.records import DatumCounts, Job, JobFinishedError, Pipeline
from minipachd.pps.run import DuplicateOutputError, JobRun
from minipachd.pps.spec import DatumState, JobKey, JobState, PipelineKey, PipelineState
from minipachd.pps.worker import Services
from minipachd.storage import EMPTY_ROOT, Entry, Tree

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""How much finished work a crash may cost, and how often the counters of a running job move."""
IDLE_SECONDS = 600.0
"""How long workers are kept, with the model that they have loaded, when there is nothing to do."""
RETRY_SECONDS = 5.0
MAX_FAILURES = 3
"""How often in a row a job may stumble over trouble that is not its user code's, before it fails with that as its reason."""


class PlanError(InvalidError):
    """What a job has to do cannot be told: the job fails."""


class Controller:
    """One thread per pipeline, which alone moves the pipeline's jobs forward.

    :param resumed: The server has just started: a job that has begun is begun again.
    """

    def __init__(self, key: PipelineKey, services: Services, *, resumed: bool) -> None:
        self.key = key
        self.pool: WorkerPool | None = None
        self.run: JobRun | None = None
        self._services = services
        self._pfs = services.pfs
        self._resumed = resumed
        self._stopping = False
        self._failures = 0
        self._thread = threading.Thread(target=self._main, name=f"pipeline {key}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin to end the thread; what its job has done so far is kept. The caller notifies ``changes`` and joins."""
        self._stopping = True
        run = self.run
        if run is not None:
            run.cancel()

    def join(self) -> None:
        self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def check(self) -> None:
        """Stop working for a job that somebody else has ended, or deleted. Called whenever something changed."""
        run = self.run
        if run is not None and not run.cancelled and not self._wanted(run.job):
            run.cancel()

    def _wanted(self, key: JobKey) -> bool:
        """Whether a job is still there and has not ended."""
        with self._pfs.database.reading() as db:
            job = records.find_job(db, key)
        return job is not None and not job.terminal

    def _main(self) -> None:
        idle_since = time.monotonic()
        try:
            while True:
                seen = self._pfs.changes.version
                if self._stopping:  # looked at after the version, so that the notification of a stop is never slept through
                    return
                try:
                    busy = self._step()
                    self._failures = 0
                except Exception as exc:  # the edge of this thread: without it the pipeline would never move again
                    log.exception("pipeline %s: controller failed, next try in %g s", self.key, RETRY_SECONDS)
                    self._stumble(exc)
                    continue
                if busy:
                    idle_since = time.monotonic()
                    continue
                left = None if self.pool is None else max(0.0, idle_since + IDLE_SECONDS - time.monotonic())
                if not self._pfs.changes.wait(seen, left):
                    self._close_pool()
        finally:
            self._close_pool()

    def _stumble(self, cause: Exception) -> None:
        """Wait for the next try; after too many, give the job up so that those behind it can run."""
        self._failures += 1
        if self._failures < MAX_FAILURES:
            deadline = time.monotonic() + RETRY_SECONDS
            while not self._stopping and (left := deadline - time.monotonic()) > 0:
                self._pfs.changes.wait(self._pfs.changes.version, left)
            return
        self._failures = 0
        try:
            with self._pfs.transaction() as txn:
                for job in records.active_jobs(txn.db, self.key, limit=1):
                    jobs.end(txn, job, JobState.FAILURE, reason=f"given up after {MAX_FAILURES} tries: {type(cause).__name__}: {cause}")
        except Exception:  # the disk may be full, or the database damaged: the next round says so again
            log.exception("pipeline %s: cannot even end its job", self.key)
            self._pfs.changes.wait(self._pfs.changes.version, RETRY_SECONDS)

    def _step(self) -> bool:
        """Do what there is to do for the oldest job that has not ended.

        :return: Whether anything was done.
        """
        with self._pfs.snapshot() as view:
            pipeline = records.find_pipeline(view.db, self.key)
            if pipeline is None:
                self._stopping = True
                return False
            if pipeline.state is PipelineState.STARTING:
                self._settle_state(pipeline)
                return True
            waiting = records.active_jobs(view.db, self.key, limit=1)
            job = waiting[0] if waiting else None
            if job is None:
                if self.pool is not None and (self.pool.pipeline.version != pipeline.version or pipeline.stopped):
                    self._close_pool()
                return False
            if job.version != pipeline.version:
                pipeline = records.get_pipeline(view.db, self.key, version=job.version)
            output = view.commit(jobs.output_commit(job.key))
            inputs = resolve_inputs(view, pipeline.spec.input, output=output)
        try:
            return self._advance(job, pipeline, output, inputs)
        except MinipachdError:  # a job that was deleted takes its commits along, at any moment
            if self._stopping:
                return True
            if self._wanted(job.key):
                raise
            log.info("job %s was ended from outside", job.key)
            self._services.logs.master(self.key, "job was ended by a request", job=job.key.id)
            return True

    def _advance(self, job: Job, pipeline: Pipeline, output: Commit, inputs: Inputs) -> bool:
        if pipeline.state is PipelineState.FAILURE:
            self._end(job, JobState.FAILURE, pipeline.reason)
            return True
        if job.state is JobState.CREATED:
            self._services.logs.master(self.key, "waiting for job inputs", job=job.key.id)
            job = dataclasses.replace(job, state=JobState.STARTING)
            with self._pfs.transaction() as txn:
                jobs.update(txn, job)
            self._pool_for(pipeline).warm_up()
        if inputs.unfinished:
            return False
        if inputs.failed:
            self._end(job, JobState.UNRUNNABLE, f"unrunnable because the following upstream pipelines failed: {', '.join(inputs.failed)}")
            return True
        if self._resumed and job.started_ns is not None:
            job = dataclasses.replace(job, restart=job.restart + 1)
        self._resumed = False
        self._run_job(job, pipeline, output, inputs)
        return True

    def _run_job(self, job: Job, pipeline: Pipeline, output: Commit, inputs: Inputs) -> None:
        began = time.monotonic()
        try:
            job, plan = self._begin(job, pipeline, output, inputs)
        except PlanError as exc:
            self._end(job, JobState.FAILURE, str(exc))
            return
        deadline = _deadline(job, pipeline)
        master = self._services.logs.master
        message = f"{plan.total} datums: {len(plan.tasks)} to process, {plan.skipped} skipped, {plan.done} done before"
        master(self.key, message if plan.total else "0 datums matched the input", job=job.key.id)
        with self._pfs.snapshot() as view:
            salvage = find_salvage(view, output, pipeline, self._tree)
            files = view.files(view.commit(output.key))
        run = JobRun(job.key, pipeline, commits=inputs.trees, output=files, pfs=self._pfs)
        run.counts = DatumCounts(total=plan.total, skipped=plan.skipped, processed=plan.done)
        state, reason = JobState.SUCCESS, ""
        try:
            left = []
            for task in plan.tasks:
                found = salvage.find(task, job.key.id)
                if found is None:
                    left.append(task)
                else:
                    run.reuse(*found)
            if len(left) < len(plan.tasks):
                master(self.key, f"reusing {len(plan.tasks) - len(left)} datums that a failed job had finished", job=job.key.id)
        except DuplicateOutputError as exc:
            state, reason = JobState.FAILURE, str(exc)
        else:
            if left:
                run.add(left)
                job, state, reason = self._work(job, pipeline, run, datums=len(left), deadline=deadline)
        if pipeline.spec.egress_url and not reason and not run.cancelled:
            job, state, reason = self._egress(job, pipeline, run, deadline=deadline)
        if self._stopping and not reason:
            self._flush(job, run)
            return
        self._flush(job, run, end=(state, reason))
        outcome = f"job {state.name} after {time.monotonic() - began:.3f}s" + (f": {reason}" if reason else "")
        master(self.key, outcome, job=job.key.id)
        self._services.logs.trim(self.key)
        log.info("job %s %s in %.3f s: %s", job.key, state.name, time.monotonic() - began, run.counts)

    def _begin(self, job: Job, pipeline: Pipeline, output: Commit, inputs: Inputs) -> tuple[Job, Plan]:
        """Plan the job and take what is no longer right out of its output, before anything runs."""
        with self._pfs.snapshot() as view:
            base = find_base(view, output, pipeline)
        fresh = job.datums is None
        settled = self._tree(job.datums if not fresh else base.job.datums if base is not None else None)
        watch = Watch(lambda: self._stopping or not self._wanted(job.key), most=self._services.max_datums)
        try:
            plan = make_plan(pipeline, inputs, settled, job.key.id, watch, base=base if fresh else None)
        except InvalidError as exc:  # no second try could give another plan
            raise PlanError(f"the job cannot be planned: {exc}") from exc
        base_root = base.root if base is not None else EMPTY_ROOT
        counts = DatumCounts(total=plan.total, skipped=plan.skipped, processed=plan.done)
        with self._pfs.transaction() as txn:
            records.get_job(txn.db, job.key)  # deleted meanwhile? Then its commit is gone too
            commit = txn.commit(output.key)
            if fresh and commit.root != base_root:
                txn.set_files(commit.key, base_root)
            if plan.dropped:
                txn.write_files(commit.key, delete=[(path, record.id) for record in plan.dropped for path in record.outputs])
            tree = settled.edit(deletes=[record.id.encode() for record in plan.dropped])
            now_ns = time.time_ns()
            job = dataclasses.replace(
                job, state=JobState.RUNNING, started_ns=job.started_ns or now_ns, counts=counts, datums=tree.root, stats=type(job.stats)()
            )
            jobs.update(txn, job)
        return job, plan

    def _work(self, job: Job, pipeline: Pipeline, run: JobRun, *, datums: int, deadline: float | None) -> tuple[Job, JobState, str]:
        """Have the datums run, writing down results while they come.

        :return: The job as stored, and how it is to end.
        """
        timeout = pipeline.spec.job_timeout_seconds
        pool = self._pool_for(pipeline)
        self.run = run
        if self._stopping:
            run.cancel()
        self.check()
        pool.start(run, datums=datums)
        try:
            while not run.wait(FLUSH_SECONDS if deadline is None else min(FLUSH_SECONDS, max(0.0, deadline - time.monotonic()))):
                if deadline is not None and time.monotonic() >= deadline and not run.cancelled:
                    run.fail(f"job timed out: it ran longer than its job_timeout of {timeout:g} s")
                    run.wait(None)
                    return job, JobState.KILLED, run.failure
                job = self._flush(job, run)
        except BaseException:
            run.cancel()
            run.wait(None)
            run.discard()
            raise
        finally:
            self.run = None
        if run.failure:
            return job, JobState.FAILURE, run.failure
        return job, JobState.SUCCESS, ""

    def _egress(self, job: Job, pipeline: Pipeline, run: JobRun, *, deadline: float | None) -> tuple[Job, JobState, str]:
        """Copy the whole output to where the spec says; it is what :meth:`_work` says of the job otherwise."""
        job = dataclasses.replace(self._flush(job, run), state=JobState.EGRESSING)
        with self._pfs.transaction() as txn:
            jobs.update(txn, job)
            files = txn.files(txn.commit(jobs.output_commit(job.key)))
        self.run = run
        if self._stopping:
            run.cancel()
        self.check()
        try:
            egress(
                self._pfs,
                files,
                pipeline.spec.egress_url,
                work_root=self._services.work_root,
                cancelled=run.ended,
                deadline=deadline,
                say=lambda message: self._services.logs.master(self.key, message, job=job.key.id),
            )
        except EgressTimedOutError as exc:
            return job, JobState.KILLED, str(exc)
        except EgressFailedError as exc:
            return job, JobState.FAILURE, str(exc)
        finally:
            self.run = None
        return job, JobState.SUCCESS, ""

    def _flush(self, job: Job, run: JobRun, *, end: tuple[JobState, str] | None = None) -> Job:
        """Write down what has been settled since the last time and, when the job is over, its end: one transaction.

        :raises JobFinishedError: The job was ended from outside; what it did since the last flush is lost.
        """
        batch = run.swap(FLUSH_SECONDS if end is None else -1)
        try:
            if batch.upload is not None:
                batch.upload.seal()
            if end is None and not batch.records:
                return job
            with self._pfs.transaction() as txn:
                if records.get_job(txn.db, job.key).terminal:
                    raise JobFinishedError(job.key)
                tree = self._tree(job.datums)
                if batch.entries or batch.upload is not None:
                    txn.write_files(jobs.output_commit(job.key), upload=batch.upload, put=batch.entries)
                if batch.records:
                    tree = tree.edit(
                        Entry(record.id.encode(), encode_record(record), int(record.state is not DatumState.SUCCESS))
                        for record in batch.records
                    )
                job = dataclasses.replace(job, counts=run.counts, stats=run.stats, datums=tree.root)
                if end is None:
                    jobs.update(txn, job)
                else:
                    job = jobs.end(txn, job, end[0], reason=end[1])
            return job
        finally:
            if batch.upload is not None:
                batch.upload.__exit__(None, None, None)

    def _end(self, job: Job, state: JobState, reason: str) -> None:
        with self._pfs.transaction() as txn:
            jobs.end(txn, job, state, reason=reason)
        self._services.logs.master(self.key, f"job {state.name}: {reason}", job=job.key.id)
        log.info("job %s %s: %s", job.key, state.name, reason)

    def _settle_state(self, pipeline: Pipeline) -> None:
        """Leave STARTING, now that somebody looks after the pipeline."""
        state, reason = PipelineState.RUNNING, ""
        if not pipeline.spec.transform.cmd:
            state, reason = PipelineState.FAILURE, "there is nothing to run: transform.cmd is empty; update the pipeline with a command"
        self._services.logs.master(self.key, f"pipeline version {pipeline.version} is {state.name}" + (f": {reason}" if reason else ""))
        self._explain_skips(pipeline)
        with self._pfs.transaction() as txn:
            now = records.find_pipeline(txn.db, self.key)
            if now is not None and (now.version, now.state) == (pipeline.version, pipeline.state):  # neither updated nor stopped meanwhile
                records.set_pipeline_state(txn.db, self.key, state, reason=reason)

    def _explain_skips(self, pipeline: Pipeline) -> None:
        """Users are surprised that new code leaves old datums alone: say so."""
        with self._pfs.database.reading() as db:
            before = records.find_pipeline(db, self.key, version=pipeline.version - 1)
        if before is not None and before.spec.salt == pipeline.spec.salt:
            note = "datums that are processed already are skipped; update with reprocess to run the new code on them too"
            self._services.logs.master(self.key, note)

    def _pool_for(self, pipeline: Pipeline) -> WorkerPool:
        """The workers of this version; those of another one end."""
        if self.pool is not None and self.pool.pipeline.version != pipeline.version:
            self._close_pool()
        if self.pool is None:
            self.pool = WorkerPool(pipeline, self._services)
        return self.pool

    def _close_pool(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.close()

    def _tree(self, root: bytes | None) -> Tree:
        return record_tree(self._pfs.nodes, root)


def _deadline(job: Job, pipeline: Pipeline) -> float | None:
    """When its time is over, on the clock of ``time.monotonic``: the other one may be set while the job runs."""
    timeout = pipeline.spec.job_timeout_seconds
    before = max(0.0, time.time() - (job.started_ns or 0) / 1e9)
    return time.monotonic() + timeout - before if timeout else None
