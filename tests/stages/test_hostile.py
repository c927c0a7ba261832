"""A corpus of hostile files: each ends as invalid with a reason, as valid, or as the failure of its own datum. Nothing else happens."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.common.errors import StageError
from stages.common.runner import Datum, run
from stages.object_detect.stage import ObjectDetectStage
from stages.validate.stage import ValidateStage
from tests.stages.conftest import image_bytes
from tests.stages.hostile import hostile_images, hostile_names

# Pillow warns about some of these files; here, as in production, a warning ends nothing.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

GOOD = "good_1511891098.jpg"
MEMORY_LIMIT_KB = 400 << 10


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The files under valid names, and what each is."""
    folder = tmp_path_factory.mktemp("corpus")
    described = {}
    for number, (what, data) in enumerate(hostile_images().items()):
        name = f"dev1_{1511890000 + number}.{what[-3:]}"
        (folder / name).write_bytes(data)
        described[name] = what
    return folder, described


def test_the_corpus_is_large(corpus):
    assert len(corpus[1]) >= 200
    assert len(hostile_names()) >= 50


def check(folder, out):
    """Return the codes by name after checking that every file has one verdict."""
    valid = {path.name for path in (out / "valid").glob("*")}
    reasons = {}
    for path in (out / "invalid").glob("*.reason.json"):
        reason = json.loads(path.read_text())
        assert reason["message"].isprintable()
        assert re.fullmatch(r"[a-z-]+", reason["code"])
        assert str(folder) not in reason["message"]
        reasons[path.name] = reason["code"]
    linked = {path.name for path in (out / "invalid").iterdir() if path.is_symlink()}
    assert valid | linked == {path.name for path in folder.iterdir()}
    assert not valid & linked
    assert len(reasons) == len(linked)
    return valid, reasons


def count(out):
    valid = {path.name for path in (out / "valid").iterdir()}
    return valid, len(list((out / "invalid").glob("*.reason.json")))


def test_hostile_bytes_through_the_real_program_one_datum_each(corpus, make_worker, tmp_path):
    """One process takes them all, its memory stays bounded, and the good image among them is valid."""
    folder, _ = corpus
    (tmp_path / "images").mkdir()

    def datum(source, name):
        def prepare():
            for path in (tmp_path / "images").iterdir():
                path.unlink()
            (tmp_path / "images" / name).symlink_to(source)
            return {"PACH_DATUM_ID": name}

        return prepare

    (tmp_path / "good.jpg").write_bytes(image_bytes())
    datums = [datum(path, path.name) for path in sorted(folder.iterdir())]
    datums.insert(len(datums) // 2, datum(tmp_path / "good.jpg", GOOD))
    peaks = []

    def last():
        status = Path(f"/proc/{process.pid}/status").read_text()
        peaks.append(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]))
        return datums[0]()

    datums.append(last)
    worker = make_worker(datums)
    command = [sys.executable, "-W", "ignore", "-m", "stages.validate"]
    process = subprocess.Popen(command, env={**os.environ, **worker.environment(tmp_path)}, stdout=subprocess.DEVNULL)
    assert process.wait() == 0
    assert worker.outcomes == [""] * len(datums)
    (peak_kb,) = peaks
    assert peak_kb < MEMORY_LIMIT_KB
    valid, reasons = count(tmp_path / "out")
    assert GOOD in valid
    assert len(valid) + reasons == len(datums) - 1  # the last is the first once more


def test_verdicts_by_kind(corpus, tmp_path):
    folder, described = corpus
    ValidateStage().process(Datum({"images": folder}, tmp_path))
    valid, reasons = check(folder, tmp_path)
    codes = {what: reasons.get(f"{name}.reason.json", "valid") for name, what in described.items()}
    assert {name for name in described if name in valid} == {name for name, what in described.items() if codes[what] == "valid"}
    for what, code in codes.items():
        if " cut at " in what:
            assert code in {"not-an-image", "undecodable", "valid"}, what
        if what.endswith((" as jpg.jpg", " as png.png")):
            assert code == "not-an-image", what
    assert codes["empty.jpg"] == "empty"
    for what in ("100000 pixels square.png", "two billion square.png", "900 million pixels in 110 kB.png", "65535 pixels square.jpg"):
        assert codes[what] == "too-many-pixels", what


def test_hostile_names(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in (*hostile_names(), GOOD):
        (images / name).write_bytes(image_bytes())
    ValidateStage().process(Datum({"images": images}, tmp_path / "out"))
    valid, reasons = check(images, tmp_path / "out")
    assert valid == {GOOD}
    assert set(reasons.values()) == {"bad-name", "bad-timestamp"}


def test_object_detect_survives_what_validate_would_have_kept_from_it(corpus, model_folder, make_worker, tmp_path):
    folder, described = corpus
    (tmp_path / "validate/valid").mkdir(parents=True)
    (tmp_path / "model").symlink_to(model_folder)
    (tmp_path / "good.jpg").write_bytes(image_bytes())

    def datum(source, name):
        def prepare():
            for path in (tmp_path / "validate/valid").iterdir():
                path.unlink()
            (tmp_path / "validate/valid" / name).symlink_to(source)
            return {"PACH_DATUM_ID": name}

        return prepare

    names = sorted(described)
    worker = make_worker([*(datum(folder / name, name) for name in names), datum(tmp_path / "good.jpg", GOOD)])
    assert run(ObjectDetectStage(), [], worker.environment(tmp_path)) == 0
    assert worker.outcomes[-1] == ""
    for name, outcome in zip(names, worker.outcomes, strict=False):
        assert outcome == "" or outcome.startswith(f"{name}: "), f"{described[name]}: {outcome}"
        written = [path for path in (tmp_path / "out/dev1").glob("*.json") if json.loads(path.read_text())["source"] == name]
        assert len(written) == (outcome == ""), f"{described[name]}: {written}"


def test_what_is_valid_can_be_processed(corpus, model_folder, tmp_path):
    """validate and object-detect agree: an image that passes the first never fails the second."""
    folder, described = corpus
    ValidateStage().process(Datum({"images": folder}, tmp_path))
    try:
        ObjectDetectStage().process(Datum({"validate": tmp_path, "model": model_folder}, tmp_path / "out"))
    except StageError as exc:
        pytest.fail(f"{exc}\n" + "\n".join(f"{name}: {what}" for name, what in described.items() if name in str(exc)))
