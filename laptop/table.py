"""The demo's result as text: what a person wants to see first."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def render(summary: Mapping[str, Any]) -> str:
    """Tables of images, detections by class, threats by device and seconds per stage.

    :param summary: The content of ``summary.json``.
    """
    images = summary["images"]
    invalid = ", ".join(images["invalid"][:5]) + (", …" if len(images["invalid"]) > 5 else "")
    labels = Counter(found["label"] for objects in summary["detections"].values() for found in objects)
    jobs = summary["jobs"]
    return "\n\n".join(
        (
            _table(("images", ""), (("valid", len(images["valid"])), ("invalid", f"{len(images['invalid'])}  {invalid}"))),
            _table(("detected", ""), labels.most_common()) if labels else "nothing detected",
            _table(("threats", ""), sorted(summary["threats"].items())) if summary["threats"] else "no threats",
            _table(
                ("stage", "state", "processed", "skipped", "failed", "seconds"),
                (
                    (name, job["state"], job["processed"], job["skipped"], job["failed"], f"{job['seconds']:.2f}")
                    for name, job in jobs.items()
                ),
            ),
        )
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join((lines[0], "  ".join("-" * width for width in widths).rstrip(), *lines[1:]))
