"""What was mailed lately, by device: for the cooldown, the digest, and so that a repeated datum sends no second mail.

Kept in a folder that outlives the process. It is a convenience, not a ledger: where it is lost, or cannot be written, a mail may be sent
that it would have held back; a mail is never lost by it.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from stages.common.errors import StageError
from stages.common.files import read_json, write_json

log = logging.getLogger(__name__)

_KEPT = 200


@dataclass
class DeviceHistory:
    """One device.

    :ivar sent: Alert id to Unix seconds of the image and SendGrid's message id, oldest mail first.
    :ivar held_back: Lines about threats that the cooldown kept back since the last mail.
    """

    sent: dict[str, tuple[int, str]] = field(default_factory=dict)
    held_back: dict[str, str] = field(default_factory=dict)

    def cooling(self, timestamp: int, cooldown: timedelta) -> bool:
        """Return whether a mail about an image taken within ``cooldown`` of ``timestamp`` was sent."""
        return any(abs(timestamp - mailed) < cooldown.total_seconds() for mailed, _ in self.sent.values())

    def trim(self) -> None:
        """Forget the oldest entries."""
        for entries in (self.sent, self.held_back):
            while len(entries) > _KEPT:
                del entries[next(iter(entries))]


class History:
    """The devices of one pipeline.

    :param folder: Where to keep them; None keeps them in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._devices: dict[str, DeviceHistory] = {}

    @classmethod
    def of_pipeline(cls, env: Mapping[str, str]) -> History:
        """Return the history of the pipeline version that ``env`` belongs to; by hand there is only memory."""
        pipeline = env.get("PPS_PIPELINE_NAME")
        if not pipeline:
            return cls(None)
        # The spec commit tells this pipeline from one of the same name on another server, or of an earlier life.
        key = re.sub(r"[^A-Za-z0-9._-]", "-", "-".join((env.get("PPS_PROJECT_NAME", ""), pipeline, env.get("PPS_SPEC_COMMIT", ""))))
        try:
            return cls(Path(env.get("ALERT_STATE_DIR") or tempfile.gettempdir()) / f"tuskwatch-alerts-{key}")
        except FileNotFoundError:
            log.warning("no writable folder for the alert history: cooldowns are forgotten when this process ends; set ALERT_STATE_DIR")
            return cls(None)

    def device(self, name: str) -> DeviceHistory:
        """Return what is known about a device."""
        if name not in self._devices:
            self._devices[name] = self._read(name)
        return self._devices[name]

    def save(self, name: str) -> None:
        """Keep what is known about a device. A failure is logged: the alert itself is out."""
        device = self._devices[name]
        device.trim()
        if self._folder is None:
            return
        path = self._folder / f"{name}.json"
        staged = path.with_suffix(".new")
        try:
            write_json(staged, {"sent": device.sent, "held_back": device.held_back})
            staged.replace(path)
        except OSError as exc:
            log.warning("the alert history %s cannot be written: %s; set ALERT_STATE_DIR to a writable folder", path, exc.strerror)

    def _read(self, name: str) -> DeviceHistory:
        path = self._folder / f"{name}.json" if self._folder else None
        if path is None or not path.is_file():
            return DeviceHistory()
        try:
            return _parse(read_json(path))
        except (StageError, AttributeError, KeyError, TypeError, ValueError) as exc:
            log.warning("the alert history %s is damaged and starts anew: %s", path, exc)
            return DeviceHistory()


def _parse(value: Any) -> DeviceHistory:
    return DeviceHistory(
        sent={str(key): (int(timestamp), str(message_id)) for key, (timestamp, message_id) in value["sent"].items()},
        held_back={str(key): str(line) for key, line in value["held_back"].items()},
    )
