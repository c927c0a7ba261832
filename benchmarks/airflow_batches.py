"""Pushing images in batches beside one Airflow task per image, in one run of real Airflow on one machine.

    python -m benchmarks.airflow_batches --images 1000

Both DAGs put the same files into a repo of minipachd that no pipeline reads, so that only Airflow's part and the push are measured.
"""

import argparse
import dataclasses
import logging
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import Figure, report
from laptop.airflow import Airflow
from laptop.layout import Layout, free_port
from laptop.stack import new_stack, start_stack

log = logging.getLogger(__name__)

_DAGS = """
from airflow.sdk import dag, get_current_context, task

from airflow_pachyderm.files import list_folder
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.operators.push import PachydermPushOperator
from dags.common.batching import Limits, plan_batches

FOLDER, STAGING = {folder!r}, {staging!r}


@dag(schedule=None, catchup=False)
def by_batch():
    @task
    def plan() -> list[str]:
        return plan_batches(list_folder(FOLDER), folder=STAGING, limits=Limits(files=500, size_bytes=1 << 30, batches=500)).manifests

    PachydermPushOperator.partial(task_id="push", repo="by-batch").expand(manifest=plan())


@dag(schedule=None, catchup=False, max_active_tasks=64)
def by_image():
    @task
    def names() -> list[str]:
        PachydermHook().pfs.create_repo("by-image")
        return [file.path for file in list_folder(FOLDER)]

    @task
    def put(name: str) -> None:
        with open(FOLDER + name, "rb") as stream:
            PachydermHook().get_conn().put_file_bytes(("by-image", "master"), name, stream.read())

    put.expand(name=names())


by_batch()
by_image()
"""


def main() -> int:
    """Run both and report their rates."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1000, help="at most 1024, Airflow's limit of mapped tasks (%(default)s)")
    parser.add_argument("--size", type=int, default=50_000, help="bytes of an image (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        folder, dags = root / "images", root / "dags"
        folder.mkdir()
        dags.mkdir()
        for number in range(options.images):
            (folder / f"dev1_{1511891000 + number}.jpg").write_bytes(number.to_bytes(4, "big") * (options.size // 4))
        (dags / "both.py").write_text(_DAGS.format(folder=str(folder), staging=str(root / "staging")))
        stack = new_stack(Layout(root / "stack"))
        stack.airflow = dataclasses.replace(stack.airflow, port=free_port())
        stack.pachd_address = f"127.0.0.1:{free_port()}"
        try:
            start_stack(stack, extra={"AIRFLOW__CORE__DAGS_FOLDER": str(dags)})
            with stack.client() as airflow:
                seconds = {dag_id: run(airflow, dag_id) for dag_id in ("by_batch", "by_image")}
        finally:
            stack.stop()
    figures = [
        Figure(f"{options.images} images, {dag_id.replace('_', ' ')}", options.images / duration, "images/s")
        for dag_id, duration in seconds.items()
    ]
    ratio = seconds["by_image"] / seconds["by_batch"]
    report([*figures, Figure("batches beside one task per image", ratio, "times as fast", target=20, at_least=True)], options.json)
    return 0


def run(airflow: Airflow, dag_id: str) -> float:
    """Seconds from the trigger to the end of a run."""
    airflow.wait_for_dag(dag_id, timeout=120)
    airflow.unpause(dag_id)
    started = time.monotonic()
    run_id = airflow.trigger(dag_id, conf={}, run_id="benchmark")
    for counts in airflow.watch(dag_id, run_id, timeout=3600, interval=1.0):
        log.info("%s: %s", dag_id, counts)
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
