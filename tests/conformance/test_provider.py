"""The Airflow provider: its hook, every operator, sensor and trigger, as tasks run them, deferred and not."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_pachyderm.client.pps import SPEC_DIGEST
from airflow_pachyderm.exceptions import (
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermJobError,
    PachydermNotFoundError,
    PachydermTimeoutError,
)
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.operators.file import PachydermDeleteFileOperator, PachydermGetFileOperator, PachydermPutFileOperator
from airflow_pachyderm.operators.owner import TaskOwner
from airflow_pachyderm.operators.pipeline import (
    PachydermCreatePipelineOperator,
    PachydermCreateSecretOperator,
    PachydermDeletePipelineOperator,
    PachydermRunCronOperator,
    PachydermStartPipelineOperator,
    PachydermStopPipelineOperator,
)
from airflow_pachyderm.operators.push import PachydermPushOperator
from airflow_pachyderm.operators.repo import PachydermCreateRepoOperator, PachydermDeleteRepoOperator, PachydermWaitForCommitOperator
from airflow_pachyderm.sensors.commit import PachydermCommitSensor, PachydermFileSensor
from airflow_pachyderm.sensors.job import PachydermJobSensor
from airflow_pachyderm.sensors.pipeline import PachydermPipelineStateSensor
from airflow_pachyderm.triggers.commit_set import CommitSetTrigger
from tests.airflow_pachyderm.tasks import Task, TaskInstance, again, fire
from tests.conformance.lab import NO_ID, TERMINAL, Lab, pfs
from tests.e2e.site import ImageSite

DONE = pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "polling"])


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Three files of five bytes."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt"):
        (folder / name).write_text(name)
    return [str(folder / name) for name in ("a.txt", "b.txt", "c.txt")]


def task(lab: Lab, kind: type[Any], **fields: Any) -> Task:
    """A task of this run's connection."""
    return Task(kind(**{"task_id": "task", "pachyderm_conn_id": lab.conn_id} | fields))


def push(lab: Lab, repo: str, files: Any, **fields: Any) -> Task:
    """A push that waits for its jobs as long as the server may need."""
    waits = {"wait_timeout": lab.target.wait_seconds, "poll_interval": 0.1}
    return task(lab, PachydermPushOperator, repo=repo, files=files, **waits | fields)


# Push


@DONE
def test_a_push_waits_for_the_jobs_and_sums_them_up(workers: Lab, files: list[str], deferrable: bool) -> None:
    lab = workers
    repo = lab.repo()
    name = lab.pipeline(repo)
    pushing = push(lab, repo, files, deferrable=deferrable, defer_after=0)

    result = pushing.run()

    job = result["jobs"][name]
    assert (job["state"], job["total"], job["processed"], job["skipped"], job["failed"]) == ("success", 3, 3, 0, 0)
    assert (result["files"], result["bytes"], result["reused"]) == (3, 15, False)
    assert result["seconds"] >= job["seconds"] >= 0
    assert result["commit"] == pushing.ti.xcoms["commit"] == lab.head(repo)
    assert result["commit"] in pushing.ti.xcoms["_link_PachydermCommitLink"]
    assert len(pushing.triggers) == deferrable
    assert lab.files(name) == {f"/{Path(file).name}": Path(file).read_bytes() for file in files}


def test_a_push_creates_the_repo_and_is_done_at_once_where_nothing_reads_it(lab: Lab, files: list[str]) -> None:
    repo = lab.name("new")
    pushing = push(lab, repo, files)
    assert pushing.run()["jobs"] == {}
    assert not pushing.triggers
    assert set(lab.files(repo)) == {"/a.txt", "/b.txt", "/c.txt"}


def test_a_cleared_push_finds_its_commit_and_a_new_run_skips_what_is_done(workers: Lab, files: list[str]) -> None:
    lab = workers
    repo = lab.repo()
    name = lab.pipeline(repo)
    pushing, other = push(lab, repo, files), push(lab, repo, files)
    other.ti.run_id = "manual__later"

    first, second, third = pushing.run(), pushing.run(), other.run()

    assert (second["commit"], second["reused"], second["bytes"], second["jobs"]) == (first["commit"], True, 0, first["jobs"])
    assert (third["jobs"][name]["processed"], third["jobs"][name]["skipped"]) == (0, 3)
    assert lab.commits(repo) == [third["commit"], first["commit"]]


def test_two_runs_with_one_batch_key_are_one_push(lab: Lab, files: list[str]) -> None:
    repo = lab.repo()
    first, second = (push(lab, repo, files, batch_key="nightly/2026-11-22") for _ in range(2))
    second.ti.run_id = "manual__later"
    assert first.run()["commit"] == second.run()["commit"]
    assert len(lab.commits(repo)) == 1


@DONE
def test_a_failed_job_fails_the_task_with_all_a_person_needs(workers: Lab, files: list[str], deferrable: bool) -> None:
    lab = workers
    repo = lab.repo()
    name = lab.pipeline(repo, 'echo "looking at $in"; test ! -e /pfs/in/b.txt; cp "$in" /pfs/out/')
    pushing = push(lab, repo, files, deferrable=deferrable, defer_after=0)

    with pytest.raises(PachydermJobError) as caught:
        pushing.run()

    text = str(caught.value)
    assert caught.value.pipeline == name
    assert f"{name} failure: " in text
    assert "failed datum" in text
    assert f"{repo}:/b.txt" in text, "also where logs cannot be read"


def test_a_failed_job_is_told_with_its_log(logs: Lab, files: list[str]) -> None:
    lab = logs
    repo = lab.repo()
    lab.pipeline(repo, 'echo "looking at $in"; false')
    with pytest.raises(PachydermJobError, match=r"\| looking at /pfs/in/a.txt"):
        push(lab, repo, files[:1]).run()


def test_a_retry_after_a_failed_job_pushes_again(workers: Lab, files: list[str]) -> None:
    lab = workers
    repo, mended = lab.repo(), lab.repo("mended")
    lab.put(mended, {"/no": ""})
    reads = {"cross": [pfs(repo), pfs(mended, "/", name="mended")]}
    name = lab.pipeline(reads, "test -e /pfs/mended/yes")
    pushing = push(lab, repo, files)
    with pytest.raises(PachydermJobError):
        pushing.run()
    lab.run(mended, {"/yes": ""})

    result = pushing.run()

    assert (result["reused"], result["jobs"][name]["state"]) == (False, "success")
    assert len(lab.commits(repo)) == 2


@DONE
def test_jobs_that_take_too_long_are_named_and_go_on(workers: Lab, files: list[str], deferrable: bool) -> None:
    lab = workers
    repo = lab.repo()
    name = lab.pipeline(repo, "sleep 1000")
    pushing = push(lab, repo, files[:1], deferrable=deferrable, defer_after=0, wait_timeout=0.3)

    with pytest.raises(PachydermTimeoutError, match=f"still run after 0 s: {name}: "):
        pushing.run()

    (job,) = lab.pps.inspect_job_set(pushing.ti.xcoms["commit"])
    assert job.state in ("created", "starting", "running")


def test_killing_a_deferred_push_stops_its_jobs(workers: Lab, files: list[str]) -> None:
    lab = workers
    repo = lab.repo()
    lab.pipeline(repo, "sleep 1000")
    pushing = push(lab, repo, files, defer_after=0)
    with pytest.raises(TaskDeferred) as deferred:
        pushing.call("execute", pushing.context)
    trigger = again(deferred.value.trigger)

    asyncio.run(trigger.on_kill())

    trigger.not_before = 0.0  # type: ignore[attr-defined]
    assert fire(trigger).payload["jobs"][0]["state"] == "killed"


def test_a_trigger_leaves_airflow_the_time_to_notice_the_deferral(lab: Lab, files: list[str]) -> None:
    commit = push(lab, lab.repo(), files, wait=False).run()["commit"]
    not_before = time.time() + 0.5
    trigger = CommitSetTrigger(
        pachyderm_conn_id=lab.conn_id, commit_set=commit, deadline=not_before + 60, poll_interval=0.1, not_before=not_before
    )
    event = fire(again(trigger))
    assert time.time() >= not_before
    assert event.payload["end"] == "finished"


def test_what_a_dead_task_left_open_is_dropped_and_that_of_a_living_one_is_not(lab: Lab, files: list[str]) -> None:
    repo = lab.repo()
    dead = left_open(lab, repo, state="failed")
    pushing = push(lab, repo, files)
    pushing.ti.others = [dead]
    pushed = pushing.run()["commit"]
    assert lab.commits(repo) == [pushed]

    living = left_open(lab, repo, state="running")
    pushing = push(lab, repo, files[:1], branch_timeout=0.1)
    pushing.ti.others = [living]
    with pytest.raises(PachydermConflictError, match="is open for more than"):
        pushing.run()
    assert len(lab.commits(repo)) == 2


def left_open(lab: Lab, repo: str, *, state: str) -> TaskInstance:
    """A task instance that opened a commit and came no further."""
    ti = TaskInstance("push", run_id="a run", map_index=3, state=state)
    owner = TaskOwner({"ti": ti})  # type: ignore[typeddict-item]
    text = f"[airflow:{owner.name}#0123456789abcdef] 1 files, try 01234567 by {owner.name}"
    owner.opened(lab.pfs.start_commit_once(repo, "master", text))
    return ti


def test_the_server_reads_the_files_itself(lab: Lab, files: list[str]) -> None:
    repo = lab.repo()
    with ImageSite(Path(files[0]).parent) as site:
        pushing = push(lab, repo, [f"{site.url}/{Path(file).name}" for file in files], server_side=True)
        try:
            result = pushing.run()
        except PachydermError as exc:
            if lab.target.dialect:
                raise
            left, why = lab.commits(repo), f"the server cannot read from this machine: {exc}"
            pytest.skip(why) if not left else pytest.fail(f"{left} is left, but {why}")
    assert (result["files"], result["bytes"]) == (3, 0)
    assert lab.read(repo, "/b.txt") == b"b.txt"


# Repos and files


def test_repos_are_created_and_deleted(lab: Lab) -> None:
    repo = lab.name()
    assert [task(lab, PachydermCreateRepoOperator, repo=repo).run() for _ in range(2)] == [True, False]
    for _ in range(2):
        task(lab, PachydermDeleteRepoOperator, repo=repo).run()
    with pytest.raises(PachydermNotFoundError):
        lab.pfs.head(repo)
    with pytest.raises(PachydermInvalidError, match="alphanumeric"):
        task(lab, PachydermCreateRepoOperator, repo="no/slash").run()


def test_put_file_commits_only_what_differs(lab: Lab, files: list[str]) -> None:
    repo = lab.repo()
    put = {"kind": PachydermPutFileOperator, "repo": repo, "path": "/rule.json", "source": files[0]}
    first, second = task(lab, **put).run(), task(lab, **put).run()
    Path(files[0]).write_text("other")
    third = task(lab, **put).run()

    assert second is None
    assert lab.commits(repo) == [third, first]
    assert lab.read(repo, "/rule.json") == b"other"


def test_put_file_drops_what_an_earlier_try_left_before_it_compares(lab: Lab, files: list[str]) -> None:
    repo = lab.repo()
    putting = task(lab, PachydermPutFileOperator, repo=repo, path="/a", source=files[0])
    left = lab.pfs.start_commit_once(repo, "master", f"[airflow:dag/{putting.ti.run_id}/task/-1#0123456789abcdef] 1 files")
    commit = putting.run()
    assert (lab.commits(repo), commit != left.commit_set) == ([commit], True)


def test_files_are_deleted_and_a_cleared_deletion_deletes_what_came_back(lab: Lab, files: list[str]) -> None:
    repo = lab.repo()
    push(lab, repo, files).run()
    delete = task(lab, PachydermDeleteFileOperator, repo=repo, paths=["/a.txt", "/nowhere"], missing_ok=True)
    first, retried = delete.run(), delete.run()
    assert retried == first
    assert set(lab.files(repo)) == {"/b.txt", "/c.txt"}
    task(lab, PachydermPutFileOperator, repo=repo, path="/a.txt", text="back").run()
    delete.run()
    assert set(lab.files(repo)) == {"/b.txt", "/c.txt"}


def test_files_are_got(lab: Lab, files: list[str], tmp_path: Path) -> None:
    repo = lab.repo()
    push(lab, repo, files).run()
    one = task(lab, PachydermGetFileOperator, repo=repo, path="/a.txt", target=f"{tmp_path}/new/one").run()
    many = task(lab, PachydermGetFileOperator, repo=repo, path="/*", target=f"{tmp_path}/many/").run()
    assert [Path(url).read_text() for url in (*one, *many)] == ["a.txt", "a.txt", "b.txt", "c.txt"]
    with pytest.raises(PachydermNotFoundError, match=r"has no file /none"):
        task(lab, PachydermGetFileOperator, repo=repo, path="/none", target=f"{tmp_path}/x").run()
    with pytest.raises(PachydermInvalidError, match=r"matches 3 files; let target .* end in a slash"):
        task(lab, PachydermGetFileOperator, repo=repo, path="/*", target=f"{tmp_path}/x").run()


# Pipelines and secrets


def test_pipelines_are_created_once_and_updated_when_their_spec_differs(lab: Lab, tmp_path: Path) -> None:
    one, two = lab.name("one"), lab.name("two")

    def create(*names: str, update: bool = True, **fields: Any) -> Any:
        cron = {"cron": {"name": "tick", "spec": "@never"}}
        specs = [
            {"pipeline": {"name": name}, "input": cron, "transform": {"cmd": ["true"], "image": lab.target.image}, **fields}
            for name in names
        ]
        (tmp_path / "spec.json").write_text(json.dumps(specs))
        return task(lab, PachydermCreatePipelineOperator, spec=str(tmp_path / "spec.json"), update=update).run()

    assert create(one, two) == {one: "created", two: "created"}
    assert create(one, two) == {one: "unchanged", two: "unchanged"}
    assert create(one, description="new") == {one: "updated"}
    assert [lab.inspect_pipeline(name).version for name in (one, two)] == [2, 1]
    assert lab.inspect_pipeline(one).details.metadata.annotations[SPEC_DIGEST]
    with pytest.raises(PachydermConflictError, match="already exists"):
        create(two, update=False, description="new")
    with pytest.raises(PachydermInvalidError, match=r"Pipeline spec .*/spec\.json: .*paralelism"):
        create(lab.name(), paralelism=3)


def test_a_spec_that_reads_a_missing_repo_names_both(lab: Lab, tmp_path: Path) -> None:
    spec = {"pipeline": {"name": lab.name()}, "input": {"pfs": {"repo": "nowhere", "glob": "/*"}}, "transform": {"cmd": ["true"]}}
    (tmp_path / "p.json").write_text(json.dumps(spec))
    with pytest.raises(PachydermNotFoundError, match=r"create pipeline .* from .*p\.json.*nowhere"):
        task(lab, PachydermCreatePipelineOperator, spec=str(tmp_path / "p.json")).run()


def test_pipelines_are_stopped_started_ticked_and_deleted(lab: Lab) -> None:
    name = lab.pipeline({"cron": {"name": "tick", "spec": "@never"}}, "true")

    task(lab, PachydermStopPipelineOperator, pipeline=name).run()
    assert lab.inspect_pipeline(name).stopped
    task(lab, PachydermPipelineStateSensor, pipeline=name, states=["paused"], poke_interval=0.1).run()
    task(lab, PachydermStartPipelineOperator, pipeline=name).run()
    assert not lab.inspect_pipeline(name).stopped
    task(lab, PachydermRunCronOperator, pipeline=name).run()
    assert len(lab.files(f"{name}_tick")) == 1
    for _ in range(2):
        task(lab, PachydermDeletePipelineOperator, pipeline=name).run()
    assert lab.pps.inspect_pipeline(name) is None
    with pytest.raises(PachydermNotFoundError):
        task(lab, PachydermStartPipelineOperator, pipeline=name).run()


def test_a_tick_needs_a_cron_input(lab: Lab) -> None:
    with pytest.raises(PachydermInvalidError, match="cron input"):
        task(lab, PachydermRunCronOperator, pipeline=lab.pipeline(lab.repo())).run()


def test_a_secret_comes_from_a_connection_and_is_replaced(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps({"conn_type": "http", "password": "SG.key", "extra": {"region": "eu"}}))
    fields = {"SENDGRID_API_KEY": "password", "REGION": "extra.region"}
    secret = lab.secret_name()
    for _ in range(2):
        task(lab, PachydermCreateSecretOperator, secret=secret, source_conn_id="mail", fields=fields).run()
    assert lab.client.inspect_secret(secret).secret.name == secret
    with pytest.raises(PachydermInvalidError, match=r"Connection mail has no value in extra\.zone"):
        task(lab, PachydermCreateSecretOperator, secret=secret, source_conn_id="mail", fields={"Z": "extra.zone"}).run()


# Waiting for others' work


@DONE
def test_somebody_elses_commit_is_waited_for(workers: Lab, deferrable: bool) -> None:
    lab = workers
    repo = lab.repo()
    name = lab.pipeline(repo)
    commit = lab.put(repo, {"/a": "a"})
    waits = {"deferrable": deferrable, "defer_after": 0, "poll_interval": 0.1, "wait_timeout": lab.target.wait_seconds}

    assert task(lab, PachydermWaitForCommitOperator, commit_set=commit, **waits).run()[name]["state"] == "success"


@DONE
@pytest.mark.parametrize("kind", [PachydermWaitForCommitOperator, PachydermJobSensor])
def test_a_commit_that_is_not_there_is_no_success(lab: Lab, kind: type[Any], deferrable: bool) -> None:
    with pytest.raises(PachydermNotFoundError, match=NO_ID):
        task(lab, kind, commit_set=NO_ID, deferrable=deferrable).run()


def test_a_commit_that_is_deleted_during_the_wait_is_no_success(workers: Lab) -> None:
    lab = workers
    repo = lab.repo()
    lab.pipeline(repo, "sleep 1000")
    commit = lab.put(repo, {"/a": ""})
    waiting = task(lab, PachydermWaitForCommitOperator, commit_set=commit, defer_after=0, poll_interval=0.1)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.call("execute", waiting.context)
    lab.pfs.drop_commit_set(commit)
    trigger = again(deferred.value.trigger)
    trigger.not_before = 0.0  # type: ignore[attr-defined]
    with pytest.raises(PachydermError, match=commit):
        waiting.call("execute_complete", waiting.context, fire(trigger).payload)


@DONE
def test_the_job_sensor(workers: Lab, deferrable: bool) -> None:
    lab = workers
    repo = lab.repo()
    name = lab.pipeline(repo, "test ! -e /pfs/in/bad")
    waits = {"deferrable": deferrable, "poke_interval": 0.1, "timeout": lab.target.wait_seconds}
    good = lab.put(repo, {"/good": ""})
    task(lab, PachydermJobSensor, commit_set=good, pipeline=name, **waits).run()
    bad = lab.put(repo, {"/bad": ""})
    with pytest.raises(PachydermJobError, match=f"{name} failure"):
        task(lab, PachydermJobSensor, commit_set=bad, **waits).run()
    with pytest.raises(PachydermNotFoundError, match="has no job of pipeline edges"):
        task(lab, PachydermJobSensor, commit_set=good, pipeline="edges", **waits).run()


@DONE
def test_the_commit_sensor_waits_for_the_next_commit(lab: Lab, deferrable: bool) -> None:
    repo = lab.repo()
    first = lab.put(repo, {"/a": ""})
    sensor = {"kind": PachydermCommitSensor, "repo": repo, "poke_interval": 0.1, "deferrable": deferrable}
    assert value_of(task(lab, **sensor, after="").run()) == {"commit": first}
    with pytest.raises(Exception, match=rf"Still waiting for a new commit on {repo}@master after 0 s|timed out"):
        task(lab, **sensor, timeout=0.3).run()
    second = lab.start(repo)
    with pytest.raises(Exception, match=r"waiting|timed out"):  # an open one is no news
        task(lab, **sensor, after=first, timeout=0.3).run()
    lab.finish(repo, second)
    assert value_of(task(lab, **sensor, after=first).run()) == {"commit": second}


@DONE
def test_the_file_sensor(lab: Lab, deferrable: bool) -> None:
    repo = lab.repo()
    sensor = {"kind": PachydermFileSensor, "repo": repo, "path": "/b*", "poke_interval": 0.1, "deferrable": deferrable}
    with pytest.raises(Exception, match=r"waiting|timed out"):
        task(lab, **sensor, timeout=0.3).run()
    commit = lab.put(repo, {"/a": "", "/b.txt": ""})
    assert value_of(task(lab, **sensor).run()) == {"commit": commit, "path": "/b.txt"}


@DONE
def test_the_pipeline_sensor(workers: Lab, deferrable: bool) -> None:
    lab = workers
    name = lab.pipeline(lab.repo())
    sensor = {"kind": PachydermPipelineStateSensor, "poke_interval": 0.1, "deferrable": deferrable, "timeout": lab.target.wait_seconds}
    assert value_of(task(lab, **sensor, pipeline=name).run())["state"] in ("running", "standby")
    with pytest.raises(PachydermNotFoundError):
        task(lab, **sensor, pipeline="nowhere").run()


def value_of(found: Any) -> Any:
    """What a sensor gives: in a poll it comes wrapped."""
    return getattr(found, "xcom_value", found)


# The hook


def test_the_test_button(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    ok, text = PachydermHook(lab.conn_id).test_connection()
    assert (ok, f"{lab.version[0]}.{lab.version[1]}" in text) == (True, True), text
    there = json.loads(PachydermHook.get_connection(lab.conn_id).as_json())
    there["extra"] = json.dumps({"tls": lab.target.tls, "ca_pem": lab.target.ca_pem or None, "project": f"{lab.project}-none"})
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps(there))
    ok, text = PachydermHook("elsewhere").test_connection()
    assert (ok, f"{lab.project}-none" in text) == (False, True), text


def test_the_clients_own_face_is_there_for_all_else(lab: Lab) -> None:
    repo = lab.repo()
    assert repo in [info.repo.name for info in PachydermHook(lab.conn_id).get_conn().list_repo()]


def test_jobs_are_seen_and_stopped_by_the_client(workers: Lab) -> None:
    lab = workers
    repo = lab.repo()
    name = lab.pipeline(repo, "sleep 1000")
    commit = lab.put(repo, {"/a": ""})
    assert [(job.pipeline, job.job) for job in lab.pps.inspect_job_set(commit)] == [(name, commit)]
    assert lab.pps.stop_jobs(commit, reason="enough") == [name]
    assert lab.job(name, commit).state in TERMINAL
    assert lab.pps.stop_jobs(commit, reason="again") == []
