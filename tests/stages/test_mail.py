"""Mail against a real HTTP server in SendGrid's place."""

import base64
import json

import pytest

from stages.common.errors import StageError
from stages.threat_detect.mail import ATTEMPTS, Mailer, Message

KEY = "SG.secret-key"
REFUSAL = json.dumps({"errors": [{"message": "The from address does not match a verified Sender Identity.", "field": "from"}]}).encode()


def message(**changes) -> Message:
    fields = {
        "alert_id": "id-1",
        "from_email": "cam@example.org",
        "to_emails": ("a@example.org", "b@example.org"),
        "subject": "Threat",
        "text": "dev1 saw a car",
        "html": "<p>dev1 saw a car</p>",
        "image": b"\xff\xd8jpeg",
        "image_name": "dev1_1511891098.jpg",
    }
    return Message(**{**fields, **changes})


@pytest.fixture
def waits():
    return []


@pytest.fixture
def mailer(sendgrid, waits):
    return Mailer(KEY, base_url=sendgrid.url, sleep=waits.append, now=lambda: 1_000_000.0)


def test_the_request(sendgrid, mailer, waits):
    assert mailer.send(message()) == "message-1"
    (mail,) = sendgrid.mails
    assert sendgrid.keys == [f"Bearer {KEY}"]
    assert mail["from"] == {"email": "cam@example.org"}
    people = sorted(mail["personalizations"], key=str)
    assert people == [{"to": [{"email": "a@example.org"}]}, {"to": [{"email": "b@example.org"}]}]
    assert mail["subject"] == "Threat"
    assert {part["type"]: part["value"] for part in mail["content"]} == {
        "text/plain": "dev1 saw a car",
        "text/html": "<p>dev1 saw a car</p>",
    }
    assert mail["custom_args"] == {"alert_id": "id-1"}
    (attachment,) = mail["attachments"]
    assert base64.b64decode(attachment["content"]) == b"\xff\xd8jpeg"
    assert (attachment["filename"], attachment["type"]) == ("dev1_1511891098.jpg", "image/jpeg")
    assert waits == []


def test_a_mail_without_an_image(sendgrid, mailer):
    mailer.send(message(image=None))
    assert "attachments" not in sendgrid.mails[0]


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        ((429, {"Retry-After": "7"}, b""), 7),
        ((429, {"X-RateLimit-Reset": "1000012"}, b""), 12),
        ((429, {"X-RateLimit-Reset": "999000"}, b""), 1),  # already past
        ((429, {"Retry-After": "86400"}, b""), 60),  # longer than a datum may wait
        ((429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""), 1),
        ((500, {}, b"oops"), 1),
        ((502, {}, b"<html>bad gateway</html>"), 1),
        ((503, {"Retry-After": "3"}, b""), 3),
    ],
)
def test_busy_and_broken_are_tried_again(sendgrid, mailer, waits, reply, wait):
    sendgrid.replies = [reply]
    assert mailer.send(message()) == "message-1"
    assert waits == [wait]


def test_waits_grow_and_the_attempts_end(sendgrid, mailer, waits):
    sendgrid.replies = [(500, {}, b"oops")] * ATTEMPTS
    with pytest.raises(StageError, match="did not take alert id-1 in 6 attempts: HTTP 500: oops"):
        mailer.send(message())
    assert (sendgrid.attempts, waits) == (6, [1, 2, 4, 8, 16])


def test_repeats_carry_the_same_id(sendgrid, mailer):
    mailer.send(message())
    mailer.send(message())
    assert [mail["custom_args"]["alert_id"] for mail in sendgrid.mails] == ["id-1", "id-1"]


@pytest.mark.parametrize("status", [400, 401, 403, 413])
def test_a_refusal_is_final_and_in_sendgrid_s_words(sendgrid, mailer, waits, status, caplog):
    sendgrid.replies = [(status, {}, REFUSAL)]
    with pytest.raises(StageError, match=rf"HTTP {status}: The from address does not match a verified Sender Identity\.; check") as caught:
        mailer.send(message())
    assert waits == []
    assert KEY not in caplog.text + str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 301, 302, 303, 307, 308])
def test_only_202_is_sent_and_the_key_goes_nowhere_else(sendgrid, mailer, waits, status):
    sendgrid.replies = [(status, {"Location": f"{sendgrid.url}/elsewhere"}, b"moved")]
    with pytest.raises(StageError, match=rf"refused alert id-1: HTTP {status}: a redirect, which is not followed"):
        mailer.send(message())
    assert (sendgrid.attempts, waits) == (1, [])


@pytest.mark.parametrize("status", [401, 500])
def test_a_key_that_the_server_sends_back_is_masked(sendgrid, mailer, caplog, status):
    echo = json.dumps({"errors": [{"message": f"Bearer {KEY} is unknown"}]}).encode()
    sendgrid.replies = [(status, {}, echo)] * ATTEMPTS
    with pytest.raises(StageError, match=r"Bearer \*\*\* is unknown") as caught:
        mailer.send(message())
    assert KEY not in caplog.text + str(caught.value) + str(caught.value.__cause__)


@pytest.mark.parametrize("key", ["SG.one\nX-Other: two", "SG.one two", "SG.\u00fc"])
def test_a_key_that_no_request_can_carry_is_refused_and_not_shown(key):
    with pytest.raises(StageError, match="SENDGRID_API_KEY is no key of SendGrid") as caught:
        Mailer(key)
    assert "SG." not in str(caught.value)


@pytest.mark.parametrize("wait", ["nan", "inf", "-inf"])
def test_a_wait_without_end_is_bounded(sendgrid, mailer, waits, wait):
    sendgrid.replies = [(429, {"Retry-After": wait}, b"")]
    mailer.send(message())
    assert waits == [60]


def test_an_unreachable_server(waits):
    mailer = Mailer(KEY, base_url="http://127.0.0.1:1", sleep=waits.append)
    with pytest.raises(StageError, match=r"in 6 attempts: unreachable: .*refused"):
        mailer.send(message())
    assert len(waits) == 5
