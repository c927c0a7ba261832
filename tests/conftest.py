"""The environment of all tests, scrubbed before anything is imported: no home, no Airflow, no Pachyderm of the person who runs them."""

import atexit
import contextlib
import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support import Engine

_HOME = tempfile.mkdtemp(prefix="tuskwatch-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

# What a person says to the tests: where data lies, which pachctl and which server to use.
_KEPT = ("TUSKWATCH_SHARED", "PACHCTL", "PACHYDERM_ADDRESS", "PACHYDERM_TLS", "PACHYDERM_CA", "PACHYDERM_TOKEN")

for name in list(os.environ):
    if name.upper().startswith(("AIRFLOW", "PACH", "PPS_", "TUSKWATCH_")) and name not in _KEPT:
        del os.environ[name]
    elif name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
        del os.environ[name]  # everything that tests talk to is on loopback

os.environ["HOME"] = _HOME
os.environ["AIRFLOW_HOME"] = os.path.join(_HOME, "airflow")  # noqa: PTH118 - a string for the environment
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"


def _for_all_processes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's temporary folder, which the processes that run tests side by side share."""
    own: Path = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session")
def airflow_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database of Airflow, made once in a run of the tests: to be copied."""
    home = _for_all_processes(request, tmp_path_factory) / "airflow-database"
    home.mkdir(exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "done").exists():
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            done = subprocess.run(command, env={**os.environ, "AIRFLOW_HOME": str(home)}, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            (home / "done").touch()
    return home / "airflow.db"


@pytest.fixture(scope="session")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], "Engine"]]:
    """One server of each dialect that a test asks for, for all tests of this process; it may read and write the folders of tests."""
    from tests.support import Engine

    files = str(tmp_path_factory.getbasetemp())
    with contextlib.ExitStack() as running:
        yield functools.cache(
            lambda speak: running.enter_context(Engine(tmp_path_factory.mktemp("engine"), "--allow-files", files, speak=speak))
        )
