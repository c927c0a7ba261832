from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import Engine, usual_dialect


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A server of the test's own, which may read and write the test's folder."""
    with Engine(tmp_path, "--allow-files", str(tmp_path)) as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_engine(engines: Callable[[str], Engine]) -> Iterator[Engine]:
    """One server for a module's tests, which choose names of their own. It may read and write the folders of tests."""
    yield from _emptied(engines(usual_dialect()))


@pytest.fixture(scope="module")
def engine_2_12(engines: Callable[[str], Engine]) -> Iterator[Engine]:
    """One server for a module's tests, which answers as Pachyderm 2.12 does."""
    yield from _emptied(engines("2.12"))


@pytest.fixture(scope="module")
def engine_2_7(engines: Callable[[str], Engine]) -> Iterator[Engine]:
    """One server for a module's tests, which answers as Pachyderm 2.7 does."""
    yield from _emptied(engines("2.7"))


def _emptied(engine: Engine) -> Iterator[Engine]:
    """A server, of which the next module finds nothing."""
    yield engine
    engine.client.delete_all()


@pytest.fixture(params=("2.12", "2.7"))
def either_engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the two in turn."""
    engine: Engine = request.getfixturevalue(f"engine_{request.param.replace('.', '_')}")
    return engine
