"""The servers of the suite: the one that the environment names, else minipachd in every dialect that it speaks."""

import os
import subprocess
from collections.abc import Iterator

import grpc
import pytest

from tests.conformance import pusher
from tests.conformance.lab import JobState, Lab
from tests.conformance.target import Target, from_environment
from tests.support import Engine

DIALECTS = ("2.12", "2.7")
HERE = os.path.dirname(__file__)  # noqa: PTH120 - compared with the start of a text


# Where minipachd does not answer as Pachyderm yet: the names of tests. Each goes with its fault.
OPEN = ("test_the_commit_that_a_branch_begins_with_does_not_count_since_2_8[2.7]",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes too long is interrupted, so that what it made is removed: the other way of the timeout ends the process."""
    for item in items:
        if not str(item.path).startswith(HERE):
            continue
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900 if from_environment() else 300, method="signal"))
        if item.name in OPEN:
            item.add_marker(pytest.mark.xfail(reason="minipachd answers otherwise", strict=True))


def _targets() -> list[Target | str]:
    given = from_environment()
    return [given] if given else list(DIALECTS)


@pytest.fixture(
    scope="session", params=_targets(), ids=lambda target: target.address if isinstance(target, Target) else target or "minipachd"
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Each server in turn."""
    if isinstance(request.param, Target):
        yield request.param
        return
    with Engine(tmp_path_factory.mktemp("conformance"), "--speak", request.param) as engine:
        host, _, port = engine.address.rpartition(":")
        yield Target(host, int(port), dialect=request.param)


@pytest.fixture(scope="session", autouse=True)
def pushes() -> None:
    """What tests kill is ready when they want it."""
    pusher.prepare()


@pytest.fixture(scope="session")
def site(server: Target) -> Iterator[Lab]:
    """The run's project on the server; at the end it is gone, and nothing is left."""
    lab = Lab(server)
    try:
        lab.__enter__()
    except grpc.RpcError as exc:
        pytest.exit(f"no server answers at {server.address}: {exc.details()}", returncode=1)
    try:
        yield lab
    finally:
        lab.__exit__()


@pytest.fixture
def lab(site: Lab) -> Iterator[Lab]:
    """The project, without pipelines and secrets; a real server keeps the repos of earlier tests until the end."""
    site.begin()
    yield site
    site.sweep(repos=bool(site.target.dialect))


@pytest.fixture(scope="session")
def capabilities(site: Lab, server: Target) -> dict[str, str]:
    """Why the server cannot do something, by what it is: ``workers`` run user code, which finds ``/pfs``; ``logs`` are kept."""
    source = site.repo("probe")
    name = site.pipeline(source, "cp /pfs/in/* /pfs/out/; echo hello")
    commit = site.put(source, {"/a": "1"})
    missing = {}
    try:
        job = site.ended(name, commit)
    except grpc.RpcError as exc:
        if exc.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
        info = site.inspect_pipeline(name)
        state = pps_state(info.state)
        missing["workers"] = f"no worker came up in {server.wait_seconds:.0f} s: pipeline {state} {info.reason} (image {server.image})"
    else:
        if job.state != JobState.JOB_SUCCESS:
            missing["workers"] = f"user code cannot copy from /pfs/in to /pfs/out here: {job.reason}"
        else:
            try:
                lines = [line.message for line in site.client.get_job_logs(name, commit, project_name=site.project)]
            except grpc.RpcError as exc:
                lines = [f"{exc.code().name}: {exc.details()}"]
            if not any("hello" in line for line in lines):
                missing["logs"] = f"the server keeps no logs: {lines[:1] or 'none came'}"
    site.sweep()
    if server.dialect and missing and private_mounts():
        pytest.fail(f"minipachd lacks what this machine allows: {missing}")
    return missing


def pps_state(number: int) -> str:
    from python_pachyderm.service import pps_proto

    return str(pps_proto.PipelineState.Name(number))


def private_mounts() -> bool:
    """Whether this machine lets minipachd make a ``/pfs`` of their own for its programs."""
    return subprocess.run(["unshare", "--map-root-user", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def workers(lab: Lab, capabilities: dict[str, str]) -> Lab:
    """A server that runs pipelines."""
    if "workers" in capabilities:
        pytest.skip(capabilities["workers"])
    return lab


@pytest.fixture
def logs(workers: Lab, capabilities: dict[str, str]) -> Lab:
    """A server that runs pipelines and keeps what they print."""
    if "logs" in capabilities:
        pytest.skip(capabilities["logs"])
    return workers
