"""What a benchmark reports: figures with their targets, on a screen and as JSON."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


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


def report(figures: Iterable[Figure], json_file: Path | None) -> None:
    """Print a table; write ``{machine, date, commit, results}`` where a file is given."""
    rows = [figure.row() for figure in figures]
    for row in rows:
        verdict = "" if row["holds"] is None else f"  (target {row['target']}: {'holds' if row['holds'] else 'MISSED'})"
        sys.stdout.write(f"{row['name']:<60} {row['value']:>12} {row['unit']}{verdict}\n")
    if json_file is not None:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
        content = {"machine": asdict(Machine.this()), "date": time.strftime("%Y-%m-%d"), "commit": commit, "results": rows}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(content, indent=1) + "\n")
