from collections.abc import Iterator

import pytest

from minipachd.pfs import Pfs
from minipachd.storage import DataDirectory
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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pfs]:
    """A file system without a server around it."""
    with DataDirectory(tmp_path_factory.mktemp("store")) as directory:
        pfs = Pfs(directory)
        yield pfs
        pfs.close()
