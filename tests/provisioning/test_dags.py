"""The three DAGs, whole: which task follows which, what is undone, what check and teardown know of provision.

Airflow runs them in one process, without its scheduler: tests/e2e has them in a real one.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.provisioning.conftest import PROJECT, Cloud, start_cloud
from tests.support_data import REPOSITORY

GKE = {"target": "gke", "project": PROJECT, "bucket": "acme-pachyderm", "bootstrap": False}
EXISTING = {"target": "existing", "bootstrap": False}


@dataclass
class Runner:
    cloud: Cloud
    process: subprocess.Popen[str]
    log: Path

    def run(self, dag: str, conf: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"dag": dag, "conf": conf}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the runner ended:\n{self.log.read_text()[-4000:]}"
        outcome: dict[str, Any] = json.loads(answer)
        return outcome


@pytest.fixture(scope="module")
def pachd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "minipachd",
        "--data",
        str(tmp_path_factory.mktemp("pachd")),
        "--listen",
        "127.0.0.1:0",
        "--auth",
        "none",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        ready, _, address = process.stdout.readline().strip().partition(" ")
        assert ready == "ready"
        yield address
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def runner(airflow_database: Path, tmp_path_factory: pytest.TempPathFactory, pachd: str) -> Iterator[Runner]:
    home = tmp_path_factory.mktemp("airflow")
    cloud, environment, servers = start_cloud()
    host, _, port = pachd.partition(":")
    env = {
        **os.environ,
        **environment,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW_CONN_PACHYDERM_DEFAULT": json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port)}),
        "TUSKWATCH_POLL_SECONDS": "0.05",
    }
    log = home / "runner.log"
    try:
        shutil.copy(airflow_database, home)
        with log.open("w") as stderr:
            command = [sys.executable, "-m", "tests.provisioning.dag_runner"]
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=REPOSITORY
            )
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n", log.read_text()[-4000:]
            yield Runner(cloud, process, log)
        finally:
            process.kill()
            process.communicate()
    finally:
        for server in servers:
            server.stop()


@pytest.mark.parametrize("conf", [GKE, EXISTING], ids=["gke", "existing"])
def test_up_again_check_down(runner: Runner, conf: dict[str, Any]) -> None:
    up = runner.run("provision_stack", conf)
    assert up["state"] == "success", runner.log.read_text()[-4000:]
    assert up["values"]["pachyderm"] == "created"
    skipped = {task for task, state in up["states"].items() if state == "skipped"}
    assert skipped == {"bootstrap", "workers", "undo_namespace", "undo_cluster", "undo_bucket", "forget"}
    again = runner.run("provision_stack", conf)
    assert {value for value in again["values"].values() if isinstance(value, str)} <= {"found", "absent"}
    assert runner.run("check_stack", {})["state"] == "success"
    assert runner.run("teardown_stack", {"confirm": "wrong"})["state"] == "failed"
    down = runner.run("teardown_stack", {"confirm": "tuskwatch", "confirm_bucket": conf.get("bucket")})
    assert down["state"] == "success"
    assert runner.cloud.leftovers() == []
    assert runner.run("teardown_stack", {"confirm": "tuskwatch"})["state"] == "failed", "nothing is recorded any more"


def test_a_run_that_fails_is_undone_and_fails(runner: Runner) -> None:
    runner.cloud.gke.create_ends = "half-way"
    outcome = runner.run("provision_stack", GKE)
    runner.cloud.gke.create_ends = "well"
    assert outcome["state"] == "failed"
    assert outcome["states"]["report"] == "upstream_failed"
    assert (outcome["values"]["undo_cluster"], outcome["values"]["undo_bucket"]) == ("removed", "removed")
    assert runner.cloud.leftovers() == []


def test_a_run_that_failed_may_be_repeated_with_other_names(runner: Runner) -> None:
    """What was undone is forgotten, so that a mistyped name can be corrected."""
    runner.cloud.storage.foreign.add("taken")
    assert runner.run("provision_stack", {**GKE, "bucket": "taken"})["state"] == "failed"
    runner.cloud.storage.foreign.clear()
    assert runner.run("provision_stack", GKE)["state"] == "success"
    assert runner.run("teardown_stack", {"confirm": "tuskwatch", "confirm_bucket": "acme-pachyderm"})["state"] == "success"
    assert runner.cloud.leftovers() == []


def test_a_second_stack_is_refused_before_anything_is_begun(runner: Runner) -> None:
    """Else the first one could not be torn down any more."""
    assert runner.run("provision_stack", GKE)["state"] == "success"
    before = runner.cloud.leftovers()
    outcome = runner.run("provision_stack", {**GKE, "cluster": "second", "bucket": "acme-second"})
    assert outcome["state"] == "failed"
    assert {state for task, state in outcome["states"].items() if task.startswith("undo_")} == {"skipped"}, "there is nothing to undo"
    log = runner.log.read_text()
    assert "bucket is acme-pachyderm, asked for acme-second; cluster is tuskwatch, asked for second" in log
    assert runner.cloud.leftovers() == before
    assert runner.run("teardown_stack", {"confirm": "tuskwatch", "confirm_bucket": "acme-pachyderm"})["state"] == "success"
    assert runner.cloud.leftovers() == []


def test_a_failed_second_run_keeps_what_the_first_one_made(runner: Runner) -> None:
    assert runner.run("provision_stack", EXISTING)["state"] == "success"
    outcome = runner.run("provision_stack", {**EXISTING, "storage_gb": 99})
    assert outcome["state"] == "failed"
    assert outcome["values"]["undo_namespace"] == "kept"
    assert "pachd" in runner.cloud.existing.names("deployments")
    assert runner.run("teardown_stack", {"confirm": "tuskwatch"})["state"] == "success"
    assert runner.cloud.leftovers() == []
