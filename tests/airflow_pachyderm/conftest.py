"""What the provider's tests need."""

import itertools
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support import Engine, usual_dialect

_numbers = itertools.count()


@pytest.fixture
def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def speak() -> str:
    """The Pachyderm that the server answers as; a test marked with ``BOTH_DIALECTS`` meets either."""
    return usual_dialect()


@pytest.fixture
def engine(engines: Callable[[str], Engine], speak: str) -> Engine:
    """One server for all tests that leave it alive; each works in a repo of its own."""
    return engines(speak)


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
