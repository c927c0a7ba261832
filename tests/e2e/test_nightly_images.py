"""Nights and backfills through the real scheduler and triggerer: what was done is not repeated, and a wait holds no worker."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import Commit, PfsClient
from airflow_pachyderm.client.pps import PpsClient
from airflow_pachyderm.connection import PachydermConnection
from laptop.layout import Layout, free_port
from laptop.stack import new_stack, start_stack
from tests.dags.quick_stages import write_images, write_stages
from tests.e2e.harness import Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]
NIGHTLY = "nightly_images"
DAYS = [f"2026-11-{day:02}" for day in range(1, 6)]


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five days with three images each, one of them with a name that is invalid."""
    landing = tmp_path_factory.mktemp("landing")
    for number, day in enumerate(DAYS):
        write_images(landing, day, f"dev1_15118910{number:02}.jpg", f"dev2_15118910{number:02}.jpg", f"blah{number}.jpg")
    return landing


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory, landing: Path) -> Iterator[Site]:
    """A stack whose stages are quick stand-ins."""
    root = tmp_path_factory.mktemp("nights")
    (root / "model.pb").write_bytes(b"model")
    settings = {
        "TUSKWATCH_MODEL": str(root / "model.pb"),
        "TUSKWATCH_STAGES": str(write_stages(root / "stages")),
        "TUSKWATCH_RESULTS": str(root / "results"),
        "TUSKWATCH_STAGING": str(root / "staging"),
        "TUSKWATCH_LANDING": str(landing),
    }
    stack = new_stack(Layout(root / "stack"))
    # Never the usual ports: the stack of the other end-to-end tests, or a person's, may have them.
    stack.airflow = dataclasses.replace(stack.airflow, port=free_port())
    stack.pachd_address = f"127.0.0.1:{free_port()}"
    try:
        start_stack(stack, extra=settings)
        with stack.client() as airflow:
            site = Site(stack, airflow)
            site.run("bootstrap_pipelines", {})
            yield site
    finally:
        stack.stop()


def pfs(site: Site) -> PfsClient:
    host, _, port = site.stack.pachd_address.rpartition(":")
    return PfsClient(Server(PachydermConnection(conn_id="test", host=host, port=int(port))))


def pushes(site: Site) -> list[Commit]:
    return pfs(site).list_commits("images")


def report(site: Site, day: str) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((Path(site.stack.env["TUSKWATCH_RESULTS"]) / NIGHTLY / day / "summary.json").read_text())
    return summary


def backfill(site: Site, *arguments: str) -> list[dict[str, Any]]:
    """A backfill of the five days by the command line, to its end; its runs."""
    command = [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", NIGHTLY, "--max-active-runs", "2"]
    command += ["--from-date", DAYS[0], "--to-date", f"{DAYS[-1]}T23:59", *arguments]
    for _ in range(5):
        # Paused while its runs are made: on SQLite, which has no row locks, the scheduler would stumble over half of them.
        site.airflow._call("PATCH", f"/api/v2/dags/{NIGHTLY}", {"is_paused": True})
        done = subprocess.run(command, env=site.stack.env, capture_output=True, text=True)
        site.airflow.unpause(NIGHTLY)
        wait_for_backfills(site)
        if done.returncode == 0:
            break
        # On SQLite a busy scheduler may keep the command from its lock. It left part of the runs; given again, it adds the rest.
        assert "database is locked" in done.stderr + done.stdout, done.stdout + done.stderr
    runs: list[dict[str, Any]] = site.airflow._call("GET", f"/api/v2/dags/{NIGHTLY}/dagRuns?limit=100")["dag_runs"]
    return runs


def wait_for_backfills(site: Site) -> None:
    deadline = time.monotonic() + 400
    while not all(found["completed_at"] for found in site.airflow._call("GET", f"/api/v2/backfills?dag_id={NIGHTLY}")["backfills"]):
        assert time.monotonic() < deadline, "the backfill has no end"
        time.sleep(1)


def test_a_backfill_does_each_day_once_however_often_it_runs(nights: Site) -> None:
    nights.airflow.wait_for_dag(NIGHTLY, timeout=60)
    nights.airflow.unpause(NIGHTLY)
    first = [run for run in backfill(nights) if run["run_type"] == "backfill"]
    commits = pushes(nights)

    assert [run["state"] for run in first] == ["success"] * 5
    assert len(commits) == 5
    for day in DAYS:
        summary = report(nights, day)
        assert (len(summary["images"]["valid"]), len(summary["images"]["invalid"])) == (2, 1)
        assert summary["threats"] == {"dev1": 1, "dev2": 1}

    again = [run for run in backfill(nights, "--reprocess-behavior", "completed") if run["run_type"] == "backfill"]

    assert [run["state"] for run in again] == ["success"] * 5
    assert pushes(nights) == commits
    assert sum(job["processed"] for job in report(nights, DAYS[0])["jobs"].values()) > 0  # those of the first time, read again


def test_late_images_come_with_the_next_night_and_an_empty_night_says_so(nights: Site, landing: Path) -> None:
    nights.run(NIGHTLY, {"day": "2026-12-01"})
    assert report(nights, "2026-12-01")["files"] == 0
    before = len(pushes(nights))
    write_images(landing, "2026-12-01", "dev9_1511891099.jpg")

    nights.run(NIGHTLY, {"day": "2026-12-02"})

    summary = report(nights, "2026-12-02")
    assert (summary["late"], summary["images"]["valid"]) == ({"2026-12-01": 1}, ["dev9_1511891099.jpg"])
    assert len(pushes(nights)) == before + 1

    nights.run(NIGHTLY, {"day": "2026-12-02"})

    assert len(pushes(nights)) == before + 1


def test_the_asset_event_names_the_commit(nights: Site) -> None:
    events = nights.airflow._call("GET", "/api/v2/assets/events?limit=100")["asset_events"]

    assert events
    commits = {commit.commit_set for commit in pushes(nights)}
    assert {event["extra"]["commit"] for event in events} <= commits
    assert all(event["uri"].endswith("/default/images@master") for event in events)


def test_a_wait_holds_no_worker_outlives_the_triggerer_and_takes_its_jobs_along(nights: Site, tmp_path: Path) -> None:
    """While its jobs run, a push sits in the triggerer; killed and started again, that goes on; marked failed, the jobs end."""
    (tmp_path / "dev5_1511892000.jpg").write_bytes(b"image")
    pps = PpsClient(pfs(nights).server)
    slow = {"pipeline": {"name": "slow"}, "input": {"pfs": {"repo": "images", "glob": "/"}}, "transform": {"cmd": ["sleep", "600"]}}
    pps.create_pipeline(slow, name="test")
    run_id = nights.start("push_images", {"source": str(tmp_path)})
    until(lambda: push_state(nights, run_id) == "deferred")
    commit = nights.airflow.xcom("push_images", run_id, "push", key="commit", map_index=0)

    pool = nights.airflow._call("GET", "/api/v2/pools/default_pool")
    assert (pool["running_slots"], pool["queued_slots"], pool["deferred_slots"]) == (0, 0, 1)

    before = triggerer_of(nights, run_id)
    nights.stack.processes["triggerer"].signal(signal.SIGKILL)
    nights.stack.start_component("triggerer")
    # Airflow hands the wait over once the old heartbeat is stale; until then nobody would stop the jobs of a task marked failed.
    until(lambda: triggerer_of(nights, run_id) not in (None, before))
    assert push_state(nights, run_id) == "deferred"

    path = f"/api/v2/dags/push_images/dagRuns/{run_id}/taskInstances/push/0"
    nights.airflow._call("PATCH", path, {"new_state": "failed"})
    until(lambda: {job.pipeline: job.state for job in pps.inspect_job_set(commit)}["slow"] == "killed")

    pps.delete_pipeline("slow", force=True)


def push_of(site: Site, run_id: str) -> dict[str, Any]:
    return next(task for task in site.airflow.task_instances("push_images", run_id) if task["task_id"] == "push")


def push_state(site: Site, run_id: str) -> str:
    return str(push_of(site, run_id)["state"])


def triggerer_of(site: Site, run_id: str) -> int | None:
    """Which triggerer runs the push's trigger, None where no one does yet."""
    found: int | None = (push_of(site, run_id)["trigger"] or {}).get("triggerer_id")
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.5)
