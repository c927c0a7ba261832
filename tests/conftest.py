"""The environment of all tests, scrubbed before anything is imported: no home, no Airflow, no Pachyderm of the person who runs them."""

import atexit
import contextlib
import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
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

# How long an example takes says more about what else runs on the machine than about the code.
hypothesis.settings.register_profile("tuskwatch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tuskwatch")

# What tests of a folder share when they run side by side (pytest -n): one process, one after the other. Those of any other folder share it
# with the tests of their file.
_TOGETHER = {
    "browser": "stacks",  # whole stacks want the ports 8080 and 30650, and most of a small machine
    "e2e": "stacks",
    "docker": "docker",  # one engine, and images under one name
    "conformance": "conformance",  # one server of each dialect
}
# These begin first, in this order, so that no long one is left for the end.
_FIRST = ("stacks", "docker", "conformance", "provisioning/test_dags.py", "dags/test_never_silent.py", "laptop/test_supervisor.py")

# Marked as ``servers``: files whose tests take 5 s of a core and more. The fast tests are without them, and without the older dialect.
_SERVERS = (
    "airflow_pachyderm/dashboard/test_outage.py",
    "airflow_pachyderm/test_failure.py",
    "airflow_pachyderm/test_openlineage.py",
    "airflow_pachyderm/test_operators.py",
    "airflow_pachyderm/test_push.py",
    "benchmarks/",
    "compare/",
    "conformance/test_jobs.py",
    "conformance/test_pipelines.py",
    "conformance/test_provider.py",
    "conformance/test_push.py",
    "conformance/test_stages.py",
    "dags/test_docs.py",
    "dags/test_never_silent.py",
    "dags/test_runs.py",
    "laptop/",
    "minipachd/api/test_crashes.py",
    "minipachd/api/test_dialects.py",
    "minipachd/api/test_durability.py",
    "minipachd/api/test_filesets.py",
    "minipachd/api/test_foreign.py",
    "minipachd/api/test_limits.py",
    "minipachd/pps/test_batching.py",
    "minipachd/pps/test_egress.py",
    "minipachd/pps/test_hostile.py",
    "minipachd/pps/test_model.py",
    "minipachd/pps/test_outputs.py",
    "minipachd/pps/test_races.py",
    "minipachd/pps/test_recovery.py",
    "minipachd/pps/test_runaways.py",
    "minipachd/pps/test_runtime.py",
    "minipachd/upkeep/",
    "provisioning/test_dags.py",
    "stages/test_demo_model.py",
    "stages/test_hostile.py",
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Say which tests are not among the fast ones."""
    path, dialect = _place(item.nodeid)
    if path.startswith(_SERVERS) or dialect == "2.7":
        item.add_marker(pytest.mark.servers)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest where tests run side by side."""
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(_FIRST)}
        items.sort(key=lambda item: rank.get(_group(item.nodeid).partition(" ")[0], len(rank)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep together what shares a process. (xdist's own way, marks and ``--dist loadgroup``, does nothing with pytest 9.2.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Scheduling(config, log)


def _place(nodeid: str) -> tuple[str, str]:
    """A test's file, below this folder, and the dialect of the server that the conformance suite asks, if that is what it is of."""
    path, _, name = nodeid.partition("::")
    path = path.removeprefix("tests/")
    found = re.search(r"\[(2\.12|2\.7)[-\]]", name) if path.startswith("conformance/") else None
    return path, found[1] if found else ""


def _group(nodeid: str) -> str:
    path, dialect = _place(nodeid)
    return f"{_TOGETHER.get(path.partition('/')[0], path)} {dialect}".strip()


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
