"""From a threat to a mail, or to the reason why there is none."""

from __future__ import annotations

import html
import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from stages.common.files import read_bytes
from stages.contract.records import Alert, AlertStatus, Found
from stages.threat_detect.detections import Seen
from stages.threat_detect.history import DeviceHistory, History
from stages.threat_detect.mail import Mailer, Message
from stages.threat_detect.rules import Rule, fill

log = logging.getLogger(__name__)

_LARGEST_ATTACHMENT_BYTES = 15 << 20  # SendGrid takes 30 MB a mail, and base64 adds a third


class Alerter:
    """Tells people about threats.

    :param mailer: None where mail is off.
    """

    def __init__(self, mailer: Mailer | None, history: History) -> None:
        self._mailer = mailer
        self._history = history

    def alert(self, seen: Seen, threats: Sequence[Found], rule: Rule, *, now: datetime) -> Alert:
        """Send a mail if the rule and the circumstances ask for one.

        :raises StageError: SendGrid did not take it.
        """
        alert_id = seen.alert_id
        age = now - seen.taken_at
        if age > rule.max_age:
            return _alert(alert_id, AlertStatus.TOO_OLD, f"the image is {age.total_seconds() / 3600:.0f} hours old")
        if not rule.alerts_at(seen.taken_at):
            return _alert(alert_id, AlertStatus.OUTSIDE_WINDOW, f"{_local(seen, rule)} lies in none of the time_windows")
        if self._mailer is None:
            return _alert(alert_id, AlertStatus.OFF, "SENDGRID_API_KEY is not set")
        if rule.from_email is None or not rule.to_emails:
            log.warning("mail is off for %s: rule.json has no %s", seen.device, "to_email" if rule.from_email else "from_email")
            return _alert(alert_id, AlertStatus.OFF, "rule.json has no from_email or no to_email")
        return self._send(self._mailer, seen, threats, rule, rule.from_email)

    def _send(self, mailer: Mailer, seen: Seen, threats: Sequence[Found], rule: Rule, from_email: str) -> Alert:
        alert_id = seen.alert_id
        device = self._history.device(seen.device)
        if alert_id in device.sent:
            return _alert(alert_id, AlertStatus.SENT, "by an earlier attempt", device.sent[alert_id][1])
        timestamp = int(seen.taken_at.timestamp())
        if device.cooling(timestamp, rule.cooldown):
            device.held_back[alert_id] = f"{_local(seen, rule)}: {_labels(threats)} ({seen.record.source})"
            self._history.save(seen.device)
            return _alert(alert_id, AlertStatus.COOLDOWN, f"a mail about {seen.device} went out less than cooldown_minutes before")
        message_id = mailer.send(_message(seen, threats, rule, from_email, device))
        device.sent[alert_id] = (timestamp, message_id)
        device.held_back.clear()
        self._history.save(seen.device)
        return _alert(alert_id, AlertStatus.SENT, f"to {len(rule.to_emails)} addresses", message_id)


def _alert(alert_id: str, status: AlertStatus, reason: str, message_id: str = "") -> Alert:
    return Alert(id=alert_id, status=status.value, reason=reason, message_id=message_id)


def _message(seen: Seen, threats: Sequence[Found], rule: Rule, from_email: str, device: DeviceHistory) -> Message:
    values = {
        "device": seen.device,
        "time": _local(seen, rule),
        "labels": _labels(threats),
        "count": str(len(threats)),
        "score": f"{max(found.score for found in threats):.0%}",
        "source": seen.record.source,
    }
    text = fill(rule.body, values)
    if rule.digest and device.held_back:
        text += "\n\nSince the last mail also:\n" + "\n".join(f"- {line}" for line in device.held_back.values())
    return Message(
        alert_id=seen.alert_id,
        from_email=from_email,
        to_emails=rule.to_emails,
        subject=" ".join(fill(rule.subject, values).split()),  # a header is one line
        text=text,
        html="<p>" + html.escape(text).replace("\n\n", "</p><p>").replace("\n", "<br>") + "</p>",
        image=_image(seen),
        image_name=f"{seen.device}_{seen.output_name}.jpg",
    )


def _image(seen: Seen) -> bytes | None:
    if seen.annotated is None:
        log.info("alert %s: no annotated image beside the detections: the mail goes without", seen.alert_id)
        return None
    if seen.annotated.stat().st_size > _LARGEST_ATTACHMENT_BYTES:
        log.warning("alert %s: the annotated image is too large for a mail", seen.alert_id)
        return None
    return read_bytes(seen.annotated, limit_bytes=_LARGEST_ATTACHMENT_BYTES)


def _local(seen: Seen, rule: Rule) -> str:
    return seen.taken_at.astimezone(rule.time_zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def _labels(threats: Sequence[Found]) -> str:
    counts = Counter(found.label for found in threats)
    return ", ".join(f"{count} {label}" if count > 1 else label for label, count in counts.most_common())
