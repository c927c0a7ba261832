"""A fifth stage is a folder below stages/: in a copy of the tree, nothing else is edited, and this is what works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support_data import REPOSITORY

pytestmark = pytest.mark.timeout(900)

SPEC = {
    "pipeline": {"name": "count-valid"},
    "description": "Counts valid images.",
    "input": {"pfs": {"repo": "validate", "glob": "/"}},
    "transform": {"image": "tuskwatch/count-valid:0.1.0", "cmd": ["python3", "-m", "stages.count_valid"]},
}
STAGE = """
from stages.common.files import walk_files, write_json


class CountStage:
    name = "count-valid"
    inputs = {"validate": "output folder of validate"}
    settings_help = ""

    def warm_up(self, env, /):
        pass

    def process(self, datum):
        write_json(datum.out / "count.json", len(list(walk_files(datum.inputs["validate"] / "valid"))))
"""
MAIN = """
import sys
from stages.common.runner import main
from stages.count_valid.stage import CountStage
sys.exit(main(CountStage()))
"""
DOCKER = """#!/bin/sh
echo "$*" >> "$DOCKER_LOG"
for last; do :; done
case "$*" in *RepoDigests*) echo "[\\"${last%:*}@sha256:0\\"]";; *.Size*) echo 1000000;; esac
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for folder in ("stages", "dags", "docker"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "*.pb"))
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    stage = root / "stages" / "count_valid"
    stage.mkdir()
    for name, text in {
        "__init__.py": "",
        "__main__.py": MAIN,
        "stage.py": STAGE,
        "pipeline.json": json.dumps(SPEC),
        "requirements.txt": "grpcio==1.85.0\n",
    }.items():
        (stage / name).write_text(text)
    (root / "bin").mkdir()
    (root / "bin" / "docker").write_text(DOCKER)
    (root / "bin" / "docker").chmod(0o755)
    return root


def run(tree: Path, *command: str) -> str:
    env = {
        **os.environ,
        "PYTHONPATH": f"{tree}{os.pathsep}{REPOSITORY / 'plugins'}{os.pathsep}{REPOSITORY}",
        "PATH": f"{tree / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "DOCKER_LOG": str(tree / "docker.log"),
        "AIRFLOW_HOME": str(tree / "airflow"),
        "SSL_CERT_FILE": "",
    }
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_after_what_it_reads(tree: Path) -> None:
    names = [line.split("\t")[0] for line in run(tree, sys.executable, "-m", "stages.contract", "pipelines").splitlines()]

    assert sorted(names) == ["count-valid", "object-detect", "plot", "threat-detect", "validate"]
    assert names.index("validate") < names.index("count-valid")


def test_it_runs_by_hand(tree: Path) -> None:
    (tree / "in" / "valid").mkdir(parents=True)
    (tree / "in" / "valid" / "dev1_1511891098.jpg").touch()
    run(tree, sys.executable, "-m", "stages.count_valid", "--validate", "in", "--out", "out")

    assert (tree / "out" / "count.json").read_text() == "1\n"


def test_its_image_is_built_and_pushed_and_its_spec_names_the_digest(tree: Path) -> None:
    run(tree, "docker/build")
    run(tree, sys.executable, "-m", "dags.provisioning.push_images", "registry.example")
    built = [line for line in (tree / "docker.log").read_text().splitlines() if "-t tuskwatch/count-valid:0.1.0" in line]

    assert len(built) == 1
    assert "--build-arg NAME=count-valid --build-arg FOLDER=count_valid --build-arg DESCRIPTION=Counts valid images." in built[0]
    assert "-f docker/stage.Dockerfile" in built[0]
    spec = json.loads((tree / "build" / "specs" / "count_valid" / "pipeline.json").read_text())
    assert spec == {**SPEC, "transform": {**SPEC["transform"], "image": "registry.example/count-valid@sha256:0"}}


def test_its_pipeline_is_bootstrapped_after_what_it_reads_and_provisioned(tree: Path) -> None:
    code = (
        "from dags import settings; from dags.bootstrap_pipelines import bootstrap_pipelines; "
        "up = bootstrap_pipelines().get_task('create_pipeline_count_valid').get_flat_relative_ids(upstream=True); "
        "print(settings.PIPELINES['count-valid'], 'create_pipeline_validate' in up)"
    )

    assert run(tree, sys.executable, "-c", code).splitlines()[-1] == "count_valid True"
