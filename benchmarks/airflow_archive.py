"""An archive of 100,000 images over 90 days, backfilled through real Airflow with the real DAG, against minipachd.

    python -m benchmarks.airflow_archive [--images 100000] [--days 90] [--server-side] [--json FILE]

The images are names with a few bytes, and the pipelines start a process that does nothing for each: what is measured is planning, pushing,
waiting and reporting, the scheduler, and the server's bookkeeping. The backfill is given twice: the second time nothing may be pushed.
"""

import argparse
import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import psutil

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.connection import PachydermConnection
from benchmarks.results import Figure, report
from laptop.airflow import Airflow
from laptop.layout import Layout, free_port
from laptop.stack import Stack, new_stack, start_stack
from stages.contract.pipelines import SPEC, STAGES, pipelines
from stages.object_detect import demo_model

log = logging.getLogger(__name__)

DAG_ID: Final = "nightly_images"
FIRST_DAY: Final = date(2026, 1, 1)
_DEVICES: Final = 20


def main() -> int:
    """Backfill, backfill again, and report."""
    # Forced: importing Airflow has installed a handler that shows warnings only.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--max-active-runs", type=int, default=8, help="nights at once (%(default)s)")
    parser.add_argument("--parallelism", type=int, default=4, help="Airflow tasks at once (%(default)s)")
    parser.add_argument("--server-side", action="store_true", help="minipachd reads the images itself")
    parser.add_argument("--once", action="store_true", help="do not give the backfill a second time")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-archive-") as temporary:
        root = Path(temporary)
        write_archive(root / "landing", images=options.images, days=options.days)
        stack = new_stack(Layout(root / "stack"))
        stack.airflow = dataclasses.replace(stack.airflow, port=free_port(), parallelism=options.parallelism)
        stack.pachd_address = f"127.0.0.1:{free_port()}"
        try:
            start_stack(stack, extra=environment(root, server_side=options.server_side))
            with stack.client() as airflow, Memory(stack) as memory:
                finish(airflow, "bootstrap_pipelines")
                archive = Archive(stack, airflow, options.days, options.max_active_runs)
                seconds = archive.backfill()
                pushed = archive.commits()
                again = 0.0 if options.once else archive.backfill("--reprocess-behavior", "completed")
                assert archive.commits() == pushed, "the second backfill pushed something"
                assert archive.files() == options.images
                tasks = archive.task_seconds()
        finally:
            stack.stop()
    name = f"{options.images:,} images over {options.days} days" + (", read by the server" if options.server_side else "")
    figures = [
        Figure(f"{name}: backfill", seconds, "s"),
        Figure(f"{name}: backfill", options.images / seconds, "images/s"),
        Figure(f"{name}: a night, of the whole", seconds / options.days, "s"),
        *([] if options.once else [Figure(f"{name}: the same backfill again", again, "s")]),
        Figure("commits", float(len(pushed)), ""),
        *(Figure(f"median seconds of a task: {task}", value, "s") for task, value in tasks.items()),
        *(Figure(f"most memory of the {component}, with its children", peak / 2**20, "MiB") for component, peak in memory.peaks.items()),
    ]
    report(figures, options.json)
    return 0


def write_archive(landing: Path, *, images: int, days: int) -> None:
    """The same number of images each day, below ``YYYY/MM/DD/``."""
    for number in range(days):
        day = FIRST_DAY + timedelta(days=number)
        folder = landing / f"{day:%Y/%m/%d}"
        folder.mkdir(parents=True)
        for image in range(images * number // days, images * (number + 1) // days):
            (folder / f"dev{image % _DEVICES}_{1511891000 + image}.jpg").write_bytes(b"%d" % image)


def environment(root: Path, *, server_side: bool) -> dict[str, str]:
    """Settings of an installation with trivial stages."""
    shutil.copyfile(Path(demo_model.__file__).with_name("frozen_inference_graph.pb"), root / "model.pb")  # bootstrap_pipelines loads it
    for pipeline in pipelines():  # one process per image, then nothing is left to do
        source = json.loads((STAGES / pipeline.folder / SPEC).read_text())["input"]
        spec = {"pipeline": {"name": pipeline.name}, "input": source, "transform": {"cmd": ["true"]}}
        folder = root / "stages" / pipeline.folder
        folder.mkdir(parents=True)
        (folder / SPEC).write_text(json.dumps(spec))
    os.environ["MINIPACHD_ALLOW_FILES"] = str(root / "landing") if server_side else ""  # of the engine, which inherits ours
    return {
        "TUSKWATCH_MODEL": str(root / "model.pb"),
        "TUSKWATCH_STAGES": str(root / "stages"),
        "TUSKWATCH_RESULTS": str(root / "results"),
        "TUSKWATCH_SOURCES": str(root),
        "TUSKWATCH_STAGING": str(root / "staging"),
        "TUSKWATCH_LANDING": str(root / "landing"),
        "TUSKWATCH_SERVER_SIDE": str(server_side).lower(),
    }


def finish(airflow: Airflow, dag_id: str) -> None:
    """One run, to its end."""
    airflow.wait_for_dag(dag_id, timeout=120)
    airflow.unpause(dag_id)
    run_id = airflow.trigger(dag_id, conf={}, run_id="benchmark")
    for counts in airflow.watch(dag_id, run_id, timeout=600, interval=1.0):
        log.info("%s: %s", dag_id, counts)


@dataclasses.dataclass
class Archive:
    """The backfill, and what it left."""

    stack: Stack
    airflow: Airflow
    days: int
    max_active_runs: int

    def backfill(self, *arguments: str) -> float:
        """Seconds from the command's start to the last run's end."""
        last = FIRST_DAY + timedelta(days=self.days - 1)
        command = [
            sys.executable,
            "-m",
            "airflow",
            "backfill",
            "create",
            "--dag-id",
            DAG_ID,
            "--max-active-runs",
            str(self.max_active_runs),
        ]
        command += ["--from-date", str(FIRST_DAY), "--to-date", f"{last}T23:59", *arguments]
        self.airflow.wait_for_dag(DAG_ID, timeout=120)
        self.airflow.unpause(DAG_ID)
        started = time.monotonic()
        done = subprocess.run(command, env=self.stack.env, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        log.info("the command took %.0f s", time.monotonic() - started)
        for nights in self._progress():
            log.info("%d of %d nights after %.0f s", nights, self.days, time.monotonic() - started)
        return time.monotonic() - started

    def _progress(self) -> Iterator[int]:
        """How many nights are done, at every change, until the newest backfill has ended."""
        seen = -1
        while True:
            query = f"/api/v2/dags/{DAG_ID}/dagRuns?run_type=backfill&limit=1"
            failed = self.airflow.call("GET", f"{query}&state=failed")["total_entries"]
            assert not failed, f"{failed} nights failed"
            done = self.airflow.call("GET", f"{query}&state=success")["total_entries"]
            if done // 5 != seen // 5:
                seen = done
                yield done
            if all(found["completed_at"] for found in self.airflow.call("GET", f"/api/v2/backfills?dag_id={DAG_ID}")["backfills"]):
                return
            time.sleep(2)

    def commits(self) -> list[str]:
        """Ids of all pushes, newest first."""
        return [commit.commit_set for commit in self._pfs().list_commits("images")]

    def files(self) -> int:
        """How many images the branch has."""
        return len(self._pfs().glob_files("images", "master", "/*"))

    def _pfs(self) -> PfsClient:
        host, _, port = self.stack.pachd_address.rpartition(":")
        return PfsClient(Server(PachydermConnection(conn_id="benchmark", host=host, port=int(port), token=self.stack.pachd_token)))

    def task_seconds(self) -> dict[str, float]:
        """Median duration of the DAG's tasks, in their last try."""
        durations: dict[str, list[float]] = {}
        for run in self.airflow.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns?run_type=backfill&limit=100")["dag_runs"]:
            for task in self.airflow.task_instances(DAG_ID, run["dag_run_id"]):
                durations.setdefault(task["task_id"], []).append(task["duration"] or 0.0)
        return {task: sorted(values)[len(values) // 2] for task, values in durations.items()}


class Memory:
    """Looks at the memory of the stack's processes once a second: proportional set sizes, so that shared pages count once."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._over = stack, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peaks: dict[str, int] = dict.fromkeys(("minipachd", "scheduler", "triggerer", "api-server"), 0)

    def _look(self) -> None:
        while not self._over.wait(1.0):
            for component in self.peaks:
                if (process := self._stack.processes.get(component)) is not None:
                    self.peaks[component] = max(self.peaks[component], self._bytes(process.pid))

    @staticmethod
    def _bytes(pid: int) -> int:
        total = 0
        try:
            processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        for process in processes:
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # ended meanwhile
        return total

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    os.environ.pop("AIRFLOW_HOME", None)  # nothing of a person's own Airflow
    sys.exit(main())
