"""The time zone in which the page shows times."""

import logging
import os
import zoneinfo
from typing import Final

log = logging.getLogger(__name__)

SETTING: Final = "TUSKWATCH_TIMEZONE"


def zone_name() -> str:
    """The installation's time zone; UTC where none is set, or one that there is not, which the DAGs' import errors name."""
    name = os.environ.get(SETTING, "").strip() or "UTC"
    try:
        return zoneinfo.ZoneInfo(name).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        log.warning("%s is %r, which is no time zone: the page shows UTC", SETTING, name)
        return "UTC"
