"""Schedules of cron inputs: five fields, ``@hourly`` and its like, ``@every 10s``, ``@never``."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from croniter import croniter

from minipachd.errors import InvalidError
from minipachd.pfs.triggers import is_cron

Schedule = Callable[[int], int | None]
"""The first tick after a moment; both nanoseconds since the epoch. None: never."""

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECOND_NS = 10**9


def parse_schedule(spec: str) -> Schedule:
    """:raises InvalidError: ``spec`` is no schedule."""
    text = spec.strip()
    if text == "@never":
        return lambda _after: None
    if text.startswith("@every "):
        interval_ns = max(_SECOND_NS, _duration_ns(text.removeprefix("@every ").strip(), spec))
        return lambda after: after - after % _SECOND_NS + interval_ns
    if not is_cron(text) or len(text.split()) not in (1, 5):
        raise InvalidError(
            f"error parsing cron-spec: {spec!r} is neither five fields that ever come true "
            "nor @hourly, @daily, @every <duration>, @never or their like"
        )

    def following(after: int) -> int:
        base = datetime.fromtimestamp(after // _SECOND_NS, UTC)
        moment: datetime = croniter(text, base).get_next(datetime)
        return int(moment.timestamp()) * _SECOND_NS

    return following


def tick_path(now_ns: int) -> str:
    """The file that a tick adds: its time, RFC 3339."""
    return "/" + datetime.fromtimestamp(now_ns // _SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tick_time(path: str) -> int | None:
    """The reverse of :func:`tick_path`; None for a file of another name."""
    try:
        return int(datetime.strptime(path, "/%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()) * _SECOND_NS
    except ValueError:
        return None


def _duration_ns(text: str, spec: str) -> int:
    if not _DURATION.fullmatch(text):
        raise InvalidError(f"error parsing cron-spec: {spec!r}: {text!r} is not a duration such as 90s or 1h30m")
    return sum(round(float(number) * _UNITS[unit]) for number, unit in _PART.findall(text))
