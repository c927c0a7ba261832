"""The running stack as the end-to-end tests use it."""

import contextlib
import dataclasses
import itertools
import json
import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.connection import PachydermConnection
from laptop.airflow import Airflow
from laptop.layout import Layout, free_port
from laptop.stack import Stack, new_stack, start_stack
from laptop.supervisor import restarts
from tests.dags.quick_stages import write_stages
from tests.support_data import DEMO_MODEL

RUN_SECONDS = 240.0
PATIENCE_SECONDS = 200.0


@dataclasses.dataclass
class Site:
    """The running stack, and what the tests do with it again and again."""

    stack: Stack
    airflow: Airflow
    _numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def start(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run as the UI's button does; its id."""
        self.airflow.wait_for_dag(dag_id, timeout=PATIENCE_SECONDS)
        self.airflow.unpause(dag_id)
        return self.airflow.trigger(dag_id, conf=conf, run_id=f"test_{next(self._numbers)}")

    def finish(self, dag_id: str, run_id: str) -> None:
        """Return when the run has ended well; fail with the logs of what failed."""
        for counts in self.airflow.watch(dag_id, run_id, timeout=RUN_SECONDS):
            logging.getLogger(__name__).info("%s %s: %s", dag_id, run_id, counts)

    def run(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        run_id = self.start(dag_id, conf)
        self.finish(dag_id, run_id)
        return run_id

    @property
    def pfs(self) -> PfsClient:
        """Repos, commits and files of the stack's minipachd."""
        host, _, port = self.stack.pachd_address.rpartition(":")
        return PfsClient(Server(PachydermConnection(conn_id="test", host=host, port=int(port), token=self.stack.pachd_token)))

    @property
    def pps(self) -> PpsClient:
        """Pipelines and jobs of the stack's minipachd."""
        return PpsClient(self.pfs.server)

    def task(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """A task instance as Airflow shows it; the first one of a mapped task. Empty while the run does not have it yet."""
        return next((task for task in self.airflow.task_instances(dag_id, run_id) if task["task_id"] == task_id), {})

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A REST call that the client has no method for."""
        return self.airflow.call(method, f"/api/v2/{path}", body)

    def finish_backfills(self, dag_id: str, *, seconds: float = 400) -> None:
        """Return when Airflow says that all backfills of a DAG are over, however they ended."""
        until(lambda: all(found["completed_at"] for found in self.call("GET", f"backfills?dag_id={dag_id}")["backfills"]), seconds=seconds)

    def runs(self, dag_id: str, run_type: str) -> list[dict[str, Any]]:
        """The first hundred runs of a kind, such as ``backfill``, the oldest day first."""
        path = f"dags/{dag_id}/dagRuns?run_type={run_type}&order_by=logical_date&limit=100"
        found: list[dict[str, Any]] = self.call("GET", path)["dag_runs"]
        return found

    def summary(self, dag_id: str, name: str) -> dict[str, Any]:
        """The report of a run or of a day."""
        found: dict[str, Any] = json.loads((Path(self.stack.env["TUSKWATCH_RESULTS"]) / dag_id / name / "summary.json").read_text())
        return found

    def kill(self, component: str) -> None:
        """SIGKILL to a part of the stack, which stays down until the test starts it."""
        process = self.stack.processes[component]
        process.signal(signal.SIGKILL)
        until(lambda: not process.alive)
        self.stack.stop_part(component)

    def crash(self, component: str) -> None:
        """SIGKILL to a part of the stack; return when its supervisor has started it again."""

        def ends() -> list[str]:
            return [entry["how"] for entry in restarts(self.stack.layout) if entry["part"] == component]

        while True:  # it may just have ended by itself, because of the part that was killed before
            until(lambda: component in self.stack.processes)
            before, process = len(ends()), self.stack.processes[component]
            process.signal(signal.SIGKILL)
            until(lambda: len(ends()) > before)  # noqa: B023 - called here only
            if "terminated by SIGKILL" in ends()[before:]:
                break
        until(lambda: (now := self.stack.processes.get(component)) is not None and now.pid != process.pid)

    def kill_task(self, dag_id: str, run_id: str, task_id: str) -> None:
        """SIGKILL to the process that executes a task; Airflow names it after the task instance."""
        instance = self.task(dag_id, run_id, task_id)
        name = f"airflow worker -- {instance['id']}"
        processes = [process for process in psutil.process_iter(["cmdline"]) if name in " ".join(process.info["cmdline"] or [])]
        assert processes, f"no process of {task_id} ({instance['state']})"
        for process in processes:
            process.kill()

    def start_afresh(self) -> None:
        """Forget all images, commits and plans; Airflow keeps its runs."""
        self.kill("minipachd")
        shutil.rmtree(self.stack.layout.pachd_data)
        shutil.rmtree(self.stack.env["TUSKWATCH_STAGING"], ignore_errors=True)
        self.stack.start_pachd()
        self.run("bootstrap_pipelines", {})


@contextlib.contextmanager
def quick_site(
    root: Path, landing: Path, *, hold: Path | None = None, extra: Mapping[str, str] | None = None, bootstrap: bool = True
) -> Iterator[Site]:
    """A stack whose stages are quick stand-ins, with its pipelines.

    :param landing: Folder that ``nightly_images`` reads.
    :param hold: While this file is there, the first stage waits in the middle of its work; see :func:`write_stages`.
    :param extra: More environment of Airflow.
    :param bootstrap: With the pipelines.
    """
    (root / "model.pb").write_bytes(DEMO_MODEL.read_bytes())  # bootstrap_pipelines loads it
    settings = {
        "TUSKWATCH_MODEL": str(root / "model.pb"),
        "TUSKWATCH_STAGES": str(write_stages(root / "stages", hold=hold)),
        "TUSKWATCH_RESULTS": str(root / "results"),
        "TUSKWATCH_STAGING": str(root / "staging"),
        "TUSKWATCH_LANDING": str(landing),
        "TUSKWATCH_SOURCES": "/;http://",
        **(extra or {}),
    }
    stack = new_stack(Layout(root / "stack"))
    # Never the usual ports: the stack of the other end-to-end tests, or a person's, may have them.
    stack.airflow = dataclasses.replace(stack.airflow, port=free_port())
    stack.pachd_address = f"127.0.0.1:{free_port()}"
    try:
        start_stack(stack, extra=settings)
        with stack.client() as airflow:
            site = Site(stack, airflow)
            if bootstrap:
                site.run("bootstrap_pipelines", {})
            yield site
    finally:
        stack.stop()


def until(condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> float:
    """Return when it is so: the seconds that took; fail when it takes too long."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"it did not come to that within {seconds:.0f} s"
        time.sleep(0.2)
    return time.monotonic() - started


def images(folder: Path, count: int, *, first: int) -> Path:
    """A folder with images of four devices whose names nobody else uses, as long as ``first`` is another one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"dev{number % 4}_{1511891000 + number}.jpg").write_bytes(f"image {number}".encode())
    return folder
