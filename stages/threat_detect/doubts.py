"""What of a rule file can never have an effect, given the model, the cameras and the detector that there are.

A rule file may be well written and still tell nobody anything: it names a class that the model does not know, or a camera that never sent
an image. Whoever puts it should hear that then, not after the burglary.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stages.contract.names import is_device, shown

_MAIL_FIELDS: Final = ("alert_max_age_hours", "cooldown_minutes", "digest", "time_windows", "time_zone", "subject", "body")
_DEFAULTS: Final[Mapping[str, Any]] = {
    "alert_max_age_hours": 24,
    "cooldown_minutes": 0,
    "digest": False,
    "time_windows": [],
}
_LISTED: Final = 12


@dataclass(frozen=True)
class World:
    """What rules meet.

    :ivar labels: Class names by class id of the model in use; empty when nobody knows.
    :ivar devices: Names of the cameras that sent images so far; empty when none has yet.
    :ivar threshold: Least score that the detector lets through.
    :ivar max_objects: Most objects that it reports of an image.
    :ivar mail: Whether there is a key to send mail with; None when nobody knows.
    :ivar zone: Where rules name none.
    """

    labels: Mapping[int, str] = field(default_factory=dict)
    devices: Collection[str] = ()
    threshold: float = 0.0
    max_objects: int = 10_000
    mail: bool | None = None
    zone: str = "UTC"


@dataclass(frozen=True)
class Doubt:
    """One thing that can have no effect.

    :ivar field: Where it stands in the rule file, such as ``devices.gate.min_score``.
    :ivar text: What is wrong and what to write instead, in one sentence.
    :ivar refused: With it the rules as a whole do nothing: they are not to be put.
    """

    field: str
    text: str
    refused: bool = False

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def doubts(rules: Mapping[str, Any], world: World) -> list[Doubt]:
    """What of a checked rule file can have no effect.

    :param rules: Content of ``rule.json``, which :class:`~stages.threat_detect.rules.Rules` accepts.
    """
    common = {key: value for key, value in rules.items() if key != "devices"}
    devices: Mapping[str, Mapping[str, Any]] = rules.get("devices", {})
    found = [
        *_addresses(rules, devices, world),
        *(doubt for name, override in (("", common), *devices.items()) for doubt in _of_device(name, override, common, world)),
        *_names(devices, world),
    ]
    if not any(_can_match({**common, **override}, world) for override in ({}, *devices.values())):
        why = "no class of it is one that the model in use knows" if _classes(common, devices) else "it names no class"
        found.insert(0, Doubt("threat_classes", f"nothing can ever be a threat: {why}{_known_classes(world)}", refused=True))
    return found


def _classes(common: Mapping[str, Any], devices: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(fields.get("threat_classes") for fields in (common, *devices.values()))


def _can_match(fields: Mapping[str, Any], world: World) -> bool:
    return any(_is_known(item, world) for item in fields["threat_classes"])


def _is_known(item: int | float | str, world: World) -> bool:
    if not world.labels:
        return True
    if isinstance(item, str):
        return item.strip().casefold() in {label.casefold() for label in world.labels.values()}
    return int(item) in world.labels


def _addresses(rules: Mapping[str, Any], devices: Mapping[str, Mapping[str, Any]], world: World) -> Iterator[Doubt]:
    told = [place for place, fields in _places(rules, devices) if "to_email" in fields]
    if told and "from_email" not in rules:
        yield Doubt(
            told[0] + "to_email", "without from_email no mail is ever sent: write the sender that SendGrid knows, too", refused=True
        )
    elif told and world.mail is False:
        yield Doubt(
            told[0] + "to_email",
            "mail is off: there is no connection sendgrid_default; make it and run bootstrap_pipelines, else nobody is told",
        )
    elif "from_email" in rules and not told:
        yield Doubt("from_email", "without to_email nobody is told: write whom to tell, too")


def _places(rules: Mapping[str, Any], devices: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("", rules), *((f"devices.{name}.", fields) for name, fields in devices.items())]


def _of_device(name: str, fields: Mapping[str, Any], common: Mapping[str, Any], world: World) -> Iterator[Doubt]:
    """Doubts about the fields of one device, or of all devices, whose name is empty."""
    place = f"devices.{name}." if name else ""
    for key, text in (*_matching(name, fields, world), *_telling(name, fields, common, world)):
        yield Doubt(f"{place}{key}", text)
    if not name:
        return
    for key, value in fields.items():
        if key in common and common[key] == value:
            yield Doubt(f"{place}{key}", "it is the same as for all devices: leave it out, or correct it")
    if not fields:
        yield Doubt(f"devices.{name}", "it changes nothing: write the fields that differ for this device")


def _matching(name: str, fields: Mapping[str, Any], world: World) -> Iterator[tuple[str, str]]:
    """What is wrong with the fields that say what a threat is, by field."""
    for item in fields.get("threat_classes", ()):
        if not _is_known(item, world):
            yield "threat_classes", _unknown_class(item, world)
    if name and fields.get("threat_classes") == []:
        yield "threat_classes", "it is empty, so nothing that this device sees is ever a threat"
    score, count, most = fields.get("min_score"), fields.get("min_count", 1), world.max_objects
    if score and score < world.threshold:
        least = world.threshold
        yield "min_score", f"{score} has no effect: object-detect reports nothing below {least} (DETECT_THRESHOLD in its pipeline spec)"
    if score == 1:
        yield "min_score", "no object has a score of 1: nothing is ever a threat; write a share such as 0.6"
    if count > most:
        yield (
            "min_count",
            f"object-detect reports at most {most} objects of an image (DETECT_MAX_OBJECTS), never {count}",
        )


def _telling(name: str, fields: Mapping[str, Any], common: Mapping[str, Any], world: World) -> Iterator[tuple[str, str]]:
    """What is wrong with the fields that say who is told and when, by field."""
    merged = {**common, **fields}
    if fields.get("digest") and not merged.get("cooldown_minutes"):
        yield "digest", "without cooldown_minutes nothing is kept back that a digest could list"
    if fields.get("time_windows") == [] and not (name and common.get("time_windows")):
        yield "time_windows", "it is empty, which means always: write windows, or leave it out"
    if "to_email" not in merged:
        for key in _MAIL_FIELDS:
            if key in fields and fields[key] != {**_DEFAULTS, "time_zone": world.zone}.get(key):
                yield key, "it is about mails, and nobody is told: there is no to_email"


def _names(devices: Mapping[str, Any], world: World) -> Iterator[Doubt]:
    for name in devices:
        if not is_device(name):
            yield Doubt(f"devices.{name}", "no device can have this name: it has letters, digits, '.', '_' and '-', as the image names do")
        elif world.devices and name not in world.devices:
            yield Doubt(f"devices.{name}", f"no image of such a device came so far{nearest(name, world.devices)}")


def _unknown_class(item: int | float | str, world: World) -> str:
    return f"the model in use knows no class {shown(str(item))}{nearest(item, world.labels.values()) if isinstance(item, str) else ''}"


def _known_classes(world: World) -> str:
    names = sorted(world.labels.values())
    return f"; it knows {', '.join(names[:_LISTED])}{' and others' if len(names) > _LISTED else ''}" if names else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the known name that is most like one, empty where none is."""
    by_folded = {item.casefold(): item for item in known}
    close = difflib.get_close_matches(name.strip().casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[close[0]]}?" if close else ""
