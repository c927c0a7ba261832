"""Decide which detections are threats, record them and tell people.

For a threat it writes ``/<device>/<timestamp>.json``; for anything else, nothing::

    {
      "schema": "tuskwatch.threat/1",
      "device": "dev1", "timestamp": 1511891098, "time": "2017-11-28T17:44:58+00:00",
      "source": "dev1_1511891098.jpg", "annotated": "dev1/1511891098.jpg",
      "objects": [the threatening ones, as object-detect wrote them],
      "alert": {"id": "32 hex digits", "status": "sent", "reason": "...", "message_id": "..."}
    }

``status`` is ``sent``, ``off``, ``too-old``, ``outside-window`` or ``cooldown``.

No alert is lost: the datum succeeds only after SendGrid took the mail, and Pachyderm repeats a datum that did not. A process that is killed
between the two may send a mail twice; both carry the same ``alert_id``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from stages.common.errors import StageError
from stages.common.files import below, file_identity, walk_files, write_json
from stages.common.runner import Datum, each_file
from stages.common.zones import zone_in
from stages.contract import layout
from stages.contract.pipelines import OBJECT_DETECT, RULES, THREAT_DETECT
from stages.contract.records import Found, Threat
from stages.threat_detect.alerts import Alerter
from stages.threat_detect.detections import Seen, read_detections
from stages.threat_detect.history import History
from stages.threat_detect.mail import API_BASE, Mailer
from stages.threat_detect.rules import Rules, read_rules

log = logging.getLogger(__name__)

_RULE = layout.RULES_PATH.removeprefix("/")


def _utc_now() -> datetime:
    return datetime.now(tz=UTC)


class ThreatDetectStage:
    """cross(``object-detect:/*/*.json``, each with its annotated image, ``rules:/``) to ``/<device>/<timestamp>.json`` for threats.

    :param now: The wall clock.
    """

    name = THREAT_DETECT
    inputs: Mapping[str, str] = {
        OBJECT_DETECT: "output folder of object-detect",
        RULES: f"folder with {_RULE}, or the file itself",
    }
    settings_help = f"""environment:
  SENDGRID_API_KEY   key that may send mail; without it threats are recorded and nobody is told
  TIME_ZONE          zone of time_windows and of times in mails where the rules name none (default UTC)
  SENDGRID_API_BASE  where SendGrid's API is (default {API_BASE})
  ALERT_STATE_DIR    folder that remembers the mails sent, for cooldowns (default: the system's temporary folder)"""

    def __init__(self, *, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._rules: Rules | None = None
        self._rules_key: object = None
        self._alerter: Alerter | None = None
        self._alerter_key: object = None

    def warm_up(self, env: Mapping[str, str], /) -> None:
        """Load the rule checker and, where mail is on, SendGrid's client."""
        import jsonschema  # noqa: F401 - loaded for its side effect: the first datum finds it in memory

        self._alerter_of(env)

    def process(self, datum: Datum) -> None:
        """Judge every detection file of the datum.

        :raises StageError: The rules are wrong, a file is damaged, or SendGrid did not take a mail.
        """
        rules = self._load_rules(datum.inputs[RULES], commit=datum.commit_of(RULES), zone=zone_in(datum.env))
        alerter = self._alerter_of(datum.env)
        files = (path for path in walk_files(datum.inputs[OBJECT_DETECT]) if path.suffix == ".json")
        each_file(files, lambda path: self._judge(read_detections(path), out=datum.out, rules=rules, alerter=alerter))

    def _judge(self, seen: Seen, *, out: Path, rules: Rules, alerter: Alerter) -> None:
        rule = rules.for_device(seen.device)
        threats = [found for found in seen.record.objects if rule.is_threat(found.class_id, found.label, found.score)]
        if len(threats) < rule.min_count:
            return
        alert = alerter.alert(seen, threats, rule, now=self._now())
        log.info("threat: %s at %s: %s; alert: %s", seen.device, seen.taken_at.isoformat(), _names(threats), alert.status)
        copied = {name: getattr(seen.record, name) for name in ("device", "timestamp", "time", "source", "annotated", "image")}
        threat = Threat(**copied, objects=tuple(threats), alert=alert)
        write_json(below(out, layout.record(seen.device, seen.output_name)), threat.as_json())

    def _load_rules(self, source: Path, *, commit: str | None, zone: ZoneInfo) -> Rules:
        path = source / _RULE if source.is_dir() else source
        if not path.is_file():
            raise StageError(f"the rules repo has no /{_RULE}; stages/threat_detect/rule.json is one to start from")
        key = (zone.key, file_identity(path, commit=commit))
        if self._rules is None or key != self._rules_key:
            self._rules = read_rules(path, zone=zone)
            self._rules_key = key
        return self._rules

    def _alerter_of(self, env: Mapping[str, str]) -> Alerter:
        """Return the alerter for this environment, the same one as long as nothing changes."""
        key = tuple(env.get(name, "") for name in ("SENDGRID_API_KEY", "SENDGRID_API_BASE", "PPS_PIPELINE_NAME", "PPS_SPEC_COMMIT"))
        if self._alerter is None or key != self._alerter_key:
            api_key = env.get("SENDGRID_API_KEY", "").strip()
            mailer = Mailer(api_key, base_url=env.get("SENDGRID_API_BASE") or API_BASE) if api_key else None
            if mailer is None:
                log.warning("mail is off: SENDGRID_API_KEY is not set; threats are recorded and nobody is told")
            self._alerter = Alerter(mailer, History.of_pipeline(env))
            self._alerter_key = key
        return self._alerter


def _names(threats: list[Found]) -> str:
    return ", ".join(sorted({found.label for found in threats}))
