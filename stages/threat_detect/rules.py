"""``rule.json``: what is a threat, and when somebody is told."""

from __future__ import annotations

import functools
import json
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from stages.common.errors import StageError
from stages.common.files import read_json
from stages.common.text import unfit_character
from stages.common.zones import DEFAULT, zone_of
from stages.contract.names import shown

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PLACEHOLDERS = frozenset({"device", "time", "labels", "count", "score", "source"})
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_DEFAULT_SUBJECT = "Threat at {device}: {labels}"
_DEFAULT_BODY = "{device} saw {labels} at {time}.\n{count} objects, highest score {score}, image {source}."


@dataclass(frozen=True)
class TimeWindow:
    """A span of the day on some weekdays; one that ends before it starts goes on past midnight and belongs to the day it starts on.

    :ivar days: Weekdays, Monday is 0.
    """

    days: frozenset[int]
    start: time
    end: time

    def holds(self, moment: datetime) -> bool:
        """Return whether the local ``moment`` lies in the window."""
        clock = moment.time()
        if self.start < self.end:
            return moment.weekday() in self.days and self.start <= clock < self.end
        yesterday = (moment.weekday() - 1) % 7
        return (moment.weekday() in self.days and clock >= self.start) or (yesterday in self.days and clock < self.end)


@dataclass(frozen=True)
class Rule:
    """The rule for one device, overrides applied."""

    threat_ids: frozenset[int]
    threat_labels: frozenset[str]
    min_score: float
    min_count: int
    from_email: str | None
    to_emails: tuple[str, ...]
    max_age: timedelta
    cooldown: timedelta
    time_zone: zoneinfo.ZoneInfo
    time_windows: tuple[TimeWindow, ...]
    subject: str
    body: str
    digest: bool

    def is_threat(self, class_id: int, label: str, score: float) -> bool:
        """Return whether one object counts as a threat."""
        return score >= self.min_score and (class_id in self.threat_ids or label.casefold() in self.threat_labels)

    def alerts_at(self, moment: datetime) -> bool:
        """Return whether ``moment`` lies in one of the time windows; without windows it always does."""
        local = moment.astimezone(self.time_zone)
        return not self.time_windows or any(window.holds(local) for window in self.time_windows)


class Rules:
    """A checked ``rule.json``.

    :param value: Its content.
    :param name: Name of the file, for messages.
    :param zone: Where the file names no ``time_zone``.
    :raises StageError: A field is unknown or wrong; the message names it.
    """

    def __init__(self, value: object, *, name: str = "rule.json", zone: zoneinfo.ZoneInfo | None = None) -> None:
        _check(value, name)
        if not isinstance(value, dict):
            raise StageError(f"{name}: not an object")
        self._common = {key: field for key, field in value.items() if key != "devices"}
        self._devices: dict[str, dict[str, Any]] = value.get("devices", {})
        self._name = name
        self._zone = zone or zone_of(DEFAULT)
        for device in ("", *self._devices):  # a mistake must show now, not with the device's next image
            self.for_device(device)

    def for_device(self, device: str) -> Rule:
        """Return the rule for one device."""
        override = self._devices.get(device, {})
        prefix = f"{self._name}: devices.{device}" if override else self._name
        return _rule({**self._common, **override}, prefix, self._zone)


def read_rules(path: Path, *, zone: zoneinfo.ZoneInfo | None = None) -> Rules:
    """Read and check a rule file.

    :param zone: Where it names no ``time_zone``; UTC unless given.
    :raises StageError: Not JSON, or not a rule file; the message names the field.
    """
    return Rules(read_json(path, limit_bytes=1 << 20), name=path.name, zone=zone)


def _rule(fields: Mapping[str, Any], where: str, zone: zoneinfo.ZoneInfo) -> Rule:
    classes = fields["threat_classes"]
    to_email = fields.get("to_email", ())
    return Rule(
        threat_ids=frozenset(int(item) for item in classes if not isinstance(item, str)),
        threat_labels=frozenset(item.strip().casefold() for item in classes if isinstance(item, str)),
        min_score=fields.get("min_score", 0.0),
        min_count=int(fields.get("min_count", 1)),
        from_email=fields.get("from_email"),
        to_emails=_distinct((to_email,) if isinstance(to_email, str) else tuple(to_email)),
        max_age=_span(hours=fields.get("alert_max_age_hours", 24)),
        cooldown=_span(hours=fields.get("cooldown_minutes", 0) / 60),
        time_zone=_zone(fields["time_zone"], where) if "time_zone" in fields else zone,
        time_windows=tuple(_window(item) for item in fields.get("time_windows", ())),
        subject=_template(fields.get("subject", _DEFAULT_SUBJECT), f"{where}: subject"),
        body=_template(fields.get("body", _DEFAULT_BODY), f"{where}: body"),
        digest=fields.get("digest", False),
    )


def _distinct(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Drop repeated addresses, which SendGrid refuses; the case of letters makes no difference to it."""
    distinct: dict[str, str] = {}
    for address in addresses:
        distinct.setdefault(address.casefold(), address)
    return tuple(distinct.values())


def _span(*, hours: float) -> timedelta:
    """Return so many hours, at most a thousand years: beyond that arithmetic with dates overflows."""
    return timedelta(hours=min(hours, 24 * 365 * 1000))


def _zone(name: str, where: str) -> zoneinfo.ZoneInfo:
    try:
        return zone_of(name)
    except StageError as exc:
        raise StageError(f"{where}: time_zone: {exc}") from exc


def _window(fields: Mapping[str, Any]) -> TimeWindow:
    days = frozenset(DAYS.index(day) for day in fields.get("days", DAYS))
    return TimeWindow(days, time.fromisoformat(fields["from"]), time.fromisoformat(fields["to"]))


def _template(text: str, where: str) -> str:
    for name in _PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{placeholder}}}" for placeholder in sorted(PLACEHOLDERS))
            raise StageError(f"{where}: unknown placeholder {{{name}}}; known are {known}")
    return text


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders of a checked template. What a value contains is never taken for a placeholder."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def _check(value: object, name: str) -> None:
    errors = sorted(_validator().iter_errors(value), key=lambda error: (len(error.absolute_path), str(error.absolute_path)))
    if not errors:
        _check_texts(value, name, "")
    if errors:
        raise StageError(f"{name}: " + "; ".join(dict.fromkeys(_message(error) for error in errors[:5])))


def _check_texts(value: Any, name: str, where: str) -> None:
    """Refuse what a mail, a log or the dashboard would show otherwise than it is written.

    :raises StageError: A text holds such a character; the message has its path.
    """
    if isinstance(value, str):
        if found := unfit_character(value, lines=where.rpartition(".")[2] == "body"):
            raise StageError(f"{name}: {where.removeprefix('.')}: the text holds {found}, a control character: remove it")
        return
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(key, str) and (found := unfit_character(key)):
            raise StageError(f"{name}: {shown(f'{where}.{key}'.removeprefix('.'))}: the name holds {found}, a control character: remove it")
        _check_texts(item, name, f"{where}.{key}")


def _message(error: Any) -> str:
    """Say in one line which field is wrong and how."""
    if error.context:  # a "oneOf": the branch of the value's own type says most
        error = min(error.context, key=lambda inner: (inner.validator == "type", -len(inner.absolute_path)))
    field = ".".join(str(part) for part in error.absolute_path)
    text = error.message
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = ", ".join(repr(name) for name in error.instance if name not in known)
        text = f"unknown field {shown(unknown)}; known are {', '.join(known)}"
    return shown(f"{field}: {text}" if field else text, limit=400)


@functools.cache
def _validator() -> Any:
    import jsonschema

    schema = json.loads(Path(__file__).with_name("rule.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)
