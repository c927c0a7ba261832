"""Sending one alert through SendGrid.

Success means that SendGrid took the mail: answer 202. No redirect is followed, since the request carries the key. Busy (429), broken (5xx)
and unreachable are tried again; a refusal (400, 401, 403, 413, …) is final and carries SendGrid's own words.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message as Headers
from typing import Any

from stages.common.errors import StageError
from stages.contract.names import shown

log = logging.getLogger(__name__)

API_BASE = "https://api.sendgrid.com"
ATTEMPTS = 6
TIMEOUT_SECONDS = 10
_LONGEST_WAIT_SECONDS = 60.0
_MOST_ANSWER_BYTES = 64 * 1024
_SENT = 202
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Message:
    """One mail.

    :ivar alert_id: Travels as custom argument ``alert_id``, the same when a mail is repeated.
    :ivar image: JPEG to attach.
    """

    alert_id: str
    from_email: str
    to_emails: tuple[str, ...]
    subject: str
    text: str
    html: str
    image: bytes | None
    image_name: str


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like others: to follow it would send the key to whoever it names."""

    def redirect_request(self, *_arguments: Any, **_more: Any) -> None:
        return None


class Mailer:
    """Sends mails with one API key.

    :param key: SendGrid API key with the right to send; it is never logged.
    :param base_url: Where the API is.
    :param sleep: Waits between attempts, in seconds.
    :param now: The wall clock in Unix seconds, for the rate limit's reset.
    :raises StageError: No request can carry this key.
    """

    def __init__(
        self,
        key: str,
        *,
        base_url: str = API_BASE,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise StageError("SENDGRID_API_KEY is no key of SendGrid: it holds a line break, a blank or another character that no key has")
        self._key = key
        self._url = f"{base_url.rstrip('/')}/v3/mail/send"
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._sleep = sleep
        self._now = now

    def send(self, message: Message) -> str:
        """Send a mail.

        :return: SendGrid's message id.
        :raises StageError: SendGrid refused it, or did not take it in six attempts.
        """
        body = json.dumps(_request(message)).encode()
        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            headers = Headers()
            try:
                status, headers, answer = self._post(body)
            except (http.client.HTTPException, OSError) as exc:
                problem = self._masked(f"unreachable: {exc}")
            else:
                if status == _SENT:
                    return str(headers.get("X-Message-Id") or "")
                problem = self._masked(f"HTTP {status}: {_words(answer, headers)}")
                if status != _TOO_MANY_REQUESTS and status < _SERVER_ERROR:
                    raise StageError(f"SendGrid refused alert {message.alert_id}: {problem}; {_WAY_OUT}")
            if attempt < ATTEMPTS:
                wait = self._wait_seconds(attempt, headers)
                log.warning("alert %s: attempt %d of %d: %s; again in %.0f s", message.alert_id, attempt, ATTEMPTS, problem, wait)
                self._sleep(wait)
        raise StageError(f"SendGrid did not take alert {message.alert_id} in {ATTEMPTS} attempts: {problem}; the datum can be tried again")

    def _post(self, body: bytes) -> tuple[int, Headers, bytes]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - the installation's own setting
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return answer.status, answer.headers, answer.read(_MOST_ANSWER_BYTES)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, refusal.read(_MOST_ANSWER_BYTES)

    def _masked(self, text: str) -> str:
        """Without the key, which a server may send back."""
        return text.replace(self._key, "***") if self._key else text

    def _wait_seconds(self, attempt: int, headers: Headers) -> float:
        """Return how long SendGrid wants us to wait, or twice as long after every attempt."""
        wait = 2.0 ** (attempt - 1)
        try:
            if headers.get("Retry-After"):
                wait = float(headers["Retry-After"])
            elif headers.get("X-RateLimit-Reset"):
                wait = float(headers["X-RateLimit-Reset"]) - self._now()
        except ValueError:  # a date in words, or nonsense: our own pace will do
            log.debug("unreadable rate limit headers")
        return min(max(wait, 1.0), _LONGEST_WAIT_SECONDS) if math.isfinite(wait) else _LONGEST_WAIT_SECONDS


_WAY_OUT = "check from_email and to_email in rule.json and the key in SENDGRID_API_KEY"


def _words(body: bytes, headers: Headers) -> str:
    """Return SendGrid's own error messages."""
    if headers.get("Location"):
        return "a redirect, which is not followed, since the request carries the key: check SENDGRID_API_BASE"
    text = body.decode(errors="replace")
    try:
        text = "; ".join(str(error["message"]) for error in json.loads(text)["errors"])
    except (ValueError, KeyError, TypeError):
        log.debug("not SendGrid's error format")
    return shown(text, limit=500)


def _request(message: Message) -> dict[str, Any]:
    from sendgrid.helpers.mail import Attachment, ContentId, CustomArg, Disposition, FileContent, FileName, FileType, Mail

    mail = Mail(
        from_email=message.from_email,
        to_emails=list(message.to_emails),
        subject=message.subject,
        plain_text_content=message.text,
        html_content=message.html,
        is_multiple=True,  # everyone gets a mail of their own: nobody sees the others' addresses
    )
    mail.add_custom_arg(CustomArg("alert_id", message.alert_id))
    if message.image is not None:
        content = FileContent(base64.b64encode(message.image).decode())
        mail.add_attachment(
            Attachment(content, FileName(message.image_name), FileType("image/jpeg"), Disposition("attachment"), ContentId("annotated"))
        )
    request: dict[str, Any] = mail.get()
    return request
