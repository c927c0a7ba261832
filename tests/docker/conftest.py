"""The Docker engine of this machine, the stages' images, and containers that are run as hard as Pachyderm runs them."""

import functools
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import protobuf_compat
from tests.support_data import REPOSITORY, Material, camera_material, rendered_material, shared_data

protobuf_compat.install()  # before the tests import python_pachyderm

VERSION = "0.1.0"
BUILD_SECONDS = 900
RUN_SECONDS = 180


@functools.cache
def missing_engine() -> str:
    """Why no container can be run here, empty when one can."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    try:
        answer = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    return "" if answer.returncode == 0 and answer.stdout.strip() else f"no Docker engine: {(answer.stderr or answer.stdout).strip()[:200]}"


def docker(*arguments: str, timeout: float = 60) -> str:
    """Run a docker command and return what it prints."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Ended:
    """A container that has ended."""

    exit_status: int
    log: str


def run_stage(image: str, pfs: Path, *, network: str = "none", env: Mapping[str, str] | None = None) -> Ended:
    """Run a stage's image on one datum, as a Pachyderm worker with a numeric user does: ``/pfs`` and ``/tmp`` are all it can write to.

    :param pfs: Holds the inputs; ``out`` is made in it.
    """
    out = pfs / "out"
    out.mkdir()
    out.chmod(0o777)
    name = f"tuskwatch-test-{uuid.uuid4().hex[:12]}"
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "2g"]
    if os.getuid() != 0:
        options += ["--user", f"{os.getuid()}:{os.getgid()}"]  # so that we may remove what it writes; images work for any user
    for key, value in (env or {}).items():
        options += ["--env", f"{key}={value}"]
    command = ["docker", "run", "--rm", "--name", name, "--network", network, *options, "--volume", f"{pfs}:/pfs", image]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True)
        raise
    return Ended(done.returncode, done.stdout)


@pytest.fixture(scope="session")
def build() -> Callable[[str], str]:
    """Builds an image by ``docker/build``, once, and returns its tag."""
    if reason := missing_engine():
        pytest.skip(reason)

    @functools.cache
    def build_once(name: str) -> str:
        done = subprocess.run(["docker/build", name], cwd=REPOSITORY, capture_output=True, text=True, timeout=BUILD_SECONDS)
        if "debootstrap" in done.stderr and done.returncode:
            pytest.skip(f"no base image can be had: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stdout + done.stderr
        return f"tuskwatch/{name}:{VERSION}"

    return build_once


@pytest.fixture(params=["camera", "rendered"])
def material(request: pytest.FixtureRequest, tmp_path: Path) -> Material:
    """A model, images and what they give: the camera's where they are, and frames of our own everywhere."""
    if request.param == "rendered":
        return rendered_material(tmp_path / "frames")
    if not shared_data():
        pytest.skip("the camera images and the COCO model are not on this machine")
    return camera_material()


def agree(threats: Mapping[str, int], material: Material) -> bool:
    """Whether the number of threats by device is what the material must give."""
    return dict(threats) == {device: count or threats.get(device) for device, count in material.threats.items()}
