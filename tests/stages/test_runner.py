"""The datum loop, with a real worker service on a real port."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from stages.common.errors import StageError
from stages.common.runner import Datum, each_file, run
from stages.validate.stage import ValidateStage
from tests.stages.conftest import image_bytes


class Recorder:
    """A stage that notes its datums and fails those whose file says so."""

    name = "recorder"
    inputs = MappingProxyType({"images": "folder"})
    settings_help = ""

    def __init__(self):
        self.warm_ups = 0
        self.seen = []

    def warm_up(self, _env, /):
        self.warm_ups += 1

    def process(self, datum: Datum):
        text = (datum.inputs["images"] / "a.txt").read_text()
        self.seen.append((text, datum.env.get("PACH_DATUM_ID"), datum.commit_of("images"), datum.env.get("SETTING")))
        if text == "bad":
            raise StageError("a.txt is bad")
        if text == "broken":
            raise ZeroDivisionError("ours")
        (datum.out / "a.txt").write_text(text)


@pytest.fixture
def pfs(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "out").mkdir()

    def datum(text, **env):
        def prepare():
            (tmp_path / "images/a.txt").write_text(text)
            return {"PACH_DATUM_ID": text, **env}

        return prepare

    return tmp_path, datum


def test_batching_starts_once_and_goes_on_after_failures(make_worker, pfs):
    root, datum = pfs
    worker = make_worker([datum("one", images_COMMIT="c1"), datum("bad"), datum("broken"), datum("two", SETTING="theirs")])
    stage = Recorder()
    assert run(stage, [], worker.environment(root, SETTING="ours")) == 0
    assert worker.outcomes == ["", "a.txt is bad", "ZeroDivisionError: ours", ""]
    assert stage.warm_ups == 1
    assert stage.seen == [
        ("one", "one", "c1", "ours"),
        ("bad", "bad", None, "ours"),
        ("broken", "broken", None, "ours"),
        ("two", "two", None, "theirs"),
    ]


def test_environment_values_may_hold_equal_signs(make_worker, pfs):
    root, datum = pfs
    stage = Recorder()
    run(stage, [], make_worker([datum("one", SETTING="a=b=c")]).environment(root))
    assert stage.seen[0][3] == "a=b=c"


def test_a_worker_that_is_not_there_ends_the_process_cleanly(tmp_path):
    stage = Recorder()
    assert run(stage, [], {"PFS_ROOT": str(tmp_path), "PPS_WORKER_GRPC_PORT": "1", "DATUM_BATCHING": "true"}) == 0
    assert stage.seen == []


def test_a_worker_without_batching_gives_a_clear_error(make_worker, pfs, caplog):
    root, _ = pfs

    def refuse():
        raise RuntimeError("datum batching not enabled")

    assert run(Recorder(), [], make_worker([refuse]).environment(root)) == 1
    assert "datum batching not enabled" in caplog.text
    assert "transform.datum_batching" in caplog.text


@pytest.mark.parametrize(("text", "status"), [("one", 0), ("bad", 1), ("broken", 1)])
def test_one_datum_from_the_pfs_folder(pfs, text, status):
    root, datum = pfs
    datum(text)()
    # A real worker sets its port for every program; only batching ones ask.
    assert run(Recorder(), [], {"PFS_ROOT": str(root), "PPS_WORKER_GRPC_PORT": "1"}) == status


def test_by_hand_on_plain_folders(pfs):
    root, datum = pfs
    datum("one")()
    assert run(Recorder(), ["--images", str(root / "images"), "--out", str(root / "new/out")], {}) == 0
    assert (root / "new/out/a.txt").read_text() == "one"


def test_a_missing_input_is_named(tmp_path, caplog):
    assert run(ValidateStage(), [], {"PFS_ROOT": str(tmp_path)}) == 1
    assert f"{tmp_path}/images: no such file or folder" in caplog.text


def test_one_bad_file_keeps_no_other_from_its_turn(tmp_path):
    done = []

    def handle(path: Path):
        if "bad" in path.name:
            raise StageError(f"{path.name} is bad")
        done.append(path.name)

    with pytest.raises(StageError, match=r"2 files failed:\nbad1 is bad\nbad2 is bad"):
        each_file([tmp_path / name for name in ("bad1", "a", "bad2", "b")], handle)
    assert done == ["a", "b"]


@pytest.mark.parametrize("module", ["validate", "object_detect", "threat_detect", "plot"])
def test_help_of_every_stage(module):
    done = subprocess.run([sys.executable, "-m", f"stages.{module}", "--help"], capture_output=True, text=True, check=True)
    assert "--out DIR" in done.stdout


def test_the_program_itself_batches(make_worker, tmp_path):
    """One process of ``python -m stages.validate`` handles several datums and ends when the worker does."""
    (tmp_path / "images").mkdir()

    def datum(name, data):
        def prepare():
            for path in (tmp_path / "images").iterdir():
                path.unlink()
            (tmp_path / "images" / name).write_bytes(data)
            return {"PACH_DATUM_ID": name}

        return prepare

    worker = make_worker(
        [datum("dev1_1511891098.jpg", image_bytes()), datum("blah.jpg", b"blah"), datum("dev1_1511891099.jpg", image_bytes())]
    )
    done = subprocess.run(
        [sys.executable, "-m", "stages.validate"],
        env={**os.environ, **worker.environment(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert worker.outcomes == ["", "", ""]
    assert "3 datums handled" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out/valid").iterdir()) == ["dev1_1511891098.jpg", "dev1_1511891099.jpg"]
    assert json.loads((tmp_path / "out/invalid/blah.jpg.reason.json").read_text())["code"] == "bad-name"
