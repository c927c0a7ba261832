"""The figures of the README and of docs/scaling.md, from a result file.

    python -m benchmarks.readme [FILE]

Both pages hold sections between ``<!-- figures: NAME -->`` and ``<!-- end of figures -->``; each is ``templates/NAME.md`` with the
file's figures filled in. Without a file, the newest full one of ``results`` is taken.
"""

import argparse
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.results import REPOSITORY

PAGES: Final = (REPOSITORY / "README.md", REPOSITORY / "docs" / "scaling.md")
_RESULTS: Final = REPOSITORY / "benchmarks" / "results"
_WIDTH: Final = 140
_AS_IT_IS: Final = ("|", "```", "  ", "#")
_SECTION: Final = re.compile(r"(?<=<!-- figures: )([\w-]+) -->\n.*?(?=<!-- end of figures -->)", re.DOTALL)


class FigureNotFoundError(LookupError):
    """A template names a figure that the result file lacks, or has twice; the message says which part measures it."""


class Figures:
    """The rows of a result file, as templates ask for them.

    A row is named by a regular expression for its part and one for its name, each for the whole; where two rows differ in nothing else, by
    its unit, too.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._rows: Sequence[Mapping[str, Any]] = content["results"]

    def value(self, part: str, name: str, unit: str | None = None) -> float:
        """The value of the one row of that name, in its own unit.

        :raises FigureNotFoundError: There is none, or there are several.
        """
        return float(self._one(part, name, unit)["value"])

    def total(self, part: str, name: str) -> float:
        """The sum of all rows of such names.

        :raises FigureNotFoundError: There is none.
        """
        return sum(self._values(part, name))

    def worst(self, part: str, name: str) -> float:
        """The greatest of all rows of such names.

        :raises FigureNotFoundError: There is none.
        """
        return max(self._values(part, name))

    def said(self, part: str, name: str) -> str:
        """What the first group of the expression matches in the name of the one row.

        :raises FigureNotFoundError: There is none, or there are several.
        """
        match = re.fullmatch(name, self._one(part, name)["name"])
        assert match is not None
        return match[1]

    def target(self, part: str, name: str, unit: str = "") -> str:
        """The target of the one row of that name in words, and whether it was missed.

        :raises FigureNotFoundError: There is none, or there are several.
        """
        row = self._one(part, name)
        words = "0" if row["target"] == "<= 0" else row["target"].replace(">=", "at least").replace("<=", "at most")
        return f"{words}{unit}{'' if row['holds'] else ': **missed**'}"

    def _one(self, part: str, name: str, unit: str | None = None) -> Mapping[str, Any]:
        found = [row for row in self._all(part, name) if unit in (None, row["unit"])]
        if len(found) != 1:
            raise FigureNotFoundError(f"{len(found)} figures {name!r} where one is wanted: {_way_out(part)}")
        return found[0]

    def _values(self, part: str, name: str) -> list[float]:
        if not (found := self._all(part, name)):
            raise FigureNotFoundError(f"no figure {name!r}: {_way_out(part)}")
        return [float(row["value"]) for row in found]

    def _all(self, part: str, name: str) -> list[Mapping[str, Any]]:
        return [row for row in self._rows if re.fullmatch(part, row["part"]) and re.fullmatch(name, row["name"])]


def _way_out(part: str) -> str:
    return f"part {part!r} of a full run measures it (make bench FULL=1 PARTS={part} KEEP=<this file>)"


def short(value: float) -> str:
    """Two digits that count, at least: 1,679, 35, 8.7, 0.25."""
    size = abs(value)
    digits = 0 if size >= 9.95 or size == 0 else 1 if size >= 0.995 else 2
    return f"{value:,.{digits}f}"


def render(name: str, content: Mapping[str, Any], file: Path) -> str:
    """A section of a page.

    :param name: Of the template.
    :param content: Of the result file.
    :param file: Where that lies; pages name it.
    :raises FigureNotFoundError: See there.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - Markdown of our own
    )
    environment.filters["short"] = short
    figures = Figures(content)
    asked = {ask.__name__: ask for ask in (figures.value, figures.total, figures.worst, figures.said, figures.target)}
    known = {"taken": taken(content["parts"]), "file": file.name, **{key: content[key] for key in ("machine", "setting")}}
    return wrapped(environment.get_template(f"{name}.md").render(**asked, **known))


def taken(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Of which commit most parts of a run are and when they ran; and so for the others, which are named."""
    runs: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, part in parts.items():
        runs.setdefault(part["commit"], {})[name] = part
    first, *others = sorted(runs, key=lambda commit: len(runs[commit]), reverse=True)
    words = [f"commit {first}, {_days(runs[first].values())}"]
    words += [f"{', '.join(runs[commit])} of commit {commit}, {_days(runs[commit].values())}" for commit in others]
    return "; ".join(words)


def _days(parts: Iterable[Mapping[str, Any]]) -> str:
    days = sorted({part["date"] for part in parts})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def wrapped(markdown: str) -> str:
    """Text with its paragraphs and list items wrapped; tables, blocks of code and what is indented stay as they are."""
    written: list[str] = []
    fenced, text = False, ""
    for line in [*markdown.splitlines(), ""]:
        begins = line.startswith("* ")
        if text and (begins or not line or line.startswith(_AS_IT_IS)):
            written += textwrap.wrap(
                text, _WIDTH, subsequent_indent="  " * text.startswith("* "), break_long_words=False, break_on_hyphens=False
            )
            text = ""
        if fenced or not line or line.startswith(_AS_IT_IS):
            written.append(line)
            fenced ^= line.startswith("```")
        else:
            text = f"{text} {line}".strip()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(written)).rstrip() + "\n"


def fill(page: str, content: Mapping[str, Any], file: Path) -> str:
    """A page's text with its sections rendered anew."""
    return _SECTION.sub(lambda match: f"{match[1]} -->\n{render(match[1], content, file)}", page)


def newest_full() -> Path:
    """The newest full result file that the repository has."""
    return max(_RESULTS.glob("????-??-??-full.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="result file of a full run (default: the newest)")
    file: Path = parser.parse_args().file or newest_full()
    content = json.loads(file.read_text())
    filled = {page: fill(page.read_text(), content, file) for page in PAGES}  # all, before one is written
    for page, text in filled.items():
        page.write_text(text)
        print(f"filled {page} from {file}")


if __name__ == "__main__":
    main()
