"""What a benchmark reports: figures with their targets, on a screen and as JSON."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Figure:
    """One measured value.

    :ivar target: Bound it is held against, or None where it is only reported.
    :ivar at_least: The target is a lower bound; otherwise an upper one.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False

    @property
    def holds(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def row(self) -> dict[str, object]:
        """As it stands in a result file."""
        target = None if self.target is None else f"{'>=' if self.at_least else '<='} {self.target:g}"
        return {"name": self.name, "value": round(self.value, 4), "unit": self.unit, "target": target, "holds": self.holds}


@dataclass(frozen=True)
class Curve:
    """Values to draw: one line of a plot, or one group of bars where the abscissa is words.

    :ivar plot: Name of the plot, which several curves share; that of its file.
    :ivar unit: Of the values.
    """

    plot: str
    label: str
    unit: str
    points: tuple[tuple[float | str, float], ...]
    abscissa: str = ""


@dataclass(frozen=True)
class Machine:
    """What the figures were taken on."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str

    @classmethod
    def this(cls) -> "Machine":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
        memory = psutil.virtual_memory().total / 2**30
        return cls(processor, os.cpu_count() or 1, round(memory, 1), platform.platform(), platform.python_version())


class PartsFailedError(RuntimeError):
    """Some parts of a benchmark could not be measured; the others were."""

    def __init__(self) -> None:
        super().__init__()
        self._reasons: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._reasons)

    @contextlib.contextmanager
    def noting(self, part: str) -> Iterator[None]:
        """Note an error of a part, so that the next one has its turn."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001 - raised by raise_any, when all parts had their turn
            print(exc, file=sys.stderr)
            said = [text for text in str(exc).splitlines() if text.strip()] or [""]
            self._reasons.append(f"{part}: {type(exc).__name__}: {said[0]}" + (f" … {said[-1]}" if len(said) > 1 else ""))
            print(f"FAILED {self._reasons[-1]}", file=sys.stderr, flush=True)

    def raise_any(self) -> None:
        """Raise this error if a part has failed."""
        if self._reasons:
            raise self


def report(results: Iterable[Figure | Curve], json_file: Path | None) -> None:
    """Print each figure as it comes; write ``{machine, date, commit, results}`` where a file is given.

    What came before an error is written all the same, and the error goes on to the caller. SIGTERM is such an error from here on, so that
    whatever a part has started is stopped.
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    rows: list[dict[str, object]] = []
    curves: list[Curve] = []
    try:
        for result in results:
            if isinstance(result, Curve):
                curves.append(result)
                continue
            rows.append(result.row())
            print(line(rows[-1]), flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)
        if json_file is not None:
            write(json_file, document(rows, [asdict(curve) for curve in curves]))


def line(row: Mapping[str, Any]) -> str:
    """A row of a result file for the screen."""
    verdict = "" if row["holds"] is None else f"  (target {row['target']}: {'holds' if row['holds'] else 'MISSED'})"
    return f"{row['name']:<66} {row['value']:>12} {row['unit']}{verdict}"


def document(rows: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of a result file."""
    return {"machine": asdict(Machine.this()), "date": time.strftime("%Y-%m-%d"), "commit": _commit(), "results": rows, "curves": curves}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def _commit() -> str:
    """The commit of the code that ran; a plus sign where files differed from it, other than what earlier runs wrote."""
    commit = _git("rev-parse", "--short", "HEAD")
    return commit + "+" if commit and _git("status", "--porcelain", "--untracked-files=no", ".", ":!benchmarks/results") else commit


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=REPOSITORY).stdout.strip()
    except FileNotFoundError:  # figures are worth something without git, too
        return ""
