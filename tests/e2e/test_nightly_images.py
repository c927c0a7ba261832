"""Nights and backfills through the real scheduler and triggerer: what was done is not repeated, and a wait holds no worker."""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_pachyderm.client.answers import Commit
from tests.dags.quick_stages import write_images
from tests.e2e.harness import PATIENCE_SECONDS, Site, quick_site, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200, method="signal")]
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
    with quick_site(tmp_path_factory.mktemp("nights"), landing) as site:
        yield site


def pushes(site: Site) -> list[Commit]:
    return site.pfs.list_commits("images")


def report(site: Site, day: str) -> dict[str, Any]:
    return site.summary(NIGHTLY, day)


def backfill(site: Site, *arguments: str) -> list[dict[str, Any]]:
    """A backfill of the five days by the command line, to its end; all runs of backfills."""
    command = [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", NIGHTLY, "--max-active-runs", "2"]
    command += ["--from-date", DAYS[0], "--to-date", f"{DAYS[-1]}T23:59", *arguments]
    done = subprocess.run(command, env=site.stack.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site.finish_backfills(NIGHTLY)
    return site.runs(NIGHTLY, "backfill")


def test_a_backfill_does_each_day_once_however_often_it_runs(nights: Site) -> None:
    nights.airflow.wait_for_dag(NIGHTLY, timeout=PATIENCE_SECONDS)
    nights.airflow.unpause(NIGHTLY)
    first = backfill(nights)
    commits = pushes(nights)

    assert [run["state"] for run in first] == ["success"] * 5
    assert len(commits) == 5
    for day in DAYS:
        summary = report(nights, day)
        assert (len(summary["images"]["valid"]), len(summary["images"]["invalid"])) == (2, 1)
        assert summary["threats"] == {"dev1": 1, "dev2": 1}

    again = backfill(nights, "--reprocess-behavior", "completed")

    assert [run["state"] for run in again] == ["success"] * 5
    assert pushes(nights) == commits
    assert sum(job["processed"] for job in report(nights, DAYS[0])["jobs"].values()) > 0  # those of the first time, read again


def test_late_images_come_with_the_next_night_and_an_empty_night_says_so(nights: Site, landing: Path) -> None:
    nights.run(NIGHTLY, {"day": "2026-10-01"})
    assert report(nights, "2026-10-01")["files"] == 0
    before = len(pushes(nights))
    write_images(landing, "2026-10-01", "dev9_1511891099.jpg")

    nights.run(NIGHTLY, {"day": "2026-10-02"})

    summary = report(nights, "2026-10-02")
    assert (summary["late"], summary["images"]["valid"]) == ({"2026-10-01": 1}, ["dev9_1511891099.jpg"])
    assert len(pushes(nights)) == before + 1

    nights.run(NIGHTLY, {"day": "2026-10-02"})

    assert len(pushes(nights)) == before + 1


def test_a_night_comes_by_itself(nights: Site, landing: Path) -> None:
    """Unpaused, the scheduler makes the run of the last day that is over; it takes that day's images."""
    nights.airflow.wait_for_dag(NIGHTLY, timeout=PATIENCE_SECONDS)
    nights.airflow.unpause(NIGHTLY)
    until(lambda: bool(nights.runs(NIGHTLY, "scheduled")))
    (run,) = nights.runs(NIGHTLY, "scheduled")
    day = run["data_interval_start"][:10]
    nights.finish(NIGHTLY, run["dag_run_id"])
    # Whatever it found then: now there is an image, and the same run, cleared as a person does it, takes it.
    write_images(landing, day, "dev8_1511891090.jpg")

    nights.call("POST", f"dags/{NIGHTLY}/dagRuns/{run['dag_run_id']}/clear", {"dry_run": False, "only_failed": False})
    until(lambda: nights.airflow.run_state(NIGHTLY, run["dag_run_id"]) != "success")
    nights.finish(NIGHTLY, run["dag_run_id"])

    assert report(nights, day)["images"]["valid"] == ["dev8_1511891090.jpg"]


def test_the_asset_event_names_the_commit(nights: Site) -> None:
    events = nights.call("GET", "assets/events?limit=100")["asset_events"]

    assert events
    commits = {commit.commit_set for commit in pushes(nights)}
    assert {event["extra"]["commit"] for event in events} <= commits
    assert all(event["uri"].endswith("/default/images@master") for event in events)


def test_while_a_job_of_a_minute_runs_its_push_holds_no_worker(nights: Site, tmp_path: Path) -> None:
    (tmp_path / "dev4_1511892000.jpg").write_bytes(b"image")
    slow(nights, "dev4_1511892000.jpg", seconds=60)
    run_id = nights.start("push_images", {"source": str(tmp_path)})
    until(lambda: push_state(nights, run_id) == "deferred")

    seen = []
    while push_state(nights, run_id) == "deferred":
        pool = nights.call("GET", "pools/default_pool")
        seen.append((pool["running_slots"], pool["queued_slots"], pool["scheduled_slots"], pool["deferred_slots"]))
        time.sleep(1)
    nights.finish("push_images", run_id)

    assert nights.airflow.xcom("push_images", run_id, "push", map_index=0)["jobs"]["slow"]["seconds"] >= 60
    assert len(seen) > 20
    # The last look may fall between the trigger's event and the task's second start.
    assert set(seen[:-1]) == {(0, 0, 0, 1)}


@pytest.mark.parametrize("action", ["marked failed", "cleared"])
def test_a_waiting_task_that_is_stopped_takes_its_trigger_and_its_jobs_along(nights: Site, tmp_path: Path, action: str) -> None:
    """Within ten seconds, which is what the project promises."""
    image = f"dev5_151189200{len(action)}.jpg"
    (tmp_path / image).write_bytes(b"image")
    slow(nights, image, seconds=600)
    run_id = nights.start("push_images", {"source": str(tmp_path)})
    until(lambda: triggerer_of(nights, run_id) is not None)
    commit = nights.airflow.xcom("push_images", run_id, "push", key="commit", map_index=0)

    if action == "cleared":
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["push"], "only_failed": False, "reset_dag_runs": True}
        nights.call("POST", "dags/push_images/clearTaskInstances", body)
    else:
        nights.call("PATCH", f"dags/push_images/dagRuns/{run_id}/taskInstances/push/0", {"new_state": "failed"})
    seconds = until(lambda: job_state(nights, commit) == "killed", seconds=10)

    logging.getLogger(__name__).warning("%s: the jobs had ended after %.1f s", action, seconds)
    nights.pps.delete_pipeline("slow", force=True)
    if action == "cleared":  # the cleared task pushes again, and now nothing holds it up
        nights.finish("push_images", run_id)


def test_a_triggerer_that_is_killed_hands_its_waits_to_the_next(nights: Site, tmp_path: Path) -> None:
    """No job is touched by that; and the new one can still be told to stop."""
    (tmp_path / "dev6_1511892000.jpg").write_bytes(b"image")
    slow(nights, "dev6_1511892000.jpg", seconds=600)
    run_id = nights.start("push_images", {"source": str(tmp_path)})
    until(lambda: triggerer_of(nights, run_id) is not None)
    before = triggerer_of(nights, run_id)
    commit = nights.airflow.xcom("push_images", run_id, "push", key="commit", map_index=0)

    nights.kill("triggerer")
    nights.stack.start_component("triggerer")
    # Airflow hands the wait over once the old heartbeat is stale; until then nobody would stop the jobs of a task marked failed.
    until(lambda: triggerer_of(nights, run_id) not in (None, before))

    assert push_state(nights, run_id) == "deferred"
    assert job_state(nights, commit) == "running"
    nights.call("PATCH", f"dags/push_images/dagRuns/{run_id}/taskInstances/push/0", {"new_state": "failed"})
    until(lambda: job_state(nights, commit) == "killed")
    nights.pps.delete_pipeline("slow", force=True)


def slow(site: Site, image: str, *, seconds: int) -> None:
    """A pipeline that takes its time over one image, and none over what is there already."""
    site.pps.delete_pipeline("slow", force=True)
    transform = {"cmd": ["sh"], "stdin": [f'if [ -e "$PFS_ROOT/images/{image}" ]; then sleep {seconds}; fi']}
    spec = {"pipeline": {"name": "slow"}, "input": {"pfs": {"repo": "images", "glob": "/"}}, "transform": transform}
    site.pps.create_pipeline(spec, name="test")


def job_state(site: Site, commit: str) -> str:
    return {job.pipeline: str(job.state) for job in site.pps.inspect_job_set(commit)}["slow"]


def push_state(site: Site, run_id: str) -> str:
    return str(site.task("push_images", run_id, "push").get("state"))


def triggerer_of(site: Site, run_id: str) -> int | None:
    """Which triggerer runs the push's trigger, None where no one does yet."""
    found: int | None = (site.task("push_images", run_id, "push").get("trigger") or {}).get("triggerer_id")
    return found
