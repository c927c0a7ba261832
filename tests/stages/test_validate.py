import json
import os
from pathlib import Path

import pytest
from PIL import Image

from stages.common.runner import Datum, run
from stages.validate.stage import ValidateStage
from tests.stages.conftest import image_bytes
from tests.support_data import CAMERA_IMAGES, camera_material, shared_data


def validate(images: Path, out: Path, **env: str) -> None:
    ValidateStage().process(Datum({"images": images}, out, env))


def verdicts(out: Path) -> dict[str, str]:
    """Code by name, "valid" for the valid ones."""
    valid = {path.name: "valid" for path in (out / "valid").glob("*")}
    reasons = [json.loads(path.read_text()) for path in (out / "invalid").rglob("*.reason.json")]
    return valid | {reason["name"]: reason["code"] for reason in reasons}


def test_valid_images_are_linked_not_copied(camera, tmp_path):
    images = camera("dev1_1511891098.jpg", "dev2_1511891099.png")
    validate(images, tmp_path / "out")
    assert verdicts(tmp_path / "out") == {"dev1_1511891098.jpg": "valid", "dev2_1511891099.png": "valid"}
    linked = tmp_path / "out/valid/dev1_1511891098.jpg"
    assert linked.readlink() == images / "dev1_1511891098.jpg"


def test_an_invalid_image_is_passed_on_with_its_reason(camera, tmp_path):
    images = camera("blah.jpg")
    validate(images, tmp_path / "out")
    assert (tmp_path / "out/invalid/blah.jpg").readlink() == images / "blah.jpg"
    reason = json.loads((tmp_path / "out/invalid/blah.jpg.reason.json").read_text())
    assert (reason["schema"], reason["name"], reason["code"]) == ("tuskwatch.invalid/1", "blah.jpg", "bad-name")
    assert "dev1_1511891098.jpg" in reason["message"]  # it shows what a name looks like


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("dev1_1511891098.jpg", b"", "empty"),
        ("dev1_1511891098.jpg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not-an-image"),
        ("dev1_1511891098.jpg", image_bytes("PNG"), "wrong-format"),
        ("dev1_1511891098.png", image_bytes("JPEG"), "wrong-format"),
        ("dev1_1511891098.jpg", image_bytes("GIF"), "not-an-image"),
        ("dev1_1511891098.jpg", image_bytes("JPEG", size=(640, 480))[:-200], "undecodable"),
        ("dev1_1511891098.png", image_bytes("PNG", size=(640, 480))[:-200], "undecodable"),
        ("dev1_1511891098.jpg", image_bytes("JPEG", size=(600, 400)), "too-many-pixels"),
        ("dev1_1511891098.jpg", image_bytes("JPEG") + b"\0" * 100_000, "too-many-bytes"),
    ],
)
def test_bytes_that_are_no_image_within_limits(tmp_path, name, data, code):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / name).write_bytes(data)
    pixels = "200000" if code == "too-many-pixels" else ""
    validate(tmp_path / "images", tmp_path / "out", IMAGE_MAX_BYTES="90000", IMAGE_MAX_PIXELS=pixels)
    assert verdicts(tmp_path / "out") == {name: code}


def test_images_in_folders_are_invalid(camera, tmp_path):
    validate(camera("2017/dev1_1511891098.jpg"), tmp_path / "out")
    assert verdicts(tmp_path / "out") == {"2017/dev1_1511891098.jpg": "nested"}
    assert (tmp_path / "out/invalid/2017/dev1_1511891098.jpg").is_symlink()


def test_a_name_too_long_for_its_reason_file(tmp_path):
    (tmp_path / "images").mkdir()
    names = ["x" * 251 + end for end in (".jpg", ".png")]
    for name in names:
        (tmp_path / "images" / name).write_bytes(b"x")
    validate(tmp_path / "images", tmp_path / "out")
    assert verdicts(tmp_path / "out") == dict.fromkeys(names, "bad-name")


def test_all_modes_that_cameras_and_editors_write_are_valid(tmp_path):
    (tmp_path / "images").mkdir()
    modes = {"L": "jpg", "CMYK": "jpg", "1": "png", "P": "png", "LA": "png", "RGBA": "png", "I;16": "png"}
    for number, (mode, extension) in enumerate(modes.items()):
        image = Image.new(mode, (40, 30))
        image.save(tmp_path / f"images/dev1_{1511891098 + number}.{extension}")
    validate(tmp_path / "images", tmp_path / "out")
    assert set(verdicts(tmp_path / "out").values()) == {"valid"}


def test_what_is_no_regular_file(tmp_path):
    (tmp_path / "images").mkdir()
    os.mkfifo(tmp_path / "images/dev1_1511891098.jpg")
    (tmp_path / "images/dev1_1511891099.jpg").symlink_to("nowhere")
    validate(tmp_path / "images", tmp_path / "out")
    assert verdicts(tmp_path / "out") == {"dev1_1511891098.jpg": "unreadable", "dev1_1511891099.jpg": "unreadable"}
    assert not any(path.is_symlink() for path in (tmp_path / "out/invalid").iterdir())


def test_a_wrong_setting_is_named(camera, tmp_path, capfd):
    arguments = ["--images", str(camera("dev1_1511891098.jpg")), "--out", str(tmp_path / "out")]
    assert run(ValidateStage(), arguments, {"IMAGE_MAX_PIXELS": "many"}) == 1
    assert not (tmp_path / "out/valid").exists()


@pytest.mark.skipif(not shared_data(), reason="no shared data beside the repository")
def test_the_camera_images(tmp_path):
    validate(CAMERA_IMAGES, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out/valid").iterdir()) == list(camera_material().valid)
    assert verdicts(tmp_path / "out")["blah.jpg"] == "bad-name"
