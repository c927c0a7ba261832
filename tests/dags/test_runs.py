"""What the DAGs' own tasks do, from the folder to the report, against a real server."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_pachyderm.exceptions import PachydermError, PachydermInvalidError, PachydermNotFoundError, PachydermSourceError
from airflow_pachyderm.files import Batch, SourceFile, read_manifest
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.operators.push import PachydermPushOperator
from dags import settings
from dags.common.bootstrap import plan_bootstrap, put_content
from dags.common.checks import check_rules
from dags.common.inputs import without_retries
from dags.common.push_run import plan_push, report_push
from dags.common.rotation import prepare, set_images_aside
from stages.common.errors import StageError
from tests.airflow_pachyderm.tasks import DagRun, Task, TaskInstance

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
            task = Task(PachydermPushOperator(task_id="push", repo="images", manifest=manifest, poll_interval=0.1))
            task.ti.map_index, task.ti.run_id = number, run_id
            results.append(task.run())
        return results

    def put(self, repo: str, path: str, content: str) -> str:
        source = self.images.parent / f"{repo}-content"
        source.write_text(content)
        from airflow_pachyderm.client.push import Push

        batch = Batch([SourceFile(path, str(source))])
        return Push(self.hook.pfs, repo=repo, branch="master", key=content, batch=batch).run().commit_set


@pytest.fixture
def world(hook: PachydermHook, tmp_path: Path) -> World:
    images = tmp_path / "images"
    images.mkdir()
    for name in NAMES:
        (images / name).write_bytes(name.encode())
    world = World(settings.Settings(results=str(tmp_path / "results"), staging=str(tmp_path / "staging")), hook, images)
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


@pytest.mark.parametrize(
    ("manifests", "message"), [(None, "Nothing was listed: see the task list_images"), (["m"], "No batch of 1 was pushed")]
)
def test_a_run_without_results_says_where_to_look(world: World, manifests: list[str] | None, message: str) -> None:
    with pytest.raises(PachydermError, match=message):
        report_push(world.context("report"), world.config, manifests=manifests, pushes=None)


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
        ({"source": "/nowhere"}, PachydermSourceError, "Folder /nowhere does not exist"),
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

    files = prepare(world.context(action="roll back"), world.config, repo="rules", path=settings.RULES_PATH, check=lambda _: None)

    assert Path(files[settings.RULES_PATH]).read_text() == "{}"


def test_there_may_be_nothing_to_roll_back_to(world: World) -> None:
    with pytest.raises(PachydermNotFoundError, match="nothing to roll back to"):
        rules(world, action="roll back")


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


def test_what_somebody_put_meanwhile_is_not_replaced(world: World, tmp_path: Path) -> None:
    (tmp_path / "staged.json").write_text('{"threat_classes": [2]}')
    world.put("rules", settings.RULES_PATH, '{"threat_classes": [7]}')

    with pytest.raises(AirflowSkipException, match=r"has got another /rule\.json meanwhile"):
        put_content(world.context("put_rules", replace_rules=False), "rules", str(tmp_path / "staged.json"))
