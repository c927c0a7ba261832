"""The README's figures are those of the result file that it names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import readme
from benchmarks.readme import FigureNotFoundError, Figures, fill, short, taken, wrapped


def row(name: str, value: float, unit: str = "s", target: str | None = None, *, holds: bool | None = None) -> dict[str, Any]:
    return {"part": "limit", "name": name, "value": value, "unit": unit, "target": target, "holds": holds}


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_a_page_says_what_its_result_file_says(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"benchmarks/results/(\S+-full\.json)", text))
    file = readme.newest_full()
    assert named == {file.name}
    assert fill(text, json.loads(file.read_text()), file) == text


def test_every_template_has_its_place() -> None:
    pages = "".join(page.read_text() for page in readme.PAGES)
    templates = {path.stem for path in Path(readme.__file__).with_name("templates").glob("*.md")}
    assert set(re.findall(r"<!-- figures: (\S+) -->", pages)) == templates


def test_parts_that_ran_at_another_time_are_named_with_it() -> None:
    one, two = {"commit": "1a", "date": "2026-11-23"}, {"commit": "2b", "date": "2026-11-25"}
    assert taken({"limit": one}) == "commit 1a, 2026-11-23"
    assert taken({"limit": one, "load": one | {"date": "2026-11-24"}, "growth": two}) == (
        "commit 1a, 2026-11-23 to 2026-11-24; growth of commit 2b, 2026-11-25"
    )


def test_a_missed_target_is_said_to_be_missed() -> None:
    figures = Figures({"results": [row("slow", 4, "ratio", "<= 3", holds=False), row("good", 1, "s", "<= 2", holds=True)]})
    assert figures.target("limit", "slow") == "at most 3: **missed**"
    assert figures.target("limit", "good", " s") == "at most 2 s"


def test_a_figure_that_is_missing_or_twice_there_is_an_error_that_names_the_part() -> None:
    figures = Figures({"results": [row("backfill", 4), row("backfill", 1, "images/s")]})
    assert figures.value("limit", "backfill", "images/s") == 1
    with pytest.raises(FigureNotFoundError, match="2 figures 'backfill'"):
        figures.value("limit", "backfill")
    with pytest.raises(FigureNotFoundError, match="PARTS=faults"):
        figures.total("faults", ".*: lost")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1678.8, "1,679"), (99.6, "100"), (34.6, "35"), (9.96, "10"), (8.68, "8.7"), (0.2454, "0.25"), (0, "0")],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_paragraphs_and_items_are_wrapped_and_tables_are_not() -> None:
    long = "word " * 40
    found = wrapped(f"{long}\n{long}\n\n* {long}\n{long}\n* b\n\n| {long} |\n\n```\n{long}\n```\n")
    lines = found.splitlines()
    assert [len(line) <= 140 for line in lines if line.startswith(("word", "*", "  "))].count(False) == 1  # the one in the block of code
    assert f"| {long} |" in lines
    assert sum(line.startswith("* ") for line in lines) == 2
    assert any(line.startswith("  word") for line in lines)
