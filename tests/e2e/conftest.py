"""One real stack for the end-to-end tests: minipachd and Airflow's scheduler, triggerer, DAG processor and API server, as processes."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from laptop.airflow import Airflow
from laptop.demo import stack_environment
from laptop.layout import Layout
from laptop.stack import Stack, new_stack, start_stack
from tests.support_data import CAMERA_IMAGES, COCO_MODEL, shared_data

RUN_SECONDS = 240.0


@dataclasses.dataclass
class Site:
    """The running stack, and what the tests do with it again and again."""

    stack: Stack
    airflow: Airflow
    _numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def start(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run as the UI's button does; its id."""
        self.airflow.wait_for_dag(dag_id, timeout=60)
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


@pytest.fixture(scope="session")
def camera_images() -> Path:
    if not shared_data():
        pytest.skip("the camera images and the COCO model are not on this machine")
    return CAMERA_IMAGES


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, camera_images: Path) -> Iterator[Site]:
    layout = Layout(tmp_path_factory.mktemp("stack"))
    stack = new_stack(layout)
    try:
        start_stack(stack, extra=stack_environment(layout, model=COCO_MODEL))
        with stack.client() as airflow:
            site = Site(stack, airflow)
            site.run("bootstrap_pipelines", {})
            yield site
    finally:
        stack.stop()
