"""What the provider's tests need."""

import itertools
import socket
from collections.abc import Iterator

import pytest

from tests.support import Engine

_numbers = itertools.count()


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server for all tests that leave it alive; each works in a repo of its own."""
    with Engine(tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def repo(engine: Engine) -> str:
    """An empty repo that no other test knows."""
    name = f"repo{next(_numbers)}"
    engine.client.create_repo(name)
    return name


@pytest.fixture
def own_engine(tmp_path_factory: pytest.TempPathFactory, free_port: int) -> Iterator[Engine]:
    """A server that a test may kill and start again, always on the same port."""
    with Engine(tmp_path_factory.mktemp("engine"), "--listen", f"127.0.0.1:{free_port}") as engine:
        yield engine
