"""What there is: the model's classes, the cameras, the detector's settings; and what of the rules in use means nothing to it."""

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_pachyderm.exceptions import PachydermNotFoundError
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from dags import settings
from stages.common.errors import StageError
from stages.common.zones import DEFAULT, TIME_ZONE
from stages.object_detect.coco import COCO_LABELS
from stages.object_detect.labels import read_label_map
from stages.threat_detect.doubts import Doubt, World, doubts, nearest
from stages.threat_detect.rules import read_rules

if TYPE_CHECKING:
    from airflow_pachyderm.client.answers import Pipeline

log = logging.getLogger(__name__)


def world_of(hook: PachydermHook) -> World:
    """What rules meet now."""
    detect, threat = hook.pps.inspect_pipeline(settings.OBJECT_DETECT), hook.pps.inspect_pipeline(settings.THREAT_DETECT)
    env: Mapping[str, str] = detect.env if detect else {}
    return World(
        labels=_labels(hook),
        devices=devices_seen(hook),
        threshold=float(env.get("DETECT_THRESHOLD") or 0.5),
        max_objects=int(env.get("DETECT_MAX_OBJECTS") or 100),
        mail=None if threat is None else settings.SENDGRID_SECRET in threat.secrets or "SENDGRID_API_KEY" in threat.env,
        zone=zone_of_pipeline(threat) if threat else settings.TIMEZONE,
    )


def devices_seen(hook: PachydermHook) -> frozenset[str]:
    """The cameras whose images were looked at so far."""
    return frozenset(entry.path.strip("/") for entry in _glob(hook, settings.OBJECT_DETECT, "/*") if entry.is_dir)


def _labels(hook: PachydermHook) -> Mapping[int, str]:
    """The classes of the model in use: those of the label map beside it, else COCO's; none where the label map cannot be read."""
    files = [
        entry.path for entry in _glob(hook, settings.MODEL_REPO, "/*label*") if PurePosixPath(entry.path).suffix in (".pbtxt", ".json")
    ]
    if not files:
        return COCO_LABELS
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, PurePosixPath(files[0]).name)
        local.write_bytes(hook.pfs.read_file(settings.MODEL_REPO, "master", files[0]))
        try:
            return read_label_map(local)
        except StageError as exc:
            log.warning("The classes of the model are not known: %s", exc)
            return {}


def _glob(hook: PachydermHook, repo: str, pattern: str) -> list[Any]:
    try:
        head = hook.pfs.head(repo, "master")
        return hook.pfs.glob_files(repo, "master", pattern) if head.finished else []
    except PachydermNotFoundError:  # no repo, or no commit yet
        return []


def rule_doubts(path: Path, world: World) -> list[Doubt]:
    """What of a checked rule file can have no effect in this world.

    :raises StageError: It is no rule file.
    """
    read_rules(path)
    return doubts(json.loads(path.read_text("utf-8-sig")), world)


def names_somebody(hook: PachydermHook) -> bool:
    """Whether the rules in use say whom to tell."""
    try:
        rules = json.loads(hook.pfs.read_file(settings.RULES_REPO, "master", settings.RULES_PATH).decode("utf-8-sig"))
        return any("to_email" in fields for fields in (rules, *rules.get("devices", {}).values()))
    except (PachydermNotFoundError, ValueError, AttributeError, TypeError):  # what is wrong with them is told by warnings_in_use
        return False


def warnings_in_use(hook: PachydermHook) -> list[str]:
    """What a person should know about the rules, the model and the settings that are in use."""
    world = world_of(hook)
    try:
        content = hook.pfs.read_file(settings.RULES_REPO, "master", settings.RULES_PATH)
    except PachydermNotFoundError:
        return [
            f"Repo {settings.RULES_REPO} has no {settings.RULES_PATH}: nothing is a threat; run bootstrap_pipelines",
            *settings.unknown_names(),
        ]
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, settings.RULES_PATH.removeprefix("/"))
        local.write_bytes(content)
        try:
            found = [f"Rules: {doubt}" for doubt in rule_doubts(local, world)]
        except StageError as exc:
            found = [f"Rules: {exc}; put others with update_rules"]
    return [*found, *_zone_warnings(hook), *_detector_warnings(hook, world), *settings.unknown_names()]


def zone_of_pipeline(pipeline: "Pipeline") -> str:
    """The zone in which a pipeline counts days and hours."""
    return pipeline.env.get(TIME_ZONE) or DEFAULT


def _zone_warnings(hook: PachydermHook) -> list[str]:
    pipelines = [hook.pps.inspect_pipeline(name) for name in settings.ZONED]
    other = sorted({zone_of_pipeline(pipeline) for pipeline in pipelines if pipeline} - {settings.TIMEZONE})
    if not other:
        return []
    names = " and ".join(settings.ZONED)
    return [
        f"{names} count in {', '.join(other)}, and TUSKWATCH_TIMEZONE is {settings.TIMEZONE}: run bootstrap_pipelines, which tells them"
    ]


def _detector_warnings(hook: PachydermHook, world: World) -> list[str]:
    pipeline = hook.pps.inspect_pipeline(settings.OBJECT_DETECT)
    wanted = [name.strip() for name in (pipeline.env.get("DETECT_DEVICES", "") if pipeline else "").split(",") if name.strip()]
    if not wanted:
        return []
    found = [f"Only images of {', '.join(wanted)} are looked at (DETECT_DEVICES in the spec of {settings.OBJECT_DETECT})"]
    return found + [
        f"DETECT_DEVICES names {name}: no image of such a device came so far{nearest(name, world.devices)}"
        for name in wanted
        if world.devices and name not in world.devices
    ]
