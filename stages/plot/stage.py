"""Draw what threat-detect has found so far.

Writes ``/threats.png`` and ``/threats.json``::

    {
      "schema": "tuskwatch.plot/1",
      "total": 6, "first": "2017-11-28T17:44:58+00:00", "last": "2017-11-28T17:51:52+00:00",
      "devices": {"dev1": 3, "dev3": 1, "dev4": 2},
      "per_day": {"2017-11-28": 6}, "per_hour": {"17": 6},
      "classes": {"person": 15, "car": 7}, "classes_from_newest": 6
    }

A threat is an image with at least one threatening object. Times are UTC.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from stages.common.files import write_json
from stages.common.runner import Datum
from stages.plot.counts import Counts, count_threats
from stages.plot.figure import draw

log = logging.getLogger(__name__)


class PlotStage:
    """``threat-detect:/`` to ``/threats.png`` and ``/threats.json``."""

    name = "plot"
    inputs: Mapping[str, str] = {"threat-detect": "output folder of threat-detect"}
    settings_help = "environment: nothing of its own"

    def warm_up(self, _env: Mapping[str, str], /) -> None:
        """Load matplotlib and its fonts by drawing an empty chart."""
        draw(Counts())

    def process(self, datum: Datum) -> None:
        """Count and draw. Files that are no threats are left out and named in the log.

        :raises StageError: The input cannot be listed.
        """
        counts = count_threats(datum.inputs["threat-detect"])
        write_json(datum.out / "threats.json", counts.as_json())
        (datum.out / "threats.png").write_bytes(draw(counts))
        log.info("%d threats of %d devices", counts.total, len(counts.devices))
