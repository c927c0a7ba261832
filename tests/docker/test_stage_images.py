"""The stages' images, each run on a ``/pfs`` like the one that Pachyderm gives it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.contract.pipelines import pipelines
from tests.docker.conftest import BUILD_SECONDS, agree, docker, run_stage
from tests.stages.conftest import sendgrid  # noqa: F401 - a fixture
from tests.support_data import REPOSITORY

pytestmark = [pytest.mark.docker, pytest.mark.timeout(BUILD_SECONDS)]

# All come from one Dockerfile, and building the others takes minutes: the default suite builds and runs the first.
FIRST, *OTHERS = [pipeline.name for pipeline in pipelines()]
STAGES = (FIRST, *(pytest.param(stage, marks=pytest.mark.thorough) for stage in OTHERS))
RULE = REPOSITORY / "stages" / "threat_detect" / "rule.json"


@dataclass(frozen=True)
class Site:
    """The output folders of the four stages, each made by its container."""

    validate: Path
    object_detect: Path
    threat_detect: Path
    plot: Path


def pass_through(build: Callable[[str], str], folder: Path, *, images: Path, model: Path) -> Site:
    """Run the four images one after the other, each on what the one before it wrote."""
    outputs: dict[str, Path] = {}
    inputs = {
        "validate": {"images": images},
        "object-detect": {"validate/valid": folder / "validate/out/valid", "model": model.parent},
        "threat-detect": {"object-detect": folder / "object-detect/out", "rules": RULE.parent},
        "plot": {"threat-detect": folder / "threat-detect/out"},
    }
    globs = {
        "images": "*",
        "validate/valid": "*",
        "model": model.name,
        "object-detect": "*/*.json",
        "rules": "rule.json",
        "threat-detect": "*/*",
    }
    for stage, sources in inputs.items():
        pfs = folder / stage
        for name, source in sources.items():
            for path in source.glob(globs[name]):
                target = pfs / name / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(images / path.name if path.is_symlink() else path, target)
        ended = run_stage(build(stage), pfs)
        assert ended.exit_status == 0, ended.log
        outputs[stage] = pfs / "out"
    return Site(*outputs.values())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def threats_by_device(site: Site) -> dict[str, int]:
    return {device.name: len(list(device.glob("*.json"))) for device in site.threat_detect.iterdir()}


@pytest.mark.parametrize("stage", STAGES)
def test_the_image_says_what_it_is_and_runs_as_nobody_special(build, stage):
    config = json.loads(docker("image", "inspect", build(stage)))[0]["Config"]
    assert config["Labels"]["org.opencontainers.image.title"] == f"tuskwatch/{stage}"
    assert config["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert config["User"] == "1000:1000"
    assert config["Cmd"][0] == "python3"


@pytest.mark.parametrize("stage", ["validate", pytest.param("threat-detect", marks=pytest.mark.thorough)])
def test_a_light_stage_weighs_less_than_150_mb_over_its_base(build, stage):
    image = json.loads(docker("image", "inspect", build(stage)))[0]
    base = json.loads(docker("image", "inspect", image["Config"]["Labels"]["org.opencontainers.image.base.name"]))[0]
    assert image["Size"] - base["Size"] < 150_000_000


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_of_the_build_machine_stays_in_the_image(build, stage):
    listing = "import os; print(*[n for n in ('/certificates.crt', '/root/.cache', '/tmp/requirements.txt') if os.path.exists(n)])"
    assert docker("run", "--rm", "--network", "none", "--user", "0", build(stage), "python3", "-c", listing).split() == []
    environment = json.loads(docker("image", "inspect", build(stage)))[0]["Config"]["Env"]
    assert not [entry for entry in environment if "certificates.crt" in entry or "PIP_" in entry]


@pytest.mark.thorough
def test_each_stage_on_what_the_one_before_it_wrote(build, tmp_path, material):
    site = pass_through(build, tmp_path, images=material.images, model=material.model)
    assert names(site.validate / "valid") == set(material.valid)
    assert names(site.validate / "invalid") == {name for bad in material.invalid for name in (bad, f"{bad}.reason.json")}
    passed_on = site.validate / "valid" / material.valid[0]
    assert str(passed_on.readlink()) == f"/pfs/images/{passed_on.name}"  # not copied
    threats = threats_by_device(site)
    assert agree(threats, material)
    assert json.loads((site.plot / "threats.json").read_text())["total"] == sum(threats.values())
    assert (site.plot / "threats.png").read_bytes().startswith(b"\x89PNG")
    assert next((site.object_detect / "dev2").glob("*.jpg")).read_bytes().startswith(b"\xff\xd8")


@pytest.fixture
def detection(tmp_path) -> Path:
    """``/pfs`` of threat-detect with one detection of a person, and rules that tell somebody."""
    pfs = tmp_path / "pfs"
    (pfs / "object-detect" / "dev1").mkdir(parents=True)
    (pfs / "rules").mkdir()
    found = {
        "schema": "tuskwatch.detections/1",
        "device": "dev1",
        "timestamp": 1511891098,
        "time": "2017-11-28T17:44:58+00:00",
        "source": "dev1_1511891098.jpg",
        "annotated": "dev1/1511891098.jpg",
        "image": {"width": 640, "height": 480, "format": "JPEG"},
        "objects": [{"class_id": 1, "label": "person", "score": 0.9, "box": {"left": 1, "top": 2, "right": 30, "bottom": 40}}],
    }
    (pfs / "object-detect" / "dev1" / "1511891098.json").write_text(json.dumps(found))
    rule = {
        "from_email": "watch@example.com",
        "to_email": "guard@example.com",
        "threat_classes": ["person"],
        "alert_max_age_hours": 24 * 365 * 100,
    }
    (pfs / "rules" / "rule.json").write_text(json.dumps(rule))
    return pfs


@pytest.mark.thorough
def test_a_threat_is_mailed_from_the_container(build, detection, sendgrid):  # noqa: F811 - the fixture
    env = {"SENDGRID_API_KEY": "SG.test", "SENDGRID_API_BASE": sendgrid.url}
    ended = run_stage(build("threat-detect"), detection, network="host", env=env)  # the fake SendGrid listens on loopback
    assert ended.exit_status == 0, ended.log
    assert [mail["personalizations"][0]["to"][0]["email"] for mail in sendgrid.mails] == ["guard@example.com"]
    record = json.loads((detection / "out" / "dev1" / "1511891098.json").read_text())
    assert record["alert"]["status"] == "sent"
    assert sendgrid.mails[0]["custom_args"]["alert_id"] == record["alert"]["id"]
    assert "SG.test" not in ended.log


@pytest.mark.thorough
def test_bad_input_ends_the_container_with_a_reason(build, detection):
    (detection / "rules" / "rule.json").write_text('{"threat_classes": "everything"}')
    ended = run_stage(build("threat-detect"), detection)
    assert ended.exit_status == 1
    assert "threat_classes" in ended.log
    assert list((detection / "out").iterdir()) == []
