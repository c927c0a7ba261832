"""Pictures of a result file's curves."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

_SIZE: Final = (9.0, 4.5)  # inches


def draw(content: Mapping[str, Any], stem: Path) -> list[Path]:
    """Draw every plot of a result file.

    :param stem: Path of the pictures, to which the name of the plot and ``.png`` are added.
    :return: What was written.
    """
    written = []
    curves = sorted(content["curves"], key=lambda curve: str(curve["plot"]))
    for plot, group in groupby(curves, key=lambda curve: str(curve["plot"])):
        written.append(stem.with_name(f"{stem.name}-{plot}.png"))
        _draw(list(group), f"{plot}, {content['date']}, commit {content['commit']}, {content['machine']['cores']} cores", written[-1])
    return written


def _draw(curves: list[Mapping[str, Any]], title: str, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=_SIZE, layout="constrained")
    if isinstance(curves[0]["points"][0][0], str):
        _bars(axes, curves)
    else:
        for curve in curves:
            axes.plot(*zip(*curve["points"], strict=True), marker="o" if len(curve["points"]) < 20 else None, label=curve["label"])
        axes.set_xlabel(curves[0]["abscissa"])
        axes.set_ylim(bottom=0)
    axes.set_ylabel(curves[0]["unit"])
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _bars(axes: Any, curves: list[Mapping[str, Any]]) -> None:
    """A group for each abscissa, a bar for each curve; times spread over decades, so the scale is logarithmic."""
    words = list(dict.fromkeys(word for curve in curves for word, _ in curve["points"]))
    width = 0.8 / len(curves)
    for number, curve in enumerate(curves):
        places = [words.index(word) + (number - (len(curves) - 1) / 2) * width for word, _ in curve["points"]]
        axes.bar(places, [value for _, value in curve["points"]], width, label=curve["label"])
    axes.set_xticks(range(len(words)), words)
    axes.set_yscale("log")
