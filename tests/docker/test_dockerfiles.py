"""What holds for the Dockerfiles themselves; no engine is needed."""

import json
import re
import tomllib

import pytest

from tests.support_data import REPOSITORY

STAGES = ("validate", "object-detect", "threat-detect", "plot")
DOCKERFILES = sorted((REPOSITORY / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_every_image_has_a_pinned_base_a_numeric_user_and_the_projects_version(path):
    text = path.read_text()
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert re.search(r"^ARG BASE_IMAGE=python:3\.11-slim-bookworm$", text, re.MULTILINE)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert f"\nARG VERSION={version}\n" in text
    for command in re.findall(r"^(?:CMD|ENTRYPOINT) (.*)$", text, re.MULTILINE):
        assert json.loads(command)[0] not in ("sh", "bash", "/bin/sh")


@pytest.mark.parametrize("stage", STAGES)
def test_the_pipeline_spec_names_the_image_and_the_command_that_the_dockerfile_makes(stage):
    spec = json.loads((REPOSITORY / "stages" / stage.replace("-", "_") / "pipeline.json").read_text())
    text = (REPOSITORY / "docker" / f"{stage}.Dockerfile").read_text()
    version = re.search(r"^ARG VERSION=(.*)$", text, re.MULTILINE)[1]
    assert spec["transform"]["image"] == f"tuskwatch/{stage}:{version}"
    assert spec["transform"]["cmd"] == json.loads(re.search(r"^CMD (.*)$", text, re.MULTILINE)[1])


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_is_built_as_validate_is_which_the_default_suite_builds_and_runs(stage):
    ours, others = instructions("validate"), instructions(stage)
    assert [line for line in ours if line not in others] == []


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stages_code_reads_beside_it_is_in_its_image(stage):
    folder = REPOSITORY / "stages" / stage.replace("-", "_")
    code = "".join(path.read_text() for path in folder.glob("*.py"))
    read = {path.name for path in folder.iterdir() if path.suffix in (".json", ".pbtxt", ".pb", ".html") and f'"{path.name}"' in code}
    read.discard("rule.json")  # the input's file of this name
    text = (REPOSITORY / "docker" / f"{stage}.Dockerfile").read_text()
    assert {name for name in read if f"{folder.name}/{name}" not in text} == set()


def instructions(stage: str) -> list[str]:
    """The lines of a stage's Dockerfile, without its names and what it has of its own to copy."""
    module = stage.replace("-", "_")
    text = re.sub(rf" stages/{module}/[\w.]+\.json", "", (REPOSITORY / "docker" / f"{stage}.Dockerfile").read_text())
    text = (
        text.replace(f"tuskwatch/{stage}", "tuskwatch/STAGE")
        .replace(f"stages/{module}", "stages/STAGE")
        .replace(f"stages.{module}", "STAGE")
    )
    lines = [line.removesuffix("\\").strip() for line in text.splitlines()]
    return [line for line in lines if not line.startswith(("#", "org.opencontainers.image.description"))]


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
