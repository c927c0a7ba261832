"""The time zone of an installation: ``TUSKWATCH_TIMEZONE``, for all times that people see."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from laptop.errors import LaptopError
from stages.common.errors import StageError
from stages.common.zones import DEFAULT, zone_of

SETTING: Final = "TUSKWATCH_TIMEZONE"


def time_zone(env: Mapping[str, str] = os.environ) -> ZoneInfo:
    """The zone that the environment names, UTC where it names none.

    :raises LaptopError: There is no such zone.
    """
    try:
        return zone_of(env.get(SETTING, "").strip() or DEFAULT)
    except StageError as error:
        msg = f"{SETTING}: {error}"
        raise LaptopError(msg) from error


def clock(seconds: float) -> str:
    """A moment for people, the zone named."""
    return f"{datetime.fromtimestamp(seconds, tz=time_zone()):%Y-%m-%d %H:%M:%S %Z}"
