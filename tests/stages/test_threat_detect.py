import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stages.common.errors import StageError
from stages.common.runner import Datum
from stages.object_detect.stage import ObjectDetectStage
from stages.threat_detect import stage as threat_stage
from stages.threat_detect.stage import ThreatDetectStage
from tests.support_data import CAMERA_IMAGES, COCO_MODEL, camera_material, shared_data

TAKEN = 1511891098
NOW = datetime.fromtimestamp(TAKEN + 60, tz=UTC)
RULE = {"from_email": "cam@example.org", "to_email": "guard@example.org", "threat_classes": [1, 3, 4, 8]}
PERSON = {"class_id": 1, "label": "person", "score": 0.9, "box": {"left": 1, "top": 2, "right": 3, "bottom": 4}}
CAT = {"class_id": 17, "label": "cat", "score": 0.9, "box": {"left": 1, "top": 2, "right": 3, "bottom": 4}}


class Setup:
    """Input folders, a stage with its own clock, and what it wrote."""

    def __init__(self, root: Path, url: str = "") -> None:
        self.root = root
        self.now = NOW
        self.env = {"SENDGRID_API_KEY": "SG.key", "SENDGRID_API_BASE": url} if url else {}
        self.stage = ThreatDetectStage(now=lambda: self.now)
        self.rule()

    def rule(self, **changes: object) -> None:
        (self.root / "rules").mkdir(exist_ok=True)
        (self.root / "rules/rule.json").write_text(json.dumps({**RULE, **changes}))

    def seen(self, *objects: dict, device: str = "dev1", timestamp: int = TAKEN, image: bytes = b"") -> None:
        """Put one file of object-detect in the place of the last."""
        folder = self.root / "object-detect"
        for path in folder.rglob("*.*"):
            path.unlink()
        path = folder / device / f"{timestamp}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = datetime.fromtimestamp(timestamp, tz=UTC).isoformat()
        fields = {"device": device, "timestamp": timestamp, "time": taken, "source": f"{device}_{timestamp}.jpg", "objects": list(objects)}
        path.write_text(json.dumps({"schema": "tuskwatch.detections/1", **fields}))
        if image:
            path.with_suffix(".jpg").write_bytes(image)

    def run(self) -> None:
        inputs = {"object-detect": self.root / "object-detect", "rules": self.root / "rules"}
        self.stage.process(Datum(inputs, self.root / "out", self.env))

    def output(self, device: str = "dev1", timestamp: int = TAKEN) -> dict:
        return json.loads((self.root / "out" / device / f"{timestamp}.json").read_text())


@pytest.fixture
def quiet(tmp_path):
    """A stage without a key."""
    return Setup(tmp_path)


@pytest.fixture
def loud(tmp_path, sendgrid):
    """A stage that sends mail."""
    return Setup(tmp_path, sendgrid.url)


def test_a_threat_is_recorded_with_its_objects_alone(quiet, caplog):
    quiet.seen(PERSON, CAT)
    quiet.run()
    threat = quiet.output()
    assert (threat["schema"], threat["device"], threat["timestamp"]) == ("tuskwatch.threat/1", "dev1", TAKEN)
    assert threat["objects"] == [PERSON]
    assert threat["alert"]["status"] == "off"
    assert "mail is off: SENDGRID_API_KEY is not set" in caplog.text


@pytest.mark.parametrize("objects", [[], [CAT], [{**PERSON, "score": 0.4}]])
def test_what_is_no_threat_leaves_no_file(quiet, objects):
    quiet.rule(min_score=0.5)
    quiet.seen(*objects)
    quiet.run()
    assert not (quiet.root / "out").exists()


def test_min_count(quiet):
    quiet.rule(min_count=2)
    quiet.seen(PERSON, CAT)
    quiet.run()
    assert not (quiet.root / "out").exists()
    quiet.seen(PERSON, PERSON)
    quiet.run()
    assert len(quiet.output()["objects"]) == 2


def test_a_fresh_threat_is_mailed_with_its_image(loud, sendgrid):
    loud.seen(PERSON, PERSON, image=b"\xff\xd8image")
    loud.run()
    (mail,) = sendgrid.mails
    assert mail["subject"] == "Threat at dev1: 2 person"
    assert "2017-11-28 17:44:58 UTC" in mail["content"][0]["value"]
    assert mail["attachments"][0]["filename"] == f"dev1_{TAKEN}.jpg"
    alert = loud.output()["alert"]
    assert (alert["status"], alert["message_id"], alert["id"]) == ("sent", "message-1", mail["custom_args"]["alert_id"])


def test_old_images_never_page_anyone(loud, sendgrid):
    loud.now = NOW + timedelta(hours=24)
    loud.seen(PERSON)
    loud.run()
    assert sendgrid.attempts == 0
    assert loud.output()["alert"]["status"] == "too-old"


def test_outside_the_time_windows(loud, sendgrid):
    loud.rule(time_windows=[{"from": "20:00", "to": "06:00"}])
    loud.seen(PERSON)
    loud.run()
    assert sendgrid.attempts == 0
    assert loud.output()["alert"]["status"] == "outside-window"


@pytest.mark.parametrize(("zone", "status", "time"), [("Asia/Tokyo", "sent", "02:44:58 JST"), ("UTC", "outside-window", "17:44:58 UTC")])
def test_windows_and_mails_are_of_the_stages_zone_where_the_rules_name_none(loud, sendgrid, zone, status, time):
    loud.env |= {"TIME_ZONE": zone}
    loud.rule(time_windows=[{"from": "02:00", "to": "03:00"}], body="{time}")
    loud.seen(PERSON)
    loud.run()
    alert = loud.output()["alert"]
    assert alert["status"] == status
    assert time in (sendgrid.mails[0]["content"][0]["value"] if status == "sent" else alert["reason"])


def test_a_changed_zone_counts_from_the_next_datum_on(quiet):
    quiet.rule(time_windows=[{"from": "02:00", "to": "03:00"}])
    quiet.seen(PERSON)
    statuses = []
    for zone in ("UTC", "Asia/Tokyo"):
        quiet.env = {"TIME_ZONE": zone}
        quiet.run()
        statuses.append(quiet.output()["alert"]["status"])
    assert statuses == ["outside-window", "off"]


def test_a_key_but_no_address(loud, sendgrid, caplog):
    (loud.root / "rules/rule.json").write_text(json.dumps({"threat_classes": [1]}))
    loud.seen(PERSON)
    loud.run()
    assert loud.output()["alert"]["status"] == "off"
    assert "mail is off for dev1: rule.json has no from_email" in caplog.text


def test_cooldown_per_device_with_a_digest(loud, sendgrid):
    loud.rule(cooldown_minutes=10, digest=True)
    loud.now = NOW + timedelta(hours=1)
    for device, seconds in (("dev1", 0), ("dev1", 300), ("dev2", 300), ("dev1", 600)):
        loud.seen(PERSON, device=device, timestamp=TAKEN + seconds)
        loud.run()
    assert loud.output(timestamp=TAKEN + 300)["alert"]["status"] == "cooldown"
    assert [mail["subject"] for mail in sendgrid.mails] == ["Threat at dev1: person", "Threat at dev2: person", "Threat at dev1: person"]
    assert "Since the last mail also:\n- 2017-11-28 17:49:58 UTC: person" in sendgrid.mails[2]["content"][0]["value"]
    assert "Since" not in sendgrid.mails[1]["content"][0]["value"]


def test_the_cooldown_survives_the_process(tmp_path, sendgrid):
    for _ in range(2):
        process = Setup(tmp_path, sendgrid.url)
        process.env |= {"PPS_PIPELINE_NAME": "threat-detect", "PPS_SPEC_COMMIT": "c1", "ALERT_STATE_DIR": str(tmp_path / "state")}
        process.rule(cooldown_minutes=10)
        process.seen(PERSON)
        process.run()
        process.seen(PERSON, timestamp=TAKEN + 1)
        process.run()
    assert sendgrid.attempts == 1
    assert process.output()["alert"] | {"id": ""} == {
        "id": "",
        "status": "sent",
        "reason": "by an earlier attempt",
        "message_id": "message-1",
    }


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sent": 1}', b'{"sent": {"a": [1]}, "held_back": {}}'])
def test_a_damaged_history_sends_rather_than_loses(tmp_path, sendgrid, content):
    process = Setup(tmp_path, sendgrid.url)
    process.env |= {"PPS_PIPELINE_NAME": "threat-detect", "ALERT_STATE_DIR": str(tmp_path / "state")}
    folder = tmp_path / "state/tuskwatch-alerts--threat-detect-"
    folder.mkdir(parents=True)
    (folder / "dev1.json").write_bytes(content)
    process.seen(PERSON)
    process.run()
    assert sendgrid.attempts == 1


def test_a_state_folder_that_cannot_be_written_sends_all_the_same(tmp_path, sendgrid, caplog):
    process = Setup(tmp_path, sendgrid.url)
    (tmp_path / "state").write_text("a file in its place")
    process.env |= {"PPS_PIPELINE_NAME": "threat-detect", "ALERT_STATE_DIR": str(tmp_path / "state")}
    process.seen(PERSON)
    process.run()
    assert process.output()["alert"]["status"] == "sent"
    assert "set ALERT_STATE_DIR to a writable folder" in caplog.text


def test_a_refused_mail_fails_the_datum_and_a_retry_carries_the_same_id(loud, sendgrid):
    """The datum is repeated until SendGrid takes the mail: nothing is recorded as done before."""
    loud.seen(PERSON)
    sendgrid.replies = [(403, {}, b'{"errors": [{"message": "access forbidden"}]}')]
    with pytest.raises(StageError, match=r"SendGrid refused alert .*HTTP 403: access forbidden"):
        loud.run()
    assert not (loud.root / "out").exists()
    loud.run()
    (mail,) = sendgrid.mails
    assert loud.output()["alert"]["id"] == mail["custom_args"]["alert_id"]


def test_a_crash_after_the_mail_repeats_it_with_the_same_id(tmp_path, sendgrid):
    for _ in range(2):  # two processes, none knowing of the other: no pipeline, so no history on disk
        process = Setup(tmp_path, sendgrid.url)
        process.seen(PERSON)
        process.run()
    first, second = (mail["custom_args"]["alert_id"] for mail in sendgrid.mails)
    assert first == second


def test_templates_and_escaping(loud, sendgrid):
    loud.rule(subject="{device} {labels}", body="{labels} <b>\n{source}")
    loud.seen({**PERSON, "label": "<script>\nInjected: x"})
    loud.run()
    (mail,) = sendgrid.mails
    assert mail["subject"] == "dev1 <script> Injected: x"
    assert mail["content"][1]["value"] == f"<p>&lt;script&gt;<br>Injected: x &lt;b&gt;<br>dev1_{TAKEN}.jpg</p>"


def test_a_changed_rule_file_counts_from_the_next_datum_on(quiet):
    quiet.rule(threat_classes=["cat"])
    quiet.seen(PERSON)
    quiet.run()
    assert not (quiet.root / "out").exists()
    quiet.rule(threat_classes=["person"])
    quiet.run()
    assert quiet.output()["objects"] == [PERSON]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": "other/1"}',
        b'{"schema": "tuskwatch.detections/1"}',
        b'{"schema": "tuskwatch.detections/1", "device": "../x", "timestamp": 1, "objects": []}',
        b'{"schema": "tuskwatch.detections/1", "device": "x", "timestamp": 1e300, "objects": []}',
        b'{"schema": "tuskwatch.detections/1", "device": "x", "timestamp": "1", "objects": []}',
        b'{"schema": "tuskwatch.detections/1", "device": "x", "timestamp": 1, "objects": [{"class_id": 1}]}',
        b'{"schema": "tuskwatch.detections/1", "device": "x", "timestamp": 1, "objects": [3]}',
    ],
)
def test_a_damaged_detection_file_fails_its_datum(quiet, content):
    quiet.seen()
    (quiet.root / f"object-detect/dev1/{TAKEN}.json").write_bytes(content)
    with pytest.raises(StageError, match=rf"^{TAKEN}\.json: "):
        quiet.run()


def test_no_rule_file(quiet):
    (quiet.root / "rules/rule.json").unlink()
    quiet.seen(PERSON)
    with pytest.raises(StageError, match=r"no /rule\.json"):
        quiet.run()


def test_the_rule_file_that_ships_is_valid_and_needs_no_address(quiet):
    shipped = Path(threat_stage.__file__).with_name("rule.json")
    (quiet.root / "rules/rule.json").write_bytes(shipped.read_bytes())
    quiet.seen(PERSON)
    quiet.run()
    assert quiet.output()["alert"]["status"] == "off"


@pytest.mark.skipif(not shared_data(), reason="no shared data beside the repository")
def test_the_threats_of_the_camera_images(quiet, tmp_path):
    (tmp_path / "valid").mkdir()
    for name in camera_material().valid:
        (tmp_path / "valid" / name).symlink_to(CAMERA_IMAGES / name)
    ObjectDetectStage().process(Datum({"validate": tmp_path, "model": COCO_MODEL}, tmp_path / "object-detect"))
    quiet.run()
    threats = {folder.name: len(list(folder.iterdir())) for folder in (tmp_path / "out").iterdir()}
    assert threats == camera_material().threats
