"""One real stack for the end-to-end tests: minipachd and Airflow's scheduler, triggerer, DAG processor and API server, as processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from laptop.demo import stack_environment
from laptop.layout import Layout
from laptop.stack import new_stack, start_stack
from tests.e2e.harness import Site
from tests.support_data import CAMERA_IMAGES, COCO_MODEL, shared_data


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
