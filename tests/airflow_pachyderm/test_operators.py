"""The operators against the real engine, deferred and not."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_pachyderm.exceptions import (
    PachydermConflictError,
    PachydermError,
    PachydermInvalidError,
    PachydermNotFoundError,
    PachydermSourceError,
    PachydermUnavailableError,
)
from airflow_pachyderm.files import SourceFile, write_manifest
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.operators.file import PachydermDeleteFileOperator, PachydermGetFileOperator, PachydermPutFileOperator
from airflow_pachyderm.operators.owner import TaskOwner
from airflow_pachyderm.operators.pipeline import (
    PachydermCreatePipelineOperator,
)
from airflow_pachyderm.operators.push import PachydermPushOperator
from airflow_pachyderm.operators.repo import PachydermWaitForCommitOperator
from airflow_pachyderm.sensors.commit import PachydermCommitSensor, PachydermFileSensor
from airflow_pachyderm.sensors.job import PachydermJobSensor
from airflow_pachyderm.sensors.pipeline import PachydermPipelineStateSensor
from tests.airflow_pachyderm.scripted_pachd import ScriptedPachd, pfs_pb2, pps_pb2
from tests.airflow_pachyderm.tasks import Task, TaskInstance
from tests.airflow_pachyderm.test_push import InThread, logged
from tests.e2e.site import ImageSite
from tests.support import BOTH_DIALECTS, Engine

DONE = pytest.mark.parametrize("deferrable", [True, False], ids=["deferred", "polling"])


@pytest.fixture(autouse=True)
def connection(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Airflow connection, as a person would set it in the environment."""
    host, _, port = engine.address.rpartition(":")
    monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port)}))


@pytest.fixture
def hook() -> Iterator[PachydermHook]:
    hook = PachydermHook()
    yield hook
    hook.server.close()


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(name)
    return [str(tmp_path / name) for name in ("a.txt", "b.txt", "c.txt")]


def pipeline(hook: PachydermHook, repo: str, *, stdin: str = "cp $PFS_ROOT/*/* $PFS_ROOT/out/", **fields: Any) -> str:
    """A pipeline that reads the repo; it copies each file, or does what ``stdin`` says."""
    name = f"{repo}-copy"
    source = {"pfs": {"repo": repo, "name": "in", "glob": "/*"}}
    stdin = stdin.replace("$PFS_ROOT/*/*", "$PFS_ROOT/in/*")
    spec = {"pipeline": {"name": name}, "input": source, "transform": {"cmd": ["sh"], "stdin": [stdin]}, **fields}
    hook.pps.create_pipeline(spec, name="test")
    return name


# Push


def test_jobs_that_end_at_once_are_waited_for_in_the_worker(hook: PachydermHook, repo: str, files: list[str]) -> None:
    pipeline(hook, repo)
    task = Task(PachydermPushOperator(task_id="push", repo=repo, files=files))

    task.run()

    assert not task.triggers


def test_a_run_waits_for_the_same_push_of_another_run(hook: PachydermHook, repo: str, files: list[str], tmp_path: Path) -> None:
    """A night that somebody starts by hand while the scheduler's run is pushing it. Each would drop the other's open commit."""
    with ImageSite(tmp_path) as site:
        urls = [f"{site.url}/{Path(file).name}" for file in files]
        scheduled, by_hand = (Task(PachydermPushOperator(task_id="push", repo=repo, files=urls, batch_key="2026-11-22")) for _ in range(2))
        by_hand.ti.run_id = "manual__later"
        by_hand.ti.others = [scheduled.ti]
        site.stall_on("b.txt")
        first = InThread(scheduled.run)
        assert site.stalled.wait(60)
        with logged("airflow_pachyderm.client.push", "Waiting for commit") as waiting:
            second = InThread(by_hand.run)
            assert waiting.wait(10)
        site.resume()

        results = first.result(), second.result()

    assert [result["reused"] for result in results] == [False, True]
    assert {result["commit"] for result in results} == {commit.commit_set for commit in hook.pfs.list_commits(repo)}


def test_a_run_that_has_not_noted_its_commit_yet_is_not_taken_for_dead(hook: PachydermHook, repo: str, files: list[str]) -> None:
    """Between the opening and the note of it in the XCom another run may look."""
    by_hand = Task(PachydermPushOperator(task_id="push", repo=repo, files=files, batch_key="2026-11-22"))
    scheduled = TaskInstance("push", run_id="scheduled")
    by_hand.ti.others = [scheduled]
    name = TaskOwner({"ti": scheduled}).name  # type: ignore[typeddict-item]
    opened = hook.pfs.start_commit_once(repo, "master", f"[airflow:2026-11-22#0123456789abcdef] 3 files, try 01234567 by {name}")
    with logged("airflow_pachyderm.client.push", "Waiting for commit") as waiting:
        second = InThread(by_hand.run)
        assert waiting.wait(30)
    hook.pfs.finish_commit(opened)

    assert second.result()["commit"] == hook.pfs.head(repo).commit_set
    assert opened.commit_set in [commit.commit_set for commit in hook.pfs.list_commits(repo)]


@pytest.mark.parametrize(
    ("fields", "run_due", "reused"),
    [
        ({}, timedelta(days=-400), True),  # the run of an old night, cleared long after
        ({}, timedelta(hours=23), True),  # the server's clock is behind
        ({}, timedelta(hours=25), False),  # what is older than the run cannot be its own, and is not looked at
        ({"batch_key": "2026-11-22"}, timedelta(hours=25), True),  # any run may have pushed this
    ],
)
def test_a_try_looks_for_earlier_ones_as_far_back_as_there_can_be_any(
    repo: str, files: list[str], fields: dict[str, str], run_due: timedelta, reused: bool
) -> None:
    task = Task(PachydermPushOperator(task_id="push", repo=repo, files=files, **fields))
    task.run()
    task.dag_run.run_after += run_due

    assert task.run()["reused"] is reused


@DONE
def test_a_push_keeps_its_execution_timeout_and_stops_its_jobs(hook: PachydermHook, repo: str, files: list[str], deferrable: bool) -> None:
    """Also deferred, where Airflow leaves that to the operator."""
    pipeline(hook, repo, stdin="sleep 1000")
    task = Task(
        PachydermPushOperator(
            task_id="push", repo=repo, files=files[:1], deferrable=deferrable, defer_after=0, execution_timeout=timedelta(seconds=1.5)
        )
    )

    with pytest.raises(AirflowTaskTimeout):
        task.run()

    assert [job.state for job in hook.pps.inspect_job_set(task.ti.xcoms["commit"])] == ["killed"]
    assert len(task.triggers) == deferrable


@DONE
@pytest.mark.parametrize("kind", [PachydermWaitForCommitOperator, PachydermJobSensor])
def test_a_wait_for_others_keeps_its_execution_timeout_and_leaves_their_jobs(
    hook: PachydermHook, repo: str, files: list[str], kind: type[Any], deferrable: bool
) -> None:
    pipeline(hook, repo, stdin="sleep 1000")
    commit = Task(PachydermPushOperator(task_id="push", repo=repo, files=files[:1], wait=False)).run()["commit"]
    fields = {"defer_after": 0} if kind is PachydermWaitForCommitOperator else {}
    wait = Task(kind(task_id="wait", commit_set=commit, deferrable=deferrable, execution_timeout=timedelta(seconds=1), **fields))

    with pytest.raises(AirflowTaskTimeout):
        wait.run()

    assert hook.pps.stop_jobs(commit, reason="the end of the test") == [f"{repo}-copy"]
    assert len(wait.triggers) == deferrable


@DONE
def test_a_sensor_keeps_its_execution_timeout(repo: str, deferrable: bool) -> None:
    sensor = Task(
        PachydermFileSensor(
            task_id="s", repo=repo, path="/never", deferrable=deferrable, poke_interval=0.1, execution_timeout=timedelta(seconds=1)
        )
    )

    with pytest.raises(AirflowTaskTimeout):
        sensor.run()

    assert len(sensor.triggers) == deferrable


def test_the_server_reads_the_files_itself_when_a_template_says_so(hook: PachydermHook, repo: str, files: list[str]) -> None:
    push = Task(PachydermPushOperator(task_id="push", repo=repo, files=files, server_side="True")).run()

    assert (push["files"], push["bytes"]) == (3, 0)
    assert hook.pfs.read_file(repo, "master", "/b.txt") == b"b.txt"


def test_what_the_server_cannot_read_is_named_and_leaves_no_commit(hook: PachydermHook, repo: str, files: list[str]) -> None:
    Path(files[1]).unlink()

    with pytest.raises(PachydermError, match=r"b\.txt"):
        Task(PachydermPushOperator(task_id="push", repo=repo, files=files, server_side=True)).run()

    assert hook.pfs.list_commits(repo) == []


def test_a_flag_that_is_none_is_refused(repo: str, files: list[str]) -> None:
    with pytest.raises(PachydermInvalidError, match="server_side is 'maybe'; give true or false"):
        Task(PachydermPushOperator(task_id="push", repo=repo, files=files, server_side="maybe")).run()


@pytest.mark.parametrize("state", ["up_for_retry", "success"])
def test_what_a_dead_task_left_open_is_dropped_by_the_next_push(hook: PachydermHook, repo: str, files: list[str], state: str) -> None:
    dead = left_open(hook, repo, state=state)
    task = Task(PachydermPushOperator(task_id="push", repo=repo, files=files))
    task.ti.others = [dead]

    pushed = task.run()["commit"]

    assert [commit.commit_set for commit in hook.pfs.list_commits(repo)] == [pushed]


def test_what_another_airflow_has_open_is_left_alone(hook: PachydermHook, repo: str, files: list[str]) -> None:
    """It may have runs and tasks of the same names, which say nothing about ours."""
    left_open(hook, repo, state="running")
    namesake = TaskInstance("push", run_id="a run", map_index=3, state="failed", xcoms={"open_commit": "f" * 32})
    task = Task(PachydermPushOperator(task_id="push", repo=repo, files=files, branch_timeout=0.1))
    task.ti.others = [namesake]

    with pytest.raises(PachydermConflictError, match="is open for more than"):
        task.run()


def left_open(hook: PachydermHook, repo: str, *, state: str) -> TaskInstance:
    """A task instance that opened a commit and came no further."""
    ti = TaskInstance("push", run_id="a run", map_index=3, state=state)
    owner = TaskOwner({"ti": ti})  # type: ignore[typeddict-item]
    owner.opened(
        hook.pfs.start_commit_once(repo, "master", f"[airflow:{owner.name}#0123456789abcdef] 1 files, try 01234567 by {owner.name}")
    )
    return ti


def test_a_manifest_is_pushed(repo: str, files: list[str], tmp_path: Path) -> None:
    manifest = str(tmp_path / "m.jsonl")
    write_manifest(manifest, [SourceFile("/x/1", files[0], 5), SourceFile("/x/2", files[1], 5)])

    assert Task(PachydermPushOperator(task_id="push", repo=repo, manifest=manifest)).run()["files"] == 2


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({}, PachydermInvalidError, "either files or a manifest"),
        ({"files": ["/a"], "manifest": "/m"}, PachydermInvalidError, "either files or a manifest"),
        ({"files": "/a.jpg"}, PachydermInvalidError, "files is the text '/a.jpg'"),
        ({"files": []}, PachydermSourceError, "nothing to push: the list of files is empty"),
        ({"manifest": "/nowhere/m.jsonl"}, PachydermSourceError, "Cannot read manifest /nowhere/m.jsonl"),
        ({"files": ["/nowhere/a.jpg"]}, PachydermSourceError, "Cannot read /nowhere/a.jpg"),
    ],
)
def test_what_cannot_be_pushed_is_named(
    repo: str, hook: PachydermHook, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Task(PachydermPushOperator(task_id="push", repo=repo, **fields)).run()

    assert hook.pfs.list_commits(repo) == []


# Repos and files


def test_put_file_takes_text(hook: PachydermHook, repo: str) -> None:
    Task(PachydermPutFileOperator(task_id="put", repo=repo, path="note", text="grüße")).run()

    assert hook.pfs.read_file(repo, "master", "/note").decode() == "grüße"


def test_put_file_by_the_server(hook: PachydermHook, repo: str, files: list[str]) -> None:
    from tests.e2e.site import ImageSite

    with ImageSite(Path(files[0]).parent) as site:
        Task(PachydermPutFileOperator(task_id="put", repo=repo, path="/a", source=f"{site.url}/a.txt", server_side=True)).run()

    assert hook.pfs.read_file(repo, "master", "/a") == b"a.txt"


@pytest.mark.parametrize(
    ("paths", "left"),
    [
        (["/dev*_1511*.jpg"], ["/a.txt", "/dev3_1600.jpg", "/logs/"]),
        (["/dev{1,3}_*", "/a.txt"], ["/dev2_1511.jpg", "/logs/"]),
        (["/log*/"], ["/a.txt", "/dev1_1511.jpg", "/dev2_1511.jpg", "/dev3_1600.jpg"]),
        (["/logs/**"], ["/a.txt", "/dev1_1511.jpg", "/dev2_1511.jpg", "/dev3_1600.jpg"]),
        (["/"], []),
    ],
)
@BOTH_DIALECTS
def test_delete_files_by_glob(hook: PachydermHook, repo: str, files: list[str], paths: list[str], left: list[str]) -> None:
    put = ("/a.txt", "/dev1_1511.jpg", "/dev2_1511.jpg", "/dev3_1600.jpg", "/logs/1", "/logs/2/3")
    Task(PachydermPushOperator(task_id="push", repo=repo, files=dict.fromkeys(put, files[0]))).run()
    delete = Task(PachydermDeleteFileOperator(task_id="delete", repo=repo, paths=paths))

    commit = delete.run()

    assert [entry.path for entry in hook.pfs.glob_files(repo, "master", "/*")] == left
    assert delete.run() == commit  # cleared: nothing came back


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        (["/a.txt", "/dev*.jpg"], PachydermNotFoundError, r"has nothing to delete that matches /dev\*\.jpg"),
        (["/nowhere"], PachydermNotFoundError, "has nothing to delete that matches /nowhere"),
        (["/a.txt/"], PachydermNotFoundError, "has nothing to delete that matches /a.txt/"),
        (["/log*"], PachydermInvalidError, r"/log\* matches only directories in .*, for example /logs/; end it in a slash"),
    ],
)
@BOTH_DIALECTS
def test_a_deletion_that_would_do_nothing_fails(
    hook: PachydermHook, repo: str, files: list[str], paths: list[str], error: type[Exception], message: str
) -> None:
    pushed = Task(PachydermPushOperator(task_id="push", repo=repo, files={"/a.txt": files[0], "/logs/1": files[0]})).run()

    with pytest.raises(error, match=message):
        Task(PachydermDeleteFileOperator(task_id="delete", repo=repo, paths=paths)).run()

    assert [commit.commit_set for commit in hook.pfs.list_commits(repo)] == [pushed["commit"]]
    assert len(hook.pfs.glob_files(repo, "master", "/*")) == 2


@pytest.mark.parametrize("paths", ["/a.txt", "['/a.txt']", [""], ["/a.txt", ""]])
def test_a_text_for_a_list_of_paths_deletes_nothing(hook: PachydermHook, repo: str, files: list[str], paths: Any) -> None:
    """Its letters would be paths; one of them is / , which is all files. So would be the empty text of a template."""
    Task(PachydermPushOperator(task_id="push", repo=repo, files=files)).run()

    with pytest.raises(PachydermInvalidError, match="Task delete must be given a list of paths"):
        Task(PachydermDeleteFileOperator(task_id="delete", repo=repo, paths=paths)).run()

    assert len(hook.pfs.glob_files(repo, "master", "/*")) == 3


def test_files_of_one_name_do_not_overwrite_each_other(hook: PachydermHook, repo: str, files: list[str], tmp_path: Path) -> None:
    put = {"/dev1/7.json": files[0], "/dev2/7.json": files[1]}
    Task(PachydermPushOperator(task_id="push", repo=repo, files=put)).run()

    with pytest.raises(PachydermInvalidError, match=r"/dev1/7.json and /dev2/7.json would both become .*/got/7.json"):
        Task(PachydermGetFileOperator(task_id="get", repo=repo, path="/*/*.json", target=f"{tmp_path}/got/")).run()

    assert not (tmp_path / "got").exists()


def test_a_file_that_cannot_be_got_leaves_the_one_that_was_there(
    repo: str, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*_: object) -> Iterator[bytes]:
        yield b"half of the n"
        raise PachydermUnavailableError("the server is gone")

    Task(PachydermPushOperator(task_id="push", repo=repo, files=files)).run()
    folder = tmp_path / "got"
    folder.mkdir()
    (folder / "plot").write_text("of last night")
    get = PachydermGetFileOperator(task_id="get", repo=repo, path="/a.txt", target=f"{folder}/plot")
    monkeypatch.setattr(get.hook.pfs, "read_blocks", half)

    with pytest.raises(PachydermUnavailableError):
        Task(get).run()

    assert {path.name: path.read_text() for path in folder.iterdir()} == {"plot": "of last night"}


# Pipelines


def spec_file(tmp_path: Path, *names: str, **fields: Any) -> str:
    specs = [
        {"pipeline": {"name": name}, "input": {"cron": {"name": "tick", "spec": "@every 1000h"}}, "transform": {"cmd": ["true"]}, **fields}
        for name in names
    ]
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(specs))
    return str(path)


def create(spec: str, **fields: Any) -> dict[str, str]:
    done: dict[str, str] = Task(PachydermCreatePipelineOperator(task_id="create", spec=spec, **fields)).run()
    return done


def test_the_content_of_a_spec_file_can_be_a_template(hook: PachydermHook, repo: str, tmp_path: Path) -> None:
    spec = {
        "pipeline": {"name": f"{repo}-p"},
        "input": {"pfs": {"repo": repo, "glob": "{{ params.glob }}"}},
        "transform": {"cmd": ["true"]},
    }
    (tmp_path / "p.json").write_text(json.dumps(spec))
    task = Task(PachydermCreatePipelineOperator(task_id="t", spec=str(tmp_path / "p.json"), render=True))

    assert task.call("execute", {**task.context, "params": {"glob": "/*.jpg"}}) == {f"{repo}-p": "created"}

    assert glob_of(hook, f"{repo}-p") == "/*.jpg"


def test_a_template_with_an_unknown_name_creates_nothing(hook: PachydermHook, repo: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"pipeline": {"name": "{{ nobody.knows }}"}}')

    with pytest.raises(PachydermInvalidError, match=r"p\.json cannot be rendered: 'nobody' is undefined"):
        Task(PachydermCreatePipelineOperator(task_id="t", spec=str(tmp_path / "p.json"), render=True)).run()


def test_a_spec_can_be_written_in_the_dag(hook: PachydermHook, repo: str) -> None:
    spec = {"pipeline": {"name": f"{repo}-p"}, "input": {"pfs": {"repo": repo, "glob": "{{ glob }}"}}, "transform": {"cmd": ["true"]}}
    task = Task(PachydermCreatePipelineOperator(task_id="t", spec=spec))
    task.operator.render_template_fields({"glob": "/*.png"})  # type: ignore[typeddict-item]

    assert task.run() == {f"{repo}-p": "created"}

    assert glob_of(hook, f"{repo}-p") == "/*.png"


def glob_of(hook: PachydermHook, pipeline: str) -> str:
    from airflow_pachyderm.client.protocol import pps_pb2

    request = pps_pb2.InspectPipelineRequest(pipeline=pps_pb2.Pipeline(name=pipeline), details=True)
    return str(hook.server.stubs.pps.InspectPipeline(request).details.input.pfs.glob)


# Waiting for others' work


@DONE
@pytest.mark.parametrize("kind", [PachydermWaitForCommitOperator, PachydermJobSensor])
@pytest.mark.parametrize("commit_set", ["", "None", "master"])
def test_what_is_no_id_is_not_waited_for(kind: type[Any], commit_set: str, deferrable: bool) -> None:
    """A template without a value. To some servers the empty id is all commits."""
    with pytest.raises(PachydermInvalidError, match="is no id of a commit set"):
        Task(kind(task_id="wait", commit_set=commit_set, deferrable=deferrable)).run()


@DONE
@pytest.mark.parametrize("kind", [PachydermWaitForCommitOperator, PachydermJobSensor])
def test_a_server_that_knows_no_jobs_of_an_unknown_commit_is_asked_for_the_commit(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], deferrable: bool
) -> None:
    with ScriptedPachd() as pachd:
        there = {"conn_type": "pachyderm", "host": "127.0.0.1", "port": pachd.port}
        monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps(there))
        pachd.script("InspectJobSet", [])
        pachd.script("InspectCommitSet", (grpc.StatusCode.NOT_FOUND, "no commits found for commitset"))

        with pytest.raises(PachydermNotFoundError, match="no commits found"):
            Task(kind(task_id="wait", commit_set="a" * 32, deferrable=deferrable)).run()


def test_a_commit_sensor_that_starts_anew_for_each_look_must_be_told_what_is_known() -> None:
    """Each start would take the commit that came since the last one for known, and wait for ever."""
    with pytest.raises(PachydermInvalidError, match="Sensor s in mode reschedule needs after"):
        PachydermCommitSensor(task_id="s", repo="r", deferrable=False, mode="reschedule")

    PachydermCommitSensor(task_id="s", repo="r", after="", deferrable=False, mode="reschedule")


@DONE
def test_a_server_that_is_away_for_a_moment_ends_no_wait(monkeypatch: pytest.MonkeyPatch, deferrable: bool) -> None:
    with ScriptedPachd() as pachd:
        there = {"conn_type": "pachyderm", "host": "127.0.0.1", "port": pachd.port}
        monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps(there))
        running = pps_pb2.PipelineInfo(state=pps_pb2.PipelineState.Value("PIPELINE_RUNNING"))
        pachd.script("InspectPipeline", (grpc.StatusCode.UNAVAILABLE, "restarts"), running)

        found = Task(PachydermPipelineStateSensor(task_id="s", pipeline="edges", deferrable=deferrable, poke_interval=0.1)).run()

    assert getattr(found, "xcom_value", found) == {"state": "running"}


def test_a_server_that_is_away_when_a_task_defers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedPachd() as pachd:
        there = {"conn_type": "pachyderm", "host": "127.0.0.1", "port": pachd.port}
        monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", json.dumps(there))
        pachd.script("InspectJobSet", [], (grpc.StatusCode.UNAVAILABLE, "restarts"), [])
        pachd.script("InspectCommitSet", [pfs_pb2.CommitInfo()])
        wait = Task(PachydermWaitForCommitOperator(task_id="wait", commit_set="a" * 32, defer_after=0))

        assert wait.run() == {}

    assert len(wait.triggers) == 1


# The hook


def test_the_test_button(engine: Engine, monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    assert PachydermHook().test_connection()[0]
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY", json.dumps({"conn_type": "pachyderm", "host": "127.0.0.1", "port": free_port}))
    monkeypatch.setenv("AIRFLOW_CONN_BAD", json.dumps({"conn_type": "pachyderm"}))
    host, _, port = engine.address.rpartition(":")
    monkeypatch.setenv(
        "AIRFLOW_CONN_PROJECT", json.dumps({"conn_type": "pachyderm", "host": host, "port": int(port), "extra": {"project": "none"}})
    )

    answers = {name: PachydermHook(name).test_connection() for name in ("nobody", "bad", "project")}

    assert [ok for ok, _ in answers.values()] == [False, False, False]
    assert "no server answers" in answers["nobody"][1]
    assert "has no host" in answers["bad"][1]
    assert "none" in answers["project"][1]
