"""Every field of a rule file: a value that can never have an effect is refused by the schema, or said when it is put."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.object_detect.coco import COCO_LABELS
from stages.threat_detect import rules as rules_module
from stages.threat_detect.doubts import World, doubts, nearest
from stages.threat_detect.rules import Rules

SCHEMA = json.loads(Path(rules_module.__file__).with_name("rule.schema.json").read_text())
WORLD = World(labels=COCO_LABELS, devices={"front-door", "gate"}, threshold=0.5, max_objects=100, mail=True)
MAIL = {"from_email": "a@example.org", "to_email": "b@example.org"}

# Of every field, rules in which its value does nothing.
WITHOUT_EFFECT: dict[str, list[dict[str, Any]]] = {
    "from_email": [{"from_email": "a@example.org"}],
    "to_email": [{"to_email": "b@example.org"}],
    "threat_classes": [
        {"threat_classes": []},
        {"threat_classes": ["persn"]},
        {"threat_classes": [1, 12]},
        {"threat_classes": ["car", "bus stop"]},
    ],
    "min_score": [{"min_score": 0.3}, {"min_score": 1}],
    "min_count": [{"min_count": 101}],
    "alert_max_age_hours": [{"alert_max_age_hours": 48}],
    "cooldown_minutes": [{"cooldown_minutes": 10}],
    "time_zone": [{"time_zone": "Europe/Berlin"}],
    "time_windows": [{**MAIL, "time_windows": []}, {"time_windows": [{"from": "22:00", "to": "06:00"}]}],
    "subject": [{"subject": "Look"}],
    "body": [{"body": "Look"}],
    "digest": [{**MAIL, "digest": True}, {"cooldown_minutes": 5, "digest": True}],
    "devices": [{"devices": {"frontdoor": {"min_count": 2}}}, {"devices": {"gate": {}}}, {"devices": {"no device": {"min_count": 2}}}],
}


def said(rules: dict[str, Any], world: World = WORLD) -> dict[str, str]:
    """The doubts about rules that are fine in all else, by field."""
    rules = {"threat_classes": [1], **rules}
    Rules(rules)
    return {doubt.field: doubt.text for doubt in doubts(rules, world)}


def test_a_zone_that_is_the_installations_anyway_is_no_doubt() -> None:
    assert said({"time_zone": "Europe/Berlin"}, replace(WORLD, zone="Europe/Berlin")) == {}
    assert "time_zone" in said({"time_zone": "UTC"}, replace(WORLD, zone="Europe/Berlin"))


def test_every_field_of_the_schema_is_scanned() -> None:
    assert WITHOUT_EFFECT.keys() == SCHEMA["properties"].keys()


@pytest.mark.parametrize(("field", "rules"), [(field, rules) for field, cases in WITHOUT_EFFECT.items() for rules in cases])
def test_a_value_without_effect_is_said(field: str, rules: dict[str, Any]) -> None:
    assert any(place.split(".")[0] == field for place in said(rules)), said(rules)


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in SCHEMA["properties"]["devices"]["additionalProperties"]["properties"] for value in (..., "same")],
)
def test_a_device_field_without_effect_is_said(field: str, value: object) -> None:
    """What a device repeats of the fields for all does nothing, whichever field it is; so does what fails for all."""
    cases = WITHOUT_EFFECT[field]
    effective = {"threat_classes": [1], "min_score": 0.7, "min_count": 2, "digest": True, "cooldown_minutes": 5, **MAIL}
    fields = {**effective, field: effective.get(field, cases[0].get(field))}
    if value == "same":
        rules: dict[str, Any] = {**fields, "devices": {"gate": {field: fields[field]}}}
    else:
        rules = {"devices": {"gate": {key: item for key, item in cases[0].items() if key != "from_email"}}}
    assert f"devices.gate.{field}" in said(rules), said(rules)


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"threat_classes": [1, "Car", "traffic light"], "min_score": 0.5, "min_count": 100},
        {**MAIL, "alert_max_age_hours": 48, "cooldown_minutes": 10, "digest": True, "time_zone": "Europe/Berlin", "subject": "{device}"},
        {**MAIL, "time_windows": [{"from": "22:00", "to": "06:00"}], "devices": {"gate": {"time_windows": [], "threat_classes": ["dog"]}}},
        {"from_email": "a@example.org", "devices": {"gate": {"to_email": "b@example.org", "subject": "gate"}}},
    ],
)
def test_nothing_is_said_of_rules_that_do_what_they_say(rules: dict[str, Any]) -> None:
    assert said(rules) == {}


def test_the_rules_that_ship_raise_no_doubt() -> None:
    rules = json.loads(Path(rules_module.__file__).with_name("rule.json").read_text())

    assert doubts(rules, World(labels=COCO_LABELS, threshold=0.5, max_objects=100, mail=False)) == []


def test_the_nearest_name_is_given() -> None:
    found = said({"threat_classes": [1, "Persn"], "devices": {"frontdoor": {"min_count": 2}}})

    assert found["threat_classes"] == "the model in use knows no class Persn; did you mean person?"
    assert found["devices.frontdoor"] == "no image of such a device came so far; did you mean front-door?"
    assert nearest("zzz", COCO_LABELS.values()) == ""


def test_what_nobody_knows_raises_no_doubt() -> None:
    """Before the first image, or with a label map that cannot be read."""
    assert said({"threat_classes": ["persn"], "devices": {"frontdoor": {"min_count": 2}}}, World()) == {}


def test_mail_that_is_off_is_said() -> None:
    assert said(MAIL, World(mail=False))["to_email"].startswith("mail is off: there is no connection sendgrid_default")


@pytest.mark.parametrize(
    "rules", [{"threat_classes": []}, {"threat_classes": ["persn"]}, {"threat_classes": [1], "to_email": "b@example.org"}]
)
def test_rules_that_do_nothing_at_all_are_refused(rules: dict[str, Any]) -> None:
    assert any(doubt.refused for doubt in doubts(rules, WORLD))


def test_one_device_with_classes_is_enough() -> None:
    assert not any(doubt.refused for doubt in doubts({"threat_classes": [], "devices": {"gate": {"threat_classes": [1]}}}, WORLD))
