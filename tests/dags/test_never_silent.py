"""What a person sees of a run: nothing that was set is thrown away, and no run is green that saw nothing. Real DAGs in real Airflow."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.connection import PachydermConnection
from airflow_pachyderm.exceptions import PachydermNotFoundError
from tests.dags.quick_stages import write_images, write_stages
from tests.support import Engine
from tests.support_data import DEMO_MODEL, REPOSITORY

pytestmark = pytest.mark.timeout(900)


ZONE = "Asia/Kathmandu"


@dataclass
class Airflow:
    """Runs DAGs as Airflow's ``dag.test`` does, one process for all.

    :ivar tries: By task, of the last run.
    """

    process: subprocess.Popen[str]
    log: Path
    root: Path
    pfs: PfsClient
    pps: PpsClient
    _read: int = 0

    def run(self, dag: str, **conf: Any) -> dict[str, Any]:
        """A run; its outcome, with what its tasks logged under ``log``."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"dag": dag, "conf": conf}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        log = self.log.read_text()[self._read :]
        self._read += len(log)
        assert answer, f"the runner ended:\n{log[-4000:]}"
        return {**json.loads(answer), "log": log}

    def content(self, repo: str, path: str) -> bytes:
        return self.pfs.read_file(repo, "master", path)


@pytest.fixture(scope="module")
def airflow(airflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    root = tmp_path_factory.mktemp("site")
    (root / "landing").mkdir()
    with Engine(root / "pachd") as engine:
        host, _, port = engine.address.rpartition(":")
        env = {
            **os.environ,
            "AIRFLOW_HOME": str(root / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW_CONN_PACHYDERM_DEFAULT": json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port)}),
            "TUSKWATCH_MODEL": str(root / "model.pb"),
            "TUSKWATCH_RULES": str(root / "rule.json"),
            "TUSKWATCH_STAGES": str(write_stages(root / "stages")),
            "TUSKWATCH_RESULTS": str(root / "results"),
            "TUSKWATCH_STAGING": str(root / "staging"),
            "TUSKWATCH_LANDING": str(root / "landing"),
            "TUSKWATCH_SOURCES": "/",
            "TUSKWATCH_RETRY_SECONDS": "0",
            "TUSKWATCH_TIMEZONE": ZONE,
        }
        (root / "airflow").mkdir()
        shutil.copy(airflow_database, root / "airflow")
        log = root / "runner.log"
        with log.open("w") as stderr:
            command = [sys.executable, "-m", "tests.dags.dag_runner"]
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=REPOSITORY
            )
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n", log.read_text()[-4000:]
            server = Server(PachydermConnection(conn_id="test", host=host, port=int(port)))
            yield Airflow(process, log, root, PfsClient(server), PpsClient(server))
        finally:
            process.kill()
            process.communicate()


OWN_RULES = b'{"threat_classes": ["person"], "min_score": 0.3, "devices": {"gate": {"min_count": 2}}}'


def heads(airflow: Airflow) -> dict[str, str]:
    return {repo: airflow.pfs.head(repo).commit_set for repo in ("model", "rules")}


def test_bootstrap_puts_nothing_that_is_no_model(airflow: Airflow) -> None:
    """What a slip in ``make up MODEL=README.md`` gives; the first push used to find out."""
    (airflow.root / "model.pb").write_text("# README")
    (airflow.root / "rule.json").write_bytes(OWN_RULES)

    run = airflow.run("bootstrap_pipelines")

    assert (run["states"]["resolve"], run["tries"]["resolve"]) == ("failed", 1)
    assert "model.pb is not put: frozen_inference_graph.pb: not a frozen graph" in run["log"]
    with pytest.raises(PachydermNotFoundError):
        airflow.pfs.list_commits("model")  # nothing was touched, not even the repos


def test_bootstrap_keeps_what_a_person_put_and_says_so(airflow: Airflow) -> None:
    (airflow.root / "model.pb").write_bytes(DEMO_MODEL.read_bytes())
    first = airflow.run("bootstrap_pipelines")
    assert first["state"] == "success"
    assert airflow.content("rules", "/rule.json") == OWN_RULES
    assert airflow.content("model", "/frozen_inference_graph.pb") == DEMO_MODEL.read_bytes()
    for pipeline in ("threat-detect", "plot"):  # whose days and hours they count in
        assert airflow.pps.inspect_pipeline(pipeline).env == {"TIME_ZONE": ZONE}
    before = heads(airflow)

    (airflow.root / "rule.json").write_text('{"threat_classes": ["car"]}')
    again = airflow.run("bootstrap_pipelines")

    assert again["state"] == "success"
    assert heads(airflow) == before
    (kept, *_) = again["values"]["report"]["warnings"]
    assert kept.startswith("Repo rules keeps its /rule.json, which is another than the setting tuskwatch_rules names; to put ")
    assert again["log"].count(kept) >= 2  # where it was found, and in the report
    assert kept in Path(again["values"]["report"]["report"]).read_text()


def test_a_file_that_the_form_names_replaces_only_when_that_is_asked_for(airflow: Airflow) -> None:
    before = heads(airflow)
    (airflow.root / "other.json").write_text('{"threat_classes": ["car"]}')

    refused = airflow.run("bootstrap_pipelines", rules=str(airflow.root / "other.json"))
    assert (refused["states"]["resolve"], refused["tries"]["resolve"], heads(airflow)) == ("failed", 1, before)
    assert "nothing is replaced unasked: to put" in refused["log"]

    asked = airflow.run("bootstrap_pipelines", rules=str(airflow.root / "other.json"), replace_rules=True)
    assert asked["state"] == "success"
    assert airflow.content("rules", "/rule.json") == b'{"threat_classes": ["car"]}'
    assert heads(airflow)["model"] == before["model"]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            {"threat_classes": ["persn", "carr"]},
            "can ever be a threat: no class of it is one that the model in use knows; it knows",
        ),
        ({"threat_classes": []}, "nothing can ever be a threat: it names no class"),
        ({"threat_classes": [1], "to_email": "a@example.org"}, "without from_email no mail is ever sent"),
    ],
)
def test_rules_that_can_do_nothing_are_refused(airflow: Airflow, rules: dict[str, Any], said: str) -> None:
    (airflow.root / "new.json").write_text(json.dumps(rules))

    run = airflow.run("update_rules", source=str(airflow.root / "new.json"))

    assert (run["states"]["check"], run["tries"]["check"]) == ("failed", 1)
    assert said in run["log"]


def test_rules_that_do_less_than_they_say_are_put_and_warned_about(airflow: Airflow) -> None:
    (airflow.root / "new.json").write_text(json.dumps({"threat_classes": ["car", "persn"], "min_score": 0.3}))

    run = airflow.run("update_rules", source=str(airflow.root / "new.json"))

    assert run["state"] == "success"
    for said in (
        "the model in use knows no class persn; did you mean person?",
        "0.3 has no effect: object-detect reports nothing below 0.5",
    ):
        assert said in run["log"]
        assert any(said in warning for warning in run["values"]["report"]["warnings"])
    status = json.loads(airflow.content("status", "/status.json"))
    assert status["warnings"] == run["values"]["report"]["warnings"]
    assert status["mail"]["on"] is False


def test_a_typo_in_the_folder_fails_at_once_and_where_it_is(airflow: Airflow) -> None:
    """The task with the cause is the one that failed; no other fails on top of it."""
    run = airflow.run("push_images", source=str(airflow.root / "no such folder"))

    assert run["state"] == "failed"
    assert (run["states"]["list_images"], run["tries"]["list_images"]) == ("failed", 1)
    assert {task for task, state in run["states"].items() if state == "failed"} == {"list_images"}
    assert "does not exist where this task runs; give a folder that it can read" in run["log"]


def test_a_run_of_invalid_images_is_no_success(airflow: Airflow) -> None:
    images = airflow.root / "invalid"
    images.mkdir()
    for number in range(3):
        (images / f"cam {number}.jpg").write_bytes(b"x")

    run = airflow.run("push_images", source=str(images))

    assert (run["state"], run["states"]["report"], run["tries"]["report"]) == ("failed", "failed", 1)
    assert "3 of 3 images are invalid, more than the setting tuskwatch_max_invalid_share (0.5) allows" in run["log"]
    link = parse_qs(urlsplit(run["values"]["report:_link_ReportLink"]).query)
    assert airflow.content(*link["repo"], *link["file"]).startswith(b"# push_images: ")
    assert run["values"]["report:_link_ThreatsLink"].endswith("?view=threats")


def test_a_night_tells_what_it_passed_over(airflow: Airflow) -> None:
    (airflow.root / "landing" / "blah.jpg").write_bytes(b"x")
    (airflow.root / "landing" / "dev1_1795345200123.jpg").write_bytes(b"x")
    write_images(airflow.root / "landing", "2026-11-22", "dev1_1795345200.jpg")

    run = airflow.run("nightly_images", day="2026-11-22")
    empty = airflow.run("nightly_images", day="2026-11-20")

    assert (run["state"], empty["state"]) == ("success", "success")
    for told in (run["values"]["report"], empty["values"]["report"]):
        assert told["passed_over"] == 2
        report = Path(told["summary"]).with_name("report.md").read_text()
        assert "are they milliseconds?" in report
        assert "blah.jpg" in report
    assert run["values"]["report"]["images"] == {"valid": 1, "invalid": 0}


def last_run(airflow: Airflow, dag: str) -> dict[str, Any]:
    """What the dashboard shows of a DAG's last run."""
    found: dict[str, Any] = json.loads(airflow.content("status", f"/runs/{dag}.json"))
    return found


def test_a_run_that_fails_before_its_report_stands_there_with_its_cause(airflow: Airflow) -> None:
    run = airflow.run("push_images", source="/no/such/folder")
    told = last_run(airflow, "push_images")
    assert (told["run_id"], told["state"]) == (run["run_id"], "failed")
    assert told["reason"].startswith("list_images: Folder /no/such/folder does not exist where this task runs")

    (airflow.root / "landing").rename(airflow.root / "elsewhere")
    try:
        run = airflow.run("nightly_images")
    finally:
        (airflow.root / "elsewhere").rename(airflow.root / "landing")
    told = last_run(airflow, "nightly_images")
    assert told["run_id"] == run["run_id"]
    assert told["reason"].startswith(f"plan: Folder {airflow.root / 'landing'} does not exist")

    run = airflow.run("update_rules", source=str(airflow.root / "no-rules.json"))
    told = last_run(airflow, "update_rules")
    assert (told["run_id"], told["reason"].partition(":")[0]) == (run["run_id"], "check")
