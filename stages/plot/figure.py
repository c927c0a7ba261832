"""Drawing the counts as one picture of four panels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from stages.contract.names import shown
from stages.plot.counts import Tally

_BAR = "#0b57d0"
_SHOWN_BARS = 20
_SHOWN_DAYS = 62
_TICKS = 10


def draw(tally: Tally) -> bytes:
    """Return the picture as PNG.

    It is readable with any number of devices, classes and days: the largest are shown one by one and the rest as one bar; many days are
    drawn as weeks, months or years.
    """
    # No pyplot: its figures live in a global registry, and this process draws for as long as the pipeline lives.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), dpi=100)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.12, right=0.97, top=0.86, bottom=0.09, hspace=0.38, wspace=0.42)
    figure.suptitle(_title(tally), fontsize=15)
    panels = figure.subplots(2, 2)
    _ranking(panels[0][0], tally.devices.most_common(), title=f"Threats by device ({len(tally.devices)})", rest="others")
    objects = f"Objects by class, newest {tally.classes_from} threats" if tally.classes_from < tally.total else "Objects by class"
    _ranking(panels[0][1], tally.classes.most_common(), title=objects, rest="others")
    _columns(panels[1][0], *_days(tally))
    hours = [tally.hours[hour] for hour in range(24)]
    _columns(panels[1][1], f"Threats by hour of the day ({tally.zone})", [f"{hour:02}" for hour in range(24)], hours)
    # The same counts give the same bytes, which Pachyderm stores once. Level 1 packs much faster than the default and a little worse.
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return stream.getvalue()


def _title(tally: Tally) -> str:
    if tally.first is None or tally.last is None:
        return "No threats so far"
    span = f"{tally.first:%Y-%m-%d %H:%M} to {tally.last:%Y-%m-%d %H:%M} {tally.zone}"
    return f"{tally.total:,} threat{'' if tally.total == 1 else 's'}, {span}"


def _ranking(panel: Any, ranking: Sequence[tuple[str, int]], *, title: str, rest: str) -> None:
    """Draw the largest as bars that lie, longest on top; the rest is one bar at the bottom."""
    bars = [(shown(name, limit=24), count) for name, count in sorted(ranking, key=lambda item: (-item[1], item[0]))]
    if len(bars) > _SHOWN_BARS:
        small = bars[_SHOWN_BARS - 1 :]
        bars = [*bars[: _SHOWN_BARS - 1], (f"{len(small)} {rest}", sum(count for _, count in small))]
    panel.set_title(title)
    if not bars:
        _empty(panel)
        return
    places = range(len(bars))
    drawn = panel.barh(places, [count for _, count in bars], color=_BAR)
    size = 10 if len(bars) <= _SHOWN_BARS // 2 else 7
    panel.set_yticks(places, [_plain(name) for name, _ in bars], fontsize=size)
    panel.bar_label(drawn, padding=3, fontsize=size, fmt="{:,.0f}")
    panel.invert_yaxis()
    panel.margins(x=0.15)
    _whole_numbers(panel.xaxis)


def _columns(panel: Any, title: str, labels: Sequence[str], values: Sequence[int]) -> None:
    """Draw standing bars, with a label under some ten of them."""
    panel.set_title(title)
    if not any(values):
        _empty(panel)
        return
    panel.bar(range(len(values)), values, color=_BAR, width=0.85)
    step = -(-len(labels) // _TICKS)
    panel.set_xticks(range(0, len(labels), step), labels[::step], fontsize=8)
    _whole_numbers(panel.yaxis)


def _days(tally: Tally) -> tuple[str, list[str], list[int]]:
    """Return title, labels and values of the time panel, days without threats included, at most some sixty bars."""
    if not tally.days:
        return f"Threats by day ({tally.zone})", [], []
    first, last = min(tally.days), max(tally.days)
    span = (last - first).days + 1
    if span <= _SHOWN_DAYS:
        days = [first + timedelta(days=index) for index in range(span)]
        return f"Threats by day ({tally.zone})", [f"{day:%m-%d}" for day in days], [tally.days[day] for day in days]
    if span <= 7 * _SHOWN_DAYS:
        return _binned(
            tally,
            f"Threats by week ({tally.zone})",
            lambda day: (day - first).days // 7,
            lambda bin_: f"{first + timedelta(days=7 * bin_):%y-%m-%d}",
        )
    if span <= 31 * _SHOWN_DAYS:
        return _binned(
            tally,
            f"Threats by month ({tally.zone})",
            lambda day: day.year * 12 + day.month - 1,
            lambda bin_: f"{bin_ // 12}-{bin_ % 12 + 1:02}",
        )
    years = -(-(last.year - first.year + 1) // _SHOWN_DAYS)
    title = f"Threats by {'year' if years == 1 else f'{years} years'} ({tally.zone})"
    return _binned(tally, title, lambda day: (day.year - first.year) // years, lambda bin_: str(first.year + bin_ * years))


def _binned(tally: Tally, title: str, bin_of: Any, label_of: Any) -> tuple[str, list[str], list[int]]:
    sums: dict[int, int] = {}
    for day, count in tally.days.items():
        index = bin_of(day)
        sums[index] = sums.get(index, 0) + count
    bins = range(min(sums), max(sums) + 1)
    return title, [label_of(index) for index in bins], [sums.get(index, 0) for index in bins]


def _empty(panel: Any) -> None:
    panel.text(0.5, 0.5, "nothing yet", ha="center", va="center", color="#5f6368", transform=panel.transAxes)
    panel.set_xticks([])
    panel.set_yticks([])


def _whole_numbers(axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def _plain(text: str) -> str:
    """Keep matplotlib from reading a name as a formula."""
    return text.replace("$", r"\$")
