import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.errors import StageError
from stages.threat_detect.rules import Rules, fill, read_rules

ORIGINAL = {"from_email": "a@example.org", "to_email": "b@example.org", "threat_classes": [1, 3, 4, 8]}


def test_the_original_rule_file_is_valid():
    rule = Rules(ORIGINAL).for_device("dev1")
    assert (rule.from_email, rule.to_emails, rule.threat_ids) == ("a@example.org", ("b@example.org",), {1, 3, 4, 8})
    assert rule.max_age == timedelta(hours=24)
    assert rule.alerts_at(datetime(2026, 1, 1, tzinfo=UTC))


def test_classes_by_id_and_by_name():
    rule = Rules({"threat_classes": [1, "Car"], "min_score": 0.6}).for_device("dev1")
    assert rule.is_threat(1, "person", 0.6)
    assert rule.is_threat(3, "car", 0.9)
    assert not rule.is_threat(1, "person", 0.59)
    assert not rule.is_threat(17, "cat", 0.9)


def test_several_addresses_without_repetition():
    rule = Rules({**ORIGINAL, "to_email": ["b@example.org", "c@example.org", "B@example.org"]}).for_device("dev1")
    assert rule.to_emails == ("b@example.org", "c@example.org")


def test_a_device_overrides_single_fields():
    rules = Rules({**ORIGINAL, "min_count": 2, "devices": {"gate": {"threat_classes": ["dog"], "to_email": "guard@example.org"}}})
    gate, other = rules.for_device("gate"), rules.for_device("other")
    assert (gate.threat_labels, gate.to_emails, gate.min_count) == ({"dog"}, ("guard@example.org",), 2)
    assert (other.threat_ids, other.to_emails) == ({1, 3, 4, 8}, ("b@example.org",))


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-01-05T20:59", False),  # Monday, 21:59 in Berlin
        ("2026-01-05T21:00", True),  # 22:00
        ("2026-01-06T04:59", True),  # Tuesday 05:59, still Monday's night
        ("2026-01-06T05:00", False),
        ("2026-01-06T22:00", False),  # Tuesday night is not in the list
        ("2026-01-05T03:00", False),  # Monday morning belongs to Sunday's night
    ],
)
def test_a_window_over_midnight_in_a_time_zone(moment, expected):
    rule = Rules(
        {"threat_classes": [1], "time_zone": "Europe/Berlin", "time_windows": [{"days": ["mon"], "from": "22:00", "to": "06:00"}]}
    ).for_device("dev1")
    assert rule.alerts_at(datetime.fromisoformat(moment).replace(tzinfo=UTC)) is expected


def test_a_window_follows_summer_time():
    rule = Rules({"threat_classes": [1], "time_zone": "Europe/Berlin", "time_windows": [{"from": "08:00", "to": "09:00"}]}).for_device("x")
    assert rule.alerts_at(datetime(2026, 1, 5, 7, 30, tzinfo=UTC))
    assert rule.alerts_at(datetime(2026, 7, 6, 6, 30, tzinfo=UTC))
    assert not rule.alerts_at(datetime(2026, 7, 6, 7, 30, tzinfo=UTC))


def test_filling_a_template_takes_no_placeholder_from_a_value():
    assert fill("{device}: {labels}", {"device": "{labels}", "labels": "car"}) == "{labels}: car"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"threat_clases": [1]}, "unknown field 'threat_clases'; known are from_email, to_email, threat_classes, "),
        ({"threat_classes": 1}, "threat_classes: 1 is not of type 'array'"),
        ({"threat_classes": [1, -3]}, r"threat_classes\.1: -3 is less than the minimum"),
        ({"threat_classes": [""]}, r"threat_classes\.0: ''"),
        ({"threat_classes": [1.5]}, r"threat_classes\.0: 1\.5"),
        ({"from_email": "nobody"}, "from_email: 'nobody' does not match"),
        ({"from_email": ["a@example.org"]}, "from_email: .* is not of type 'string'"),
        ({"to_email": "a@example.org, b@example.org"}, "to_email: "),
        ({"to_email": []}, "to_email: "),
        ({"to_email": ["a@example.org", 3]}, r"to_email\.1: 3 is not of type 'string'"),
        ({"min_score": 50}, "min_score: 50 is greater than the maximum of 1"),
        ({"min_score": "0.5"}, "min_score: '0.5' is not of type 'number'"),
        ({"min_count": 0}, "min_count: 0 is less than the minimum of 1"),
        ({"alert_max_age_hours": 0}, "alert_max_age_hours: "),
        ({"cooldown_minutes": -1}, "cooldown_minutes: "),
        ({"time_zone": "Europe/Berlim"}, r"time_zone: 'Europe/Berlim' is not a time zone; did you mean Europe/Berlin\?"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone: 'Europe/Atlantis' is not a time zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone: "),
        ({"time_windows": [{"from": "25:00", "to": "06:00"}]}, r"time_windows\.0\.from: '25:00'"),
        ({"time_windows": [{"from": "05:00"}]}, "time_windows.0: 'to' is a required property"),
        ({"time_windows": [{"from": "05:00", "to": "06:00", "days": ["monday"]}]}, r"time_windows\.0\.days\.0: 'monday' is not one of"),
        ({"subject": "{devise}"}, r"subject: unknown placeholder \{devise\}; known are \{count\}, \{device\}"),
        ({"body": ""}, "body: "),
        ({"digest": "yes"}, "digest: 'yes' is not of type 'boolean'"),
        ({"devices": {"gate": {"min_score": 2}}}, r"devices\.gate\.min_score: 2 is greater"),
        ({"devices": {"gate": {"from_email": "a@example.org"}}}, r"devices\.gate: unknown field 'from_email'; known are to_email, "),
        ({"devices": {"gate": {"time_zone": "Nowhere"}}}, r"devices\.gate: time_zone: 'Nowhere'"),
        ({"devices": ["gate"]}, "devices: "),
        ({"to_email": "b@example.org\n"}, "to_email: "),
        ({"to_email": ["b@example.org", "b@example.org\r\nBcc: x@example.org"]}, r"to_email\.1: "),
        ({"from_email": "a@example.org\x00"}, "from_email: the text holds U\\+0000"),
        ({"time_windows": [{"from": "05:00\n", "to": "06:00"}]}, r"time_windows\.0\.from: "),
        ({"cooldown_minutes": 1e308}, r"cooldown_minutes: 1e\+308 is greater than the maximum of"),
        ({"alert_max_age_hours": 10**90}, "alert_max_age_hours: 1000000"),
        ({"min_count": 10**90}, "min_count: 1000000"),
        ({"threat_classes": [10**90]}, r"threat_classes\.0: 1000000"),
        ({"threat_classes": ["car\u202e"]}, r"threat_classes\.0: the text holds U\+202E"),
        ({"threat_classes": ["c" * 201]}, r"threat_classes\.0: 'ccc"),
        ({"subject": "two\nlines"}, r"subject: the text holds U\+000A"),
        ({"body": "fine\nand \u2066not"}, r"body: the text holds U\+2066"),
        ({"devices": {"ga\u200fte": {"min_count": 2}}}, r"devices\.ga\\u200fte: the name holds U\+200F"),
        ({"devices": {"gate": {"subject": "\x1b[2J"}}}, r"devices\.gate\.subject: the text holds U\+001B"),
    ],
)
def test_a_wrong_field_is_named(change, problem):
    with pytest.raises(StageError, match=f"^rule.json: {problem}"):
        Rules({**ORIGINAL, **change})


@pytest.mark.parametrize("value", [None, [], "rule", 3, {}])
def test_other_json_is_no_rule_file(value):
    with pytest.raises(StageError, match=r"^rule\.json: "):
        Rules(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(
    {*ORIGINAL, "min_score", "min_count", "time_zone", "time_windows", "subject", "devices", "cooldown_minutes", "alert_max_age_hours"}
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_any_field_value_is_accepted_or_the_declared_error(change):
    try:
        rules = Rules({**ORIGINAL, **change})
    except StageError:
        return
    assert rules.for_device("dev1").alerts_at(datetime(2026, 1, 1, tzinfo=UTC)) in {True, False}


def test_a_file_that_is_not_json(tmp_path):
    (tmp_path / "rule.json").write_text('{"threat_classes": [1],}')
    with pytest.raises(StageError, match=r"rule\.json: not JSON: .* at line 1, column 2[34]"):
        read_rules(tmp_path / "rule.json")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"threat_classes": [1], "threat_classes": [2]}', "threat_classes: this field is there twice"),
        (
            '{"threat_classes": [1], "devices": {"gate": {"min_count": 1, "min_count": 2}}}',
            "devices.gate.min_count: this field is there twice",
        ),
        ('{"threat_classes": [1], "time_windows": [{"from": "05:00", "from": "06:00"}]}', "time_windows.0.from: this field is"),
        ('{"threat_classes": [1], "min_score": NaN}', "NaN is not a JSON value"),
        ('{"threat_classes": [1], "min_score": 1e999}', "min_score: inf is greater than the maximum of 1"),
        ('{"threat_classes": [' + "9" * 400 + "]}", "a number of 400 digits"),
        ('{"threat_classes": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON"),
    ],
    ids=lambda value: value[:60],
)
def test_what_json_lets_through_is_refused(tmp_path, text, problem):
    (tmp_path / "rule.json").write_text(text)
    with pytest.raises(StageError, match=r"^rule\.json: ") as caught:
        read_rules(tmp_path / "rule.json")
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_rule_file_from_an_editor_with_a_byte_order_mark(tmp_path):
    (tmp_path / "rule.json").write_text(json.dumps(ORIGINAL), encoding="utf-8-sig")
    assert read_rules(tmp_path / "rule.json").for_device("x").threat_ids == {1, 3, 4, 8}
