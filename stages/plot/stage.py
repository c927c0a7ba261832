"""Draw what threat-detect has found so far.

Writes ``/threats.png`` and ``/threats.json``::

    {
      "schema": "tuskwatch.plot/1",
      "total": 6, "first": "2017-11-28T17:44:58+00:00", "last": "2017-11-28T17:51:52+00:00",
      "devices": {"dev1": 3, "dev3": 1, "dev4": 2},
      "per_day": {"2017-11-28": 6}, "per_hour": {"17": 6},
      "classes": {"person": 15, "car": 7}, "classes_from_newest": 6, "time_zone": "UTC"
    }

A threat is an image with at least one threatening object. Days and hours are those of the zone that ``TIME_ZONE`` names, by default UTC.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from stages.common.files import below, write_json
from stages.common.runner import Datum
from stages.common.zones import zone_in
from stages.contract import layout
from stages.contract.pipelines import PLOT, THREAT_DETECT
from stages.plot.counts import Tally, count_threats
from stages.plot.figure import draw

log = logging.getLogger(__name__)


class PlotStage:
    """``threat-detect:/`` to ``/threats.png`` and ``/threats.json``."""

    name = PLOT
    inputs: Mapping[str, str] = {THREAT_DETECT: "output folder of threat-detect"}
    settings_help = "environment:\n  TIME_ZONE          zone of days and hours, such as Europe/Berlin (default UTC)"

    def warm_up(self, _env: Mapping[str, str], /) -> None:
        """Load matplotlib and its fonts by drawing an empty chart."""
        draw(Tally())

    def process(self, datum: Datum) -> None:
        """Count and draw. Files that are no threats are left out and named in the log.

        :raises StageError: The input cannot be listed, or there is no such zone.
        """
        tally = count_threats(datum.inputs[THREAT_DETECT], zone=zone_in(datum.env))
        write_json(below(datum.out, layout.COUNTS), tally.record().as_json())
        below(datum.out, layout.CHART).write_bytes(draw(tally))
        log.info("%d threats of %d devices", tally.total, len(tally.devices))
