"""What holds for the Dockerfiles themselves; no engine is needed."""

import json
import re
import tomllib

import pytest

from stages.contract.pipelines import STAGES, pipelines
from tests.support_data import REPOSITORY

DOCKERFILES = sorted((REPOSITORY / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_every_image_has_a_pinned_base_a_numeric_user_and_the_projects_version(path):
    text = path.read_text()
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r"^ARG BASE_IMAGE=python:3\.11-slim-bookworm$", text, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert f"\nARG VERSION={version}\n" in text
    assert re.search(r"^(CMD|ENTRYPOINT) ", text, re.MULTILINE)
    for command in re.findall(r"^(?:CMD|ENTRYPOINT) (.*)$", text, re.MULTILINE):
        assert json.loads(command)[0] not in ("sh", "bash", "/bin/sh")


@pytest.mark.parametrize("stage", pipelines(), ids=lambda stage: stage.name)
def test_the_pipeline_spec_names_the_image_that_the_dockerfile_makes(stage):
    text = (REPOSITORY / "docker" / "stage.Dockerfile").read_text()
    version = re.search(r"^ARG VERSION=(.*)$", text, re.MULTILINE)[1]
    assert stage.image == f"tuskwatch/{stage.name}:{version}"
    assert (STAGES / stage.folder / "__main__.py").is_file()


def test_minipachd_s_image_has_what_the_stages_need():
    installed = pins("docker/minipachd.txt")
    for stage in pipelines():
        wanted = pins(f"stages/{stage.folder}/requirements.txt")
        assert wanted.items() <= installed.items(), "run docker/lock"


@pytest.mark.parametrize("stage", pipelines(), ids=lambda stage: stage.name)
def test_what_a_stages_code_reads_beside_it_is_in_its_image(stage):
    folder = STAGES / stage.folder
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    read = {path.name for path in folder.iterdir() if path.suffix in (".json", ".pbtxt", ".pb", ".html") and f'"{path.name}"' in code}
    assert {name for name in read if not name.endswith(".schema.json")} <= {"rule.json"}, "docker/stage.Dockerfile copies *.schema.json"


@pytest.mark.parametrize("image", ["airflow", "minipachd"])
def test_an_image_installs_what_the_lock_pins(image):
    locked = pins("requirements.txt")
    wanted = pins(f"docker/{image}.txt")
    assert wanted
    differing = {name: versions for name, versions in wanted.items() if name in locked and not versions <= locked[name]}
    assert not differing, "run docker/lock"


def pins(path: str) -> dict[str, set[str]]:
    """Versions by package; the lock has several where they differ by Python version."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([^ ;\n]+)", (REPOSITORY / path).read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found
