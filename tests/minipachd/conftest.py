from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A server of the test's own."""
    with Engine(tmp_path) as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server for a module's tests, which choose names of their own."""
    with Engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine
