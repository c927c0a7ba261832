"""PPS as one object: pipelines over a :class:`~minipachd.pfs.Pfs`, the threads that run them, and what the API asks of them."""

import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from minipachd.errors import InvalidError, UnsupportedError
from minipachd.pfs import Changes, Pfs, Txn
from minipachd.pfs.sources import check_target
from minipachd.pfs.watch import MAX_DATUMS, Watch
from minipachd.pps import orphans, pipelines, records
from minipachd.pps.batching import ServeGate
from minipachd.pps.containers import Containers, EngineUnavailableError, Runtime
from minipachd.pps.controller import Controller
from minipachd.pps.datum import Datum, DatumRecord, decode_record, record_tree
from minipachd.pps.environment import ServerAddress
from minipachd.pps.inputs import datums
from minipachd.pps.jobs import JobObserver
from minipachd.pps.logs import Logs
from minipachd.pps.plan import resolve_inputs
from minipachd.pps.records import Job, Pipeline
from minipachd.pps.sandbox import Sandbox
from minipachd.pps.secrets import Secrets
from minipachd.pps.space import Space
from minipachd.pps.spec import CronInput, DatumId, Input, JobKey, PipelineKey, PipelineSpec, Transform, leaves
from minipachd.pps.ticker import ticker, write_tick
from minipachd.pps.validate import input_with_defaults
from minipachd.pps.workdir import remove_tree
from minipachd.pps.worker import Services, WorkerStatus, data_filter
from minipachd.storage import DataDirectory, Tree

log = logging.getLogger(__name__)


class DatumNotFoundError(InvalidError):
    """A job has no such datum."""

    def __init__(self, job: JobKey, datum: str) -> None:
        super().__init__(f"datum {datum} not found in job {job}")
        self.job, self.datum = job, datum


class Pps:
    """Every method may be called from any thread; those that take a ``Txn`` are parts of a transaction.

    :param serve_gate: Puts a worker's ``NextDatum`` on the network.
    :param namespaces: False never gives user code a ``/pfs`` of its own, only ``PFS_ROOT``.
    :param runtime: Where user code runs.
    :param keep_free: Bytes of the disk that user code is not to have; None for a sensible number.
    :param max_datums: How many the plan of one job may hold.
    :raises EngineUnavailableError: It is to run in images, and there is no Docker engine for that.
    """

    def __init__(
        self,
        pfs: Pfs,
        directory: DataDirectory,
        *,
        serve_gate: ServeGate | None = None,
        namespaces: bool = True,
        runtime: Runtime = Runtime.PROCESS,
        keep_free: int | None = None,
        max_datums: int = MAX_DATUMS,
    ) -> None:
        self.pfs = pfs
        self.logs = Logs(directory.logs)
        self.secrets = Secrets(directory.secrets)
        self._services = Services(
            pfs, self.logs, self.secrets, directory.work, Space.of(directory.work, keep_free), serve_gate, None, namespaces
        )
        self._services.containers = _containers(runtime, directory.work)
        self._services.max_datums = max_datums
        self._services.by_image = runtime is Runtime.AUTO
        self._controllers: dict[PipelineKey, Controller] = {}
        self._lock = threading.Lock()
        self._stopping = False
        self._isolation_error: str | None = None  # not looked at yet; empty where processes can have mounts of their own
        self._ticker = ticker(pfs)
        self._supervisor = threading.Thread(target=self._supervise, name="pps supervisor", daemon=True)
        pfs.database.install(records.SCHEMA)
        pfs.set_observer(JobObserver())

    @property
    def changes(self) -> Changes:
        return self.pfs.changes

    def start(self, server: ServerAddress | None = None) -> None:
        """Run pipelines: jobs that had begun when the server went down begin again.

        :param server: Where user code reaches this server.
        """
        self._services.server = server
        orphans.adopt()
        for left_behind in self._services.work_root.iterdir():  # by a server that was killed
            remove_tree(left_behind)
        self._start_controllers(resumed=True)
        self._supervisor.start()
        self._ticker.start()

    def stop(self) -> None:
        """Kill all user processes, write down what they had finished, and end every thread. Jobs stay as they are."""
        self._stopping = True
        with self._lock:
            controllers = list(self._controllers.values())
        for controller in controllers:
            controller.stop()
        self.changes.notify()
        for controller in controllers:
            controller.join()
        orphans.kill()
        self._ticker.stop()
        if self._supervisor.is_alive():
            self._supervisor.join()

    # Pipelines

    def create_pipeline(self, txn: Txn, draft: PipelineSpec, *, update: bool = False, reprocess: bool = False) -> Pipeline:
        """See :func:`minipachd.pps.pipelines.create`.

        :raises UnsupportedError: Secrets cannot be mounted here.
        :raises ForbiddenError: Its egress goes to a place of this machine that is not open to callers.
        """
        if draft.egress_url:
            check_target(draft.egress_url, self.pfs.local_files)
        pipeline = pipelines.create(txn, draft, self.secrets, update=update, reprocess=reprocess)
        self._check_mounts(pipeline.spec.transform)
        return pipeline

    def delete_pipeline(self, key: PipelineKey, *, force: bool = False, keep_repo: bool = False) -> None:
        """See :func:`minipachd.pps.pipelines.delete`; returns when its processes have ended and its logs are gone."""
        with self.pfs.transaction() as txn:
            pipelines.delete(txn, key, force=force, keep_repo=keep_repo)
        self._clean_up([key])

    def delete_pipelines(self, *, projects: Sequence[str] = (), force: bool = False, keep_repo: bool = False) -> list[PipelineKey]:
        """Delete all pipelines, or all of some projects, in one transaction.

        :return: Those that were deleted.
        """
        with self.pfs.transaction() as txn:
            doomed = [key for key in pipelines.delete_order(txn) if not projects or key.project in projects]
            for key in doomed:
                pipelines.delete(txn, key, force=force, keep_repo=keep_repo)
        self._clean_up(doomed)
        return doomed

    def delete_all(self) -> None:
        """Delete every pipeline with its repos, every secret, and the defaults of pipeline specs."""
        self.delete_pipelines(force=True)
        self.secrets.delete_all()
        with self.pfs.transaction() as txn:
            records.delete_all_defaults(txn.db)

    def run_cron(self, key: PipelineKey) -> None:
        """Tick every cron input of a pipeline now.

        :raises InvalidError: It has none.
        """
        with self.pfs.transaction() as txn:
            inputs = [leaf for leaf in leaves(records.get_pipeline(txn.db, key).spec.input) if isinstance(leaf, CronInput)]
            if not inputs:
                raise InvalidError(f"pipeline {key} doesn't have a cron input")
            for leaf in inputs:
                write_tick(txn, leaf, time.time_ns())

    def worker_statuses(self, key: PipelineKey) -> list[WorkerStatus]:
        """What the busy workers of a pipeline do."""
        controller = self._controllers.get(key)
        pool = None if controller is None else controller.pool
        return [] if pool is None else pool.statuses()

    def worker_count(self, key: PipelineKey) -> int:
        """How many workers of a pipeline exist at the moment."""
        controller = self._controllers.get(key)
        pool = None if controller is None else controller.pool
        return 0 if pool is None else pool.size

    # Datums

    def restart_datum(self, job: JobKey, filters: tuple[str, ...]) -> None:
        """Cut short the running tries of matching datums.

        :raises InvalidError: None is running.
        """
        controller = self._controllers.get(job.pipeline)
        pool = None if controller is None else controller.pool
        if pool is None or not pool.restart_datum(job, data_filter(filters)):
            raise InvalidError(f"datum matching filter [{' '.join(filters)}] could not be found for job ID {job.id}")

    def datums(self, job: Job, *, after: str = "", reverse: bool = False) -> Iterator[DatumRecord]:
        """What a job has settled so far, by datum id.

        :param after: Go on behind this id (before it when ``reverse``).
        """
        tree = self._tree(job)
        start = f"{after}\0".encode() if after and not reverse else None
        stop = after.encode() if after and reverse else None
        for entry in tree.scan(start, stop, reverse=reverse):
            yield decode_record(entry.value)

    def datum(self, job: Job, datum: DatumId) -> DatumRecord:
        """:raises DatumNotFoundError: The job has not settled such a datum."""
        entry = self._tree(job).get(datum.encode())
        if entry is None:
            raise DatumNotFoundError(job.key, datum)
        return decode_record(entry.value)

    def dry_run(self, node: Input, project: str, *, cancelled: Callable[[], bool]) -> list[Datum]:
        """The datums that an input would give now, at the heads of its branches, by id.

        :param cancelled: Asked a few times a second.
        :raises TooManyDatumsError: A plan may not hold so many. :raises NotWantedError: It was cancelled.

        :raises UnsupportedError: It has a cron input, which only a pipeline's repo can answer.
        """
        completed = input_with_defaults(node, PipelineKey(project, "dry-run"), now_ns=time.time_ns())
        if any(isinstance(leaf, CronInput) for leaf in leaves(completed)):
            raise UnsupportedError("can't list datums with a cron input, there will be no datums until the pipeline is created")
        with self.pfs.snapshot() as view:
            inputs = resolve_inputs(view, completed, output=None)
        watch = Watch(cancelled, most=self._services.max_datums)
        return sorted(datums(completed, inputs.by_leaf.__getitem__, watch), key=lambda datum: datum.id)

    def _check_mounts(self, transform: Transform) -> None:
        mounted = next((mount for mount in transform.secrets if mount.mount_path), None)
        if mounted is None or self._services.containers_for(transform.image) is not None:
            return
        if self._isolation_error is None:
            with tempfile.TemporaryDirectory(dir=self._services.work_root, prefix="probe-") as folder:
                probe = Sandbox(Path(folder), on_lines=lambda _lines: None, namespace=self._services.namespaces)
                self._isolation_error = probe.isolation_error
                probe.close()
        if self._isolation_error:
            raise UnsupportedError(
                f"mount_path {mounted.mount_path!r} of secret {mounted.name!r} is not possible here: processes have no mounts of their own "
                f"({self._isolation_error}); use env_var and key, or start minipachd with --runtime docker"
            )

    def _tree(self, job: Job) -> Tree:
        return record_tree(self.pfs.nodes, job.datums)

    # Threads

    def _start_controllers(self, *, resumed: bool) -> None:
        with self._lock, self.pfs.database.reading() as db:
            keys = records.pipeline_keys(db)
            alive = {key for key, controller in self._controllers.items() if controller.alive}
            for key in keys - alive:
                controller = self._controllers[key] = Controller(key, self._services, resumed=resumed)
                controller.start()

    def _clean_up(self, keys: Sequence[PipelineKey]) -> None:
        """After pipelines were deleted: their processes and their logs."""
        with self._lock:
            gone = [controller for key in keys if (controller := self._controllers.pop(key, None)) is not None]
        for controller in gone:
            controller.stop()
        self.changes.notify()
        for controller in gone:
            controller.join()
        for key in keys:
            self.logs.delete(key)

    def _supervise(self) -> None:
        """Give every pipeline its controller, and tell controllers about jobs that were ended from outside."""
        while True:
            seen = self.changes.version
            if self._stopping:
                return
            try:
                self._start_controllers(resumed=False)
                for controller in list(self._controllers.values()):
                    controller.check()
            except Exception:  # the edge of this thread: the next change gives it another chance
                log.exception("supervisor of pipelines failed")
            self.changes.wait(seen)


def _containers(runtime: Runtime, work_root: Path) -> Containers | None:
    """The Docker engine, where one is wanted.

    :raises EngineUnavailableError: There is none, and nothing runs without.
    """
    if runtime is Runtime.PROCESS:
        return None
    try:
        return Containers(work_root)
    except EngineUnavailableError as exc:
        if runtime is Runtime.DOCKER:
            raise
        log.info("all pipelines run as processes: %s", exc)
        return None
