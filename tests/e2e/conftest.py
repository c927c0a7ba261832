"""One real stack for the end-to-end tests: minipachd and Airflow's scheduler, triggerer, DAG processor and API server, as processes."""

from collections.abc import Iterator

import pytest

from laptop.demo import stack_environment
from laptop.layout import Layout
from laptop.stack import new_stack, start_stack
from tests.e2e.harness import Site
from tests.support_data import Material, camera_material, rendered_material, shared_data


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """The camera images where they are, else frames that the project renders."""
    return camera_material() if shared_data() else rendered_material(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, material: Material) -> Iterator[Site]:
    layout = Layout(tmp_path_factory.mktemp("stack"))
    stack = new_stack(layout)
    try:
        start_stack(stack, extra={**stack_environment(layout, model=material.model), "TUSKWATCH_SOURCES": "/;http://"})
        with stack.client() as airflow:
            site = Site(stack, airflow)
            site.run("bootstrap_pipelines", {})
            yield site
    finally:
        stack.stop()
