from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A server of the test's own, which may read and write the test's folder."""
    with Engine(tmp_path, "--allow-files", str(tmp_path)) as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server for a module's tests, which choose names of their own. It may read and write the folders of tests."""
    with Engine(tmp_path_factory.mktemp("engine"), "--allow-files", str(tmp_path_factory.getbasetemp())) as engine:
        yield engine


@pytest.fixture(scope="module")
def engine_2_12(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server for a module's tests, which answers as Pachyderm 2.12 does."""
    with Engine(tmp_path_factory.mktemp("engine"), speak="2.12") as engine:
        yield engine


@pytest.fixture(scope="module")
def engine_2_7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server for a module's tests, which answers as Pachyderm 2.7 does."""
    with Engine(tmp_path_factory.mktemp("engine"), speak="2.7") as engine:
        yield engine


@pytest.fixture(params=("2.12", "2.7"))
def either_engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the two in turn."""
    engine: Engine = request.getfixturevalue(f"engine_{request.param.replace('.', '_')}")
    return engine
