"""The workers of one pipeline version: threads that wait for the pipeline's next job and keep their processes in between."""

import logging
import threading
from collections.abc import Callable

from minipachd.errors import MinipachdError
from minipachd.pps.logs import InputFile
from minipachd.pps.records import Pipeline
from minipachd.pps.run import JobRun
from minipachd.pps.spec import JobKey
from minipachd.pps.worker import Services, Worker, WorkerStatus

log = logging.getLogger(__name__)


class WorkerPool:
    """At most ``parallelism`` workers, each made when there is a datum for it, or before.

    :meth:`start` to :meth:`close` belong to the pipeline's controller; the rest may be called from any thread.
    """

    def __init__(self, pipeline: Pipeline, services: Services) -> None:
        self.pipeline = pipeline
        self._services = services
        self._condition = threading.Condition()
        self._workers: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._run: JobRun | None = None
        self._generation = 0
        self._closing = False

    @property
    def size(self) -> int:
        """Workers that exist."""
        return len(self._workers)

    def start(self, run: JobRun, *, datums: int) -> None:
        """Have the workers take datums from a job.

        :param datums: About how many it has: no more workers than that are made.
        """
        run.on_cancel = self.poke
        with self._condition:
            self._run = run
            self._generation += 1
            self._grow(min(self.pipeline.spec.parallelism, datums), warm_up=False)
            self._condition.notify_all()

    def warm_up(self) -> None:
        """Start the programs of a batching pipeline before there is a datum, so that they load meanwhile what they need."""
        if self.pipeline.spec.transform.datum_batching:
            with self._condition:
                self._grow(self.pipeline.spec.parallelism, warm_up=True)

    def poke(self) -> None:
        """Make every worker look whether its job is still wanted."""
        for worker in list(self._workers):
            worker.poke()

    def restart_datum(self, job: JobKey, matches: Callable[[tuple[InputFile, ...]], bool]) -> int:
        """:return: How many running datums of the job matched and are being restarted."""
        return sum(worker.restart_datum(job, matches) for worker in list(self._workers))

    def statuses(self) -> list[WorkerStatus]:
        """What the busy workers do."""
        return [status for worker in list(self._workers) if (status := worker.status) is not None]

    def close(self) -> None:
        """End all workers and their processes. The current job must be cancelled or done."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()
        self._workers, self._threads = [], []

    def _grow(self, size: int, *, warm_up: bool) -> None:
        while len(self._workers) < size:
            worker = Worker(self.pipeline, len(self._workers), self._services)
            thread = threading.Thread(target=self._work, args=(worker, warm_up), name=f"worker {worker.name}", daemon=True)
            self._workers.append(worker)
            self._threads.append(thread)
            thread.start()

    def _work(self, worker: Worker, warm_up: bool) -> None:
        seen = 0
        try:
            if warm_up:
                try:
                    worker.warm_up()
                except (MinipachdError, OSError) as exc:  # the first datum meets the same trouble, and has a place to say so
                    log.info("worker %s: cannot start its program ahead of its first datum: %s", worker.name, exc)
                except Exception:  # without its thread the worker would never take that datum
                    log.exception("worker %s: cannot start its program ahead of its first datum", worker.name)
            while True:
                with self._condition:
                    while self._generation == seen and not self._closing:
                        self._condition.wait()
                    if self._closing:
                        return
                    seen, run = self._generation, self._run
                if run is not None:
                    try:
                        worker.work(run)
                    except Exception:  # its datums are settled: what it failed to tidy up must not cost the next job its worker
                        log.exception("worker %s: trouble behind its last datum of job %s", worker.name, run.job)
        finally:
            worker.close()
