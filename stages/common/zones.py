"""Time zones by name."""

from __future__ import annotations

import difflib
import functools
import zoneinfo
from collections.abc import Mapping
from typing import Final

from stages.common.errors import StageError
from stages.contract.names import shown

TIME_ZONE: Final = "TIME_ZONE"  # in the environment of a stage; DAGs put the installation's setting there
DEFAULT: Final = "UTC"
_LONGEST: Final = 64


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """The zone of this name.

    :param name: Such as ``Europe/Berlin``.
    :raises StageError: There is none; names the nearest one.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
        known = _known()
        close = difflib.get_close_matches(name.strip().casefold()[:_LONGEST], known, n=1, cutoff=0.6)
        hint = f"did you mean {known[close[0]]}?" if close else "write one such as Europe/Berlin"
        raise StageError(f"{shown(name)!r} is not a time zone; {hint}") from exc


@functools.cache
def _known() -> dict[str, str]:
    """All zones by their names in lower case; the system looks through hundreds of files for them."""
    return {zone.casefold(): zone for zone in zoneinfo.available_timezones()}


def zone_in(env: Mapping[str, str]) -> zoneinfo.ZoneInfo:
    """The zone that a stage's environment names, UTC where it names none.

    :raises StageError: There is no such zone.
    """
    try:
        return zone_of(env.get(TIME_ZONE, "").strip() or DEFAULT)
    except StageError as exc:
        raise StageError(f"{TIME_ZONE}: {exc}; correct it in the pipeline's transform.env") from exc
