from collections.abc import Iterator

import pytest

from tests.minipachd.pps.lab import Lab
from tests.support import Engine


@pytest.fixture
def lab(shared_engine: Engine) -> Iterator[Lab]:
    """An empty server, which the module's tests use one after the other."""
    yield Lab(shared_engine)
    shared_engine.client.delete_all()


@pytest.fixture
def own_lab(engine: Engine) -> Lab:
    """A server that the test may kill."""
    return Lab(engine)
