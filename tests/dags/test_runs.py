"""What the DAGs' own tasks do, from the folder to the report, against a real server."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_pachyderm.client.push import Push
from airflow_pachyderm.exceptions import PachydermError, PachydermInvalidError, PachydermNotFoundError, PachydermSourceError
from airflow_pachyderm.files import Batch, SourceFile, read_manifest, write_manifest
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.operators.push import PachydermPushOperator
from airflow_pachyderm.specs import load_specs
from dags import settings
from dags.common.bootstrap import plan_bootstrap, put_content
from dags.common.checks import check_rules
from dags.common.failed import tell_failure
from dags.common.images_push import FORBIDDEN, GONE, GROWING, ImagesPushOperator, odd_ones
from dags.common.inputs import without_retries
from dags.common.nightly import plan_night
from dags.common.push_run import finish_run, plan_push, report_push
from dags.common.report import Run
from dags.common.rotation import prepare, set_images_aside
from dags.common.world import warnings_in_use
from stages.common.errors import StageError
from tests.airflow_pachyderm.tasks import DagRun, Task, TaskInstance
from tests.dags.quick_stages import write_images, write_stages
from tests.support_data import DEMO_MODEL

NAMES = ("dev1_1511891098.jpg", "dev1_1511891155.jpg", "dev2_1511891326.jpg", "blah.jpg")


@dataclass
class World:
    """One installation."""

    config: settings.Settings
    hook: PachydermHook
    images: Path

    def context(self, task_id: str = "t", **params: Any) -> dict[str, Any]:
        ti = TaskInstance(task_id)
        defaults = {"source": str(self.images), "glob": "*", "batch_size": 2, "dry_run": False, "action": "put", "reprocess": "all images"}
        return {"ti": ti, "dag_run": DagRun(), "params": {**defaults, **params}}

    def push(self, manifests: list[str], *, run_id: str = "r") -> list[dict[str, Any]]:
        results = []
        for number, manifest in enumerate(manifests):
            task = Task(ImagesPushOperator(task_id="push", repo="images", manifest=manifest, poll_interval=0.1))
            task.ti.map_index, task.ti.run_id = number, run_id
            results.append(task.run())
        return results

    def put(self, repo: str, path: str, content: str) -> str:
        source = self.images.parent / f"{repo}-content"
        source.write_text(content)
        batch = Batch([SourceFile(path, str(source))])
        return Push(self.hook.pfs, repo=repo, branch="master", key=content, batch=batch).run().commit_set


@pytest.fixture
def world(hook: PachydermHook, tmp_path: Path) -> World:
    images = tmp_path / "images"
    images.mkdir()
    for name in NAMES:
        (images / name).write_bytes(name.encode())
    world = World(settings.Settings(results=str(tmp_path / "results"), staging=str(tmp_path / "staging"), sources="/"), hook, images)
    world.put("model", settings.MODEL_PATH, "model")
    world.put("rules", settings.RULES_PATH, "{}")
    return world


# push_images


def test_from_a_folder_to_a_report(world: World) -> None:
    manifests = plan_push(world.context(), world.config)
    pushes = world.push(manifests)

    counts = report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)

    assert len(manifests) == 2
    assert counts["images"] == {"valid": 3, "invalid": 1}
    assert counts["threats"] == {"dev1": 2, "dev2": 1}
    assert counts["classes"] == {"person": 3}
    assert (counts["jobs"]["validate"]["state"], counts["jobs"]["validate"]["processed"]) == ("success", 4)
    assert len(json.dumps(counts)) < 48_000
    folder = Path(counts["summary"]).parent
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["images"]["valid"] == sorted(NAMES[:3])
    assert summary["images"]["reasons"] == {"blah.jpg": "the name"}
    assert summary["detections"]["dev2_1511891326.jpg"][0]["label"] == "person"
    assert {path.name for path in folder.iterdir()} == {"summary.json", "report.md", "threats.png", "annotated"}
    assert sum(1 for path in (folder / "annotated").rglob("*.jpg")) == 3
    assert "| dev1 | 2 |" in (folder / "report.md").read_text()


def test_a_png_and_a_jpeg_of_one_second_are_reported_apart(world: World) -> None:
    (world.images / "dev1_1511891098.png").touch()
    manifests = plan_push(world.context(), world.config)

    counts = report_push(world.context("report"), world.config, manifests=manifests, pushes=world.push(manifests))

    assert (counts["images"], counts["threats"]) == ({"valid": 4, "invalid": 1}, {"dev1": 3, "dev2": 1})
    annotated = Path(counts["summary"]).parent / "annotated/dev1"
    assert {path.name for path in annotated.iterdir()} >= {"1511891098.jpg", "1511891098_png.jpg"}


def test_a_report_is_about_its_own_run(world: World) -> None:
    world.push(plan_push(world.context(), world.config))
    for path in world.images.iterdir():
        path.unlink()
    (world.images / "dev9_1511899999.jpg").touch()
    manifests = plan_push(world.context(), world.config)

    counts = report_push(world.context("report"), world.config, manifests=manifests, pushes=world.push(manifests, run_id="r2"))

    assert (counts["images"], counts["threats"]) == ({"valid": 1, "invalid": 0}, {"dev9": 1})


def test_an_image_that_is_gone_or_still_grows_costs_only_itself(world: World) -> None:
    """Listed, and not what was listed when its batch is pushed; so in each repetition, and in one commit."""
    manifests = plan_push(world.context(batch_size=10), world.config)
    (world.images / NAMES[0]).unlink()
    (world.images / NAMES[1]).write_bytes(b"longer than when it was listed")

    pushes = world.push(manifests)
    again = world.push(manifests)
    counts = report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)

    assert sorted(pushes[0]["left_out"].values()) == sorted([GONE, GROWING])
    assert (again[0]["commit"], again[0]["reused"]) == (pushes[0]["commit"], True)
    assert (counts["files"], counts["images"], counts["passed_over"]) == (2, {"valid": 1, "invalid": 1}, 2)
    summary = json.loads(Path(counts["summary"]).read_text())
    assert {odd["why"]: [name.rpartition("/")[2] for name in odd["names"]] for odd in summary["passed_over"]} == {
        GONE: [NAMES[0]],
        GROWING: [NAMES[1]],
    }
    assert GROWING in Path(counts["summary"]).with_name("report.md").read_text()


def test_a_batch_of_which_nothing_is_left_is_no_failure(world: World) -> None:
    manifests = plan_push(world.context(batch_size=3), world.config)
    (world.images / "blah.jpg").unlink()  # the first in order: with two more a batch
    for file in read_manifest(manifests[1]):
        Path(file.url.removeprefix("file://")).unlink()

    pushes = world.push(manifests)
    counts = report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)

    assert [push["files"] for push in pushes] == [2, 0]
    assert (counts["failed_batches"], counts["files"], counts["passed_over"]) == (0, 2, 2)


@pytest.mark.parametrize("grown", [False, True])
def test_a_run_whose_images_are_all_left_out_is_no_success(world: World, grown: bool) -> None:
    manifests = plan_push(world.context(batch_size=4), world.config)
    for path in world.images.iterdir():
        if grown:
            path.write_bytes(path.read_bytes() + b" and more")
        else:
            path.unlink()
    pushes = world.push(manifests)

    with pytest.raises(PachydermInvalidError, match=f"None of the images .* could be pushed: 4 {GROWING if grown else GONE}, such as"):
        report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)

    if grown:  # of a night the next one takes them
        run = Run("nightly_images", "r", "landing", pushes=pushes, batches=1)
        finish_run(world.context("report"), world.config, run, manifests=manifests, folder=f"{world.config.results}/night", later=True)
        assert last_run(world)["state"] == "success"


def test_a_night_takes_an_image_that_grew_when_it_is_whole(world: World, tmp_path: Path) -> None:
    config = dataclasses.replace(world.config, landing=str(tmp_path / "landing"))
    zone, day = ZoneInfo("UTC"), date(2026, 11, 22)
    write_images(tmp_path / "landing", str(day), *NAMES[:3])
    first = plan_night(config, day, batch_files=10, late_days=7, zone=zone)
    (tmp_path / "landing/2026/11/22" / NAMES[1]).write_bytes(b"longer than when it was listed")

    (push,) = world.push(first.manifests)
    later = plan_night(config, day + timedelta(days=1), batch_files=10, late_days=7, zone=zone)
    (late,) = world.push(later.manifests, run_id="r2")

    assert (push["files"], late["files"], later.late) == (2, 1, {str(day): 1})
    assert len(world.hook.pfs.glob_files("images", "master", "/*")) == 3
    assert world.push(plan_night(config, day, batch_files=10, late_days=7, zone=zone).manifests)[0]["commit"] == push["commit"]


def test_a_file_that_nobody_may_read_costs_only_itself() -> None:
    file = SourceFile("/x.jpg", __file__, None)

    assert odd_ones([file], suspect=file.url, cause=PermissionError("no")) == {file.url: FORBIDDEN}
    assert odd_ones([file], suspect=file.url, cause=OSError("the share does not answer")) == {}


def test_a_run_of_invalid_images_fails_and_names_them_after_its_report_is_written(world: World) -> None:
    for number in range(4):
        (world.images / f"cam {number}.jpg").write_bytes(b"x")
    manifests = plan_push(world.context(batch_size=10), world.config)
    pushes = world.push(manifests)

    with pytest.raises(PachydermInvalidError) as raised:
        report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)

    said = str(raised.value)
    assert said.startswith(
        "5 of 8 images are invalid, more than the setting tuskwatch_max_invalid_share (0.5) allows; most often (5): the name;"
    )
    assert "such as blah.jpg, cam 0.jpg, cam 1.jpg; correct what names or writes the images, or raise the setting; the report is " in said
    assert len(list(Path(world.config.results).rglob("report.md"))) == 1
    run = json.loads(world.hook.pfs.read_file("status", "master", "/runs/dag.json"))
    assert (run["state"], run["images"]) == ("failed", {"valid": 3, "invalid": 5})

    lenient = dataclasses.replace(world.config, max_invalid_share=0.7)
    assert report_push(world.context("report"), lenient, manifests=manifests, pushes=pushes)["images"]["invalid"] == 5


def test_images_that_are_in_no_output_are_not_passed_in_silence(world: World) -> None:
    manifests = plan_push(world.context(batch_size=10), world.config)
    pushes = world.push(manifests)
    for name in NAMES:
        (world.images / name).unlink()
    (world.images / "dev1_1511890000.jpg").write_bytes(b"x")
    Push(world.hook.pfs, repo="images", branch="master", key="empty", batch=Batch(deletes=["/"])).run()
    later = plan_push(world.context(batch_size=10), world.config)
    last = world.push(later, run_id="r2")

    with pytest.raises(PachydermInvalidError, match="4 of 4 images are not in the repo validate any more: push them again"):
        finish_run(
            world.context("report"),
            world.config,
            Run("dag", "r", "there", [{**pushes[0], "commit": last[0]["commit"]}], 1),
            manifests=[_manifest(world, NAMES)],
            folder=str(Path(world.config.results) / "r"),
        )


def _manifest(world: World, names: Sequence[str]) -> str:
    url = f"{world.config.staging}/names.jsonl"
    write_manifest(url, [SourceFile(f"/{name}", str(world.images / name)) for name in names])
    return url


def test_a_folder_whose_images_lie_deeper_says_so(world: World) -> None:
    (world.images / "2026").mkdir()
    for name in NAMES:
        (world.images / name).rename(world.images / "2026" / name)

    with pytest.raises(PachydermSourceError, match=r"4 files lie in subfolders, where only \*\* looks: write \*\*/\* into Which files"):
        plan_push(world.context(), world.config)


def test_what_a_push_passes_over_is_told(world: World) -> None:
    (world.images / "a").mkdir()
    (world.images / "a" / NAMES[0]).write_bytes(b"another")
    (world.images / "round").symlink_to("round")
    context = world.context("list_images", glob="**")

    manifests = plan_push(context, world.config)

    assert len([file for manifest in manifests for file in read_manifest(manifest)]) == 4
    assert [(odd["count"], odd["why"].partition(":")[0]) for odd in context["ti"].xcoms["passed_over"]] == [
        (1, "a link that leads round in a circle"),
        (1, "another file of this name is pushed"),
    ]


def test_a_failed_batch_fails_the_report_after_it_is_written(world: World) -> None:
    manifests = plan_push(world.context(), world.config)
    pushes = world.push(manifests[:1])

    with pytest.raises(PachydermError, match="1 of 2 batches failed: clear their push tasks; the report is"):
        report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)

    (written,) = Path(world.config.results).rglob("report.md")
    assert "**1 of 2 batches failed.**" in written.read_text()


def test_what_airflow_kept_of_batches_that_are_no_more_is_no_batch_of_this_run(world: World) -> None:
    """A listing that is cleared may give fewer batches; Airflow keeps the results of those that it removed."""
    manifests = plan_push(world.context(batch_size=1), world.config)
    pushes = world.push(manifests)
    (world.images / NAMES[0]).unlink()
    manifests = plan_push(world.context(batch_size=1), world.config)

    with pytest.raises(PachydermError, match="1 of 3 batches failed"):
        report_push(world.context("report"), world.config, manifests=manifests, pushes=[*pushes[:2], pushes[3]])


def test_a_report_on_a_commit_that_was_deleted_says_so(world: World) -> None:
    manifests = plan_push(world.context(batch_size=4), world.config)
    pushes = world.push(manifests)
    world.hook.pfs.drop_commit_set(pushes[0]["commit"])

    with pytest.raises(PachydermNotFoundError, match=f"images@master has no commit {pushes[0]['commit']} any more"):
        report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)


def test_a_run_without_results_says_where_to_look(world: World) -> None:
    with pytest.raises(PachydermInvalidError, match="No batch of 1 was pushed"):
        report_push(world.context("report"), world.config, manifests=["m"], pushes=None)
    with pytest.raises(AirflowSkipException, match="the task list_images says why"):
        report_push(world.context("report"), world.config, manifests=None, pushes=None)


def last_run(world: World) -> dict[str, Any]:
    """What the dashboard shows of the DAG's last run."""
    (file,) = world.hook.pfs.glob_files("status", "master", "/runs/*.json")
    found: dict[str, Any] = json.loads(world.hook.pfs.read_file("status", "master", file.path))
    return found


def test_the_first_cause_of_a_run_stays_and_is_what_its_report_names(world: World) -> None:
    manifests = plan_push(world.context(), world.config)
    pushes = world.push(manifests[:1])
    for number in range(2):
        tell_failure(world.context("push") | {"exception": PachydermError(f"cause {number}")})
    assert (last_run(world)["state"], last_run(world)["reason"]) == ("failed", "push: cause 0")

    with pytest.raises(PachydermInvalidError, match=r"No batch of 2 was pushed: push: cause 0"):
        report_push(world.context("report"), world.config, manifests=manifests, pushes=None)
    with pytest.raises(PachydermInvalidError, match="1 of 2 batches failed") as failed:
        report_push(world.context("report"), world.config, manifests=manifests, pushes=pushes)
    tell_failure(world.context("report") | {"exception": failed.value})

    told = last_run(world)
    assert told["reason"] == "1 of 2 batches failed: clear their push tasks; the first one: push: cause 0"
    assert told["report"]  # that of the run, not replaced by the failure of its last task

    report_push(world.context("report"), world.config, manifests=manifests[:1], pushes=pushes)
    assert (last_run(world)["state"], last_run(world)["reason"]) == ("success", "")


def test_the_cause_before_a_run_was_cleared_is_not_the_one_after(world: World) -> None:
    tell_failure(world.context("push") | {"exception": PachydermError("before")})
    cleared = world.context("push") | {"exception": None}
    cleared["dag_run"].start_date = datetime.now(tz=UTC) + timedelta(seconds=2)

    tell_failure(cleared)

    assert last_run(world)["reason"] == "push: it was ended from outside: see its log"


def test_a_failure_that_cannot_be_told_stays_the_failure(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_PACHYDERM_DEFAULT")
    tell_failure(world.context("push") | {"exception": PachydermError("cause")})  # raises nothing


def test_a_changed_time_zone_is_told_to_the_pipelines_that_count_in_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("rules", settings.RULES_PATH, '{"threat_classes": [1]}')
    stages = write_stages(world.images.parent / "shipped")
    monkeypatch.setattr(settings, "TIMEZONE", "Europe/Berlin")
    config = dataclasses.replace(world.config, stages=str(stages))

    (before,) = [warning for warning in warnings_in_use(world.hook) if "TUSKWATCH_TIMEZONE" in warning]
    context = world.context("resolve", model=None, rules=None, replace_model=False, replace_rules=False)
    found = plan_bootstrap(context, dataclasses.replace(config, rules=""))
    for pipeline in settings.PIPELINES:
        (spec,) = load_specs(found[pipeline])
        what = world.hook.pps.create_pipeline(spec, name=pipeline, reprocess_on_change=True)
        assert what == (pipeline, "updated" if pipeline in settings.ZONED else "unchanged")

    assert (
        before == "threat-detect and plot count in UTC, and TUSKWATCH_TIMEZONE is Europe/Berlin: run bootstrap_pipelines, which tells them"
    )
    assert found["warnings"][0].startswith("Days and hours were those of UTC, and are those of Europe/Berlin from now on")
    assert [warning for warning in warnings_in_use(world.hook) if "TUSKWATCH_TIMEZONE" in warning] == []
    assert world.hook.pps.create_pipeline(spec, name="plot", reprocess_on_change=True) == ("plot", "unchanged")


def test_a_dry_run_pushes_nothing_and_says_what_it_would(world: World) -> None:
    context = world.context("list_images", dry_run=True)
    assert plan_push(context, world.config) == []

    counts = report_push({**context, "ti": context["ti"]} | {"ti": _report_of(context["ti"])}, world.config, manifests=[], pushes=[])

    assert counts == {"dry_run": {"files": 4, "bytes": sum(len(name) for name in NAMES), "batches": 2}}


def _report_of(listed: TaskInstance) -> Any:
    class Report(TaskInstance):
        def xcom_pull(self, *, key: str, task_ids: str) -> Any:  # type: ignore[override]
            assert task_ids == listed.task_id
            return listed.xcoms[key]

    return Report("report")


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"source": None}, PachydermInvalidError, "No folder is given: fill in Folder"),
        ({"source": "/nowhere/at/all"}, PachydermSourceError, "Folder /nowhere/at/all does not exist"),
        ({"glob": "*.png"}, PachydermSourceError, r"no file in .* matches \*\.png; correct the folder or the glob"),
    ],
)
def test_a_form_that_cannot_be_used_is_answered(world: World, params: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan_push(world.context(**params), world.config)


# rotate_model and update_rules


def rules(world: World, **params: Any) -> dict[str, str]:
    return prepare(world.context(**params), world.config, repo="rules", path=settings.RULES_PATH, check=check_rules)


def test_checked_rules_are_staged_for_the_push(world: World, tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text('{"threat_classes": [1]}')

    files = rules(world, source=str(tmp_path / "new.json"))

    assert {path: Path(url).read_text() for path, url in files.items()} == {"/rule.json": '{"threat_classes": [1]}'}


def test_a_cleared_run_puts_the_rules_as_they_are_now(world: World, tmp_path: Path) -> None:
    context = world.context(source=str(tmp_path / "new.json"))
    for number in (1, 2, 1):
        (tmp_path / "new.json").write_text(f'{{"threat_classes": [{number}]}}')
        context["ti"].try_number += 1
        files = prepare(context, world.config, repo="rules", path=settings.RULES_PATH, check=check_rules)

        put = Task(PachydermPushOperator(task_id="put", repo="rules", files=files, poll_interval=0.1))
        assert put.run()["reused"] is False
        assert put.run()["reused"] is True

        assert json.loads(world.hook.pfs.read_file("rules", "master", settings.RULES_PATH)) == {"threat_classes": [number]}


def test_rules_that_are_none_are_not_put(world: World, tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text('{"threat_clases": [1]}')

    with pytest.raises(PachydermInvalidError, match=r"new\.json rules is not put: .*threat_clases"):
        rules(world, source=str(tmp_path / "new.json"))


def test_the_same_again_is_skipped(world: World, tmp_path: Path) -> None:
    (tmp_path / "same.json").write_text("{}")
    world.put("rules", settings.RULES_PATH, "{}")

    with pytest.raises(AirflowSkipException, match=r"has this /rule.json already"):
        prepare(
            world.context(source=str(tmp_path / "same.json")), world.config, repo="rules", path=settings.RULES_PATH, check=lambda _: None
        )


def test_rolling_back_finds_the_content_before(world: World) -> None:
    world.put("rules", settings.RULES_PATH, '{"threat_classes": [7]}')
    world.put("rules", "/other", "unrelated")

    files = prepare(
        world.context(action="roll back", source=None), world.config, repo="rules", path=settings.RULES_PATH, check=lambda _: None
    )

    assert Path(files[settings.RULES_PATH]).read_text() == "{}"


def test_there_may_be_nothing_to_roll_back_to(world: World) -> None:
    with pytest.raises(PachydermNotFoundError, match="nothing to roll back to"):
        rules(world, action="roll back", source=None)


def test_a_file_that_rolling_back_would_not_use_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(PachydermInvalidError, match=r"'roll back' takes the rules of the commit before, not .*new\.json: clear File"):
        rules(world, action="roll back", source=str(tmp_path / "new.json"))


def test_a_file_must_be_given(world: World) -> None:
    with pytest.raises(PachydermInvalidError, match="fill in File with the path or URL of the new rules, or choose 'roll back'"):
        rules(world, source="")


def test_a_failed_check_names_the_file(world: World, tmp_path: Path) -> None:
    (tmp_path / "m.pb").write_bytes(b"x")

    def check(path: Path) -> None:
        raise StageError(f"{path.name}: not a frozen graph")

    with pytest.raises(PachydermInvalidError, match=r"m\.pb model is not put: frozen_inference_graph\.pb: not a frozen graph"):
        prepare(world.context(source=str(tmp_path / "m.pb")), world.config, repo="model", path=settings.MODEL_PATH, check=check)


def test_images_set_aside_stay_under_a_branch(world: World) -> None:
    world.push(plan_push(world.context(), world.config))
    context = world.context("set_aside", reprocess="only new images")

    branch = set_images_aside(context)
    again = set_images_aside(context)

    assert branch == again
    assert world.hook.pfs.glob_files("images", "master", "/*") == []
    assert len(world.hook.pfs.glob_files("images", str(branch), "/*")) == 4
    assert set_images_aside(world.context("set_aside")) is None


def test_manifests_hold_what_was_listed(world: World) -> None:
    listed = [file.path for manifest in plan_push(world.context(), world.config) for file in read_manifest(manifest)]

    assert listed == sorted(f"/{name}" for name in NAMES)


@pytest.mark.parametrize("cause", [FileNotFoundError("x"), PermissionError("x"), ValueError("protocol not known"), None])
def test_wrong_input_is_final(cause: Exception | None) -> None:
    with pytest.raises(AirflowFailException, match="no such day"), without_retries():
        raise PachydermInvalidError("no such day")
    with pytest.raises(AirflowFailException, match="does not exist"), without_retries():
        raise PachydermSourceError("the folder does not exist", url="gs://b") from cause


def test_a_source_that_is_away_for_a_moment_is_tried_again() -> None:
    with pytest.raises(PachydermSourceError), without_retries():
        raise PachydermSourceError("the bucket does not answer", url="gs://b") from OSError("timed out")


# bootstrap_pipelines


def bootstrap(world: World, **params: Any) -> dict[str, Any]:
    params = {"model": None, "rules": None, "replace_model": False, "replace_rules": False, **params}
    return plan_bootstrap(world.context("resolve", **params), world.config)


def test_bootstrap_without_a_model_says_where_to_name_one(world: World) -> None:
    world.hook.pfs.delete_repo("model", force=True)

    with pytest.raises(PachydermInvalidError, match="fill in Model in the trigger form, or set the Airflow Variable tuskwatch_model"):
        bootstrap(world)


def test_bootstrap_keeps_a_model_when_none_is_named(world: World) -> None:
    assert bootstrap(world)["model"] is None


def test_bootstrap_names_the_file_that_is_missing(world: World, tmp_path: Path) -> None:
    with pytest.raises(PachydermSourceError, match=r"The rules should come from .*/none\.json, which is no file"):
        bootstrap(world, rules=str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("text", "said"), [("{", "JSON"), ('{"threat_classes": [1], "colour": "red"}', "colour")], ids=["no JSON", "unknown key"]
)
def test_bootstrap_refuses_bad_rules_before_it_touches_anything(world: World, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "rule.json").write_text(text)

    with pytest.raises(PachydermInvalidError, match=rf"The rules .*rule\.json is not put: .*{said}"):
        bootstrap(world, rules=str(tmp_path / "rule.json"), replace_rules=True)


def test_where_tensorflow_is_not_there_a_model_is_looked_at_and_the_report_says_that_it_was_not_loaded(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # as Python has it where a package is not to be found
    model = tmp_path / "model.pb"
    put = {"model": str(model), "replace_model": True}
    for content, said in (
        (b"# README", "not a frozen graph"),
        (bytes.fromhex("0a0b0a036f776e12044e6f4f70"), "has no image_tensor, detection_"),
    ):
        model.write_bytes(content)
        with pytest.raises(PachydermInvalidError, match=said):
            bootstrap(world, **put)

    model.write_bytes(DEMO_MODEL.read_bytes())
    assert bootstrap(world, **put)["warnings"][0].startswith("The model has the right tensors and was not loaded, since TensorFlow is not")


def test_what_somebody_put_meanwhile_is_not_replaced(world: World, tmp_path: Path) -> None:
    (tmp_path / "staged.json").write_text('{"threat_classes": [2]}')
    world.put("rules", settings.RULES_PATH, '{"threat_classes": [7]}')

    with pytest.raises(AirflowSkipException, match=r"has got another /rule\.json meanwhile"):
        put_content(world.context("put_rules", replace_rules=False), "rules", str(tmp_path / "staged.json"))
