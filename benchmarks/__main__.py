"""Every figure of the README, part after part.

    python -m benchmarks                      the short run: most parts, small, in about twelve minutes on two quiet cores
    python -m benchmarks --full               everything at full size; some three hours
    python -m benchmarks peers load           some parts
    python -m benchmarks --full --keep FILE   go on with a run that was ended, or join parts that ran one by one: their figures stay

It writes ``benchmarks/results/<date>-<short, full or the parts>.json`` after every part, and plots beside it. A part that fails is
reported with its reason; the others' figures stay. Each part is also a command of its own: ``python -m benchmarks.growth --help``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import psutil

from benchmarks.plots import draw
from benchmarks.results import REPOSITORY, Machine, document, line, write

RESULTS: Final = REPOSITORY / "benchmarks" / "results"
_PATIENCE: Final = 4  # times the expected duration, and some minutes more
_LEAST_SECONDS: Final = 600.0
_END_SECONDS: Final = 90.0
_QUIET_PERCENT: Final = 10.0
_QUIET_SECONDS: Final = 3
_AWAIT_QUIET_SECONDS: Final = 120


@dataclass(frozen=True)
class Part:
    """A module of this package with a ``main`` that takes ``--json``.

    :ivar short, full: Its arguments; ``{results}`` stands for the file with the figures of the parts before it. Without short ones it is
        only in a full run, and when it is asked for by name.
    :ivar minutes: Expected duration of the short and of the full run on two cores.
    :ivar material: It takes a model and images; the name of its option for the images.
    """

    what: str
    module: str
    short: tuple[str, ...] | None
    full: tuple[str, ...]
    minutes: tuple[float, float]
    material: str = ""

    def arguments(self, *, full: bool) -> tuple[str, ...]:
        return self.full if full or self.short is None else self.short

    def expected(self, *, full: bool) -> float:
        """Minutes."""
        return self.minutes[full or self.short is None]


def _part(what: str, module: str, short: str | None, full: str, minutes: tuple[float, float], material: str = "") -> Part:
    return Part(what, f"benchmarks.{module}", None if short is None else tuple(short.split()), tuple(full.split()), minutes, material)


_PEERS: Final = "--only shell tuskwatch engine dvc airflow-all"
_MAPPED: Final = "--only shell airflow-mapped"
_FEW: Final = "--images 12 --more 3"
_MANY: Final = "--images 1000 --more 100"

PARTS: Final[Mapping[str, Part]] = {
    "limit": _part("the pipelines over a bare TensorFlow loop", "pipeline", "--count 100", "--count 1000", (1, 6), "--images"),
    "latency": _part("one image, cold and warm", "latency", "--rounds 9", "--rounds 50", (0.5, 1.5), "--images"),
    "engine": _part("minipachd beside cp, git and dvc", "engine", "--only put", "", (1.5, 20)),
    "peers": _part("what people would use", "peers", f"{_PEERS} {_FEW}", f"{_PEERS} {_MANY}", (3, 11), "--source"),
    # Its other two steps put all images through the same tasks again, half an hour each; the part below has them with few images.
    "peers-mapped": _part(
        "one Airflow task per image", "peers", f"{_MAPPED} {_FEW}", f"{_MAPPED} {_MANY} --steps first more", (2.5, 34), "--source"
    ),
    "peers-mapped-few": _part(
        "one Airflow task per image, every step, few images", "peers", None, f"{_MAPPED} {_FEW}", (2.5, 2.5), "--source"
    ),
    "growth": _part("nights on top of many nights", "growth", "--history 0 1000 3000", "", (1, 18)),
    "load": _part("eight clients", "load", "--seconds 20", "--seconds 600", (0.5, 10.5)),
    "faults": _part("what goes wrong", "faults", "--kills 10", "--kills 200 --full", (3, 20)),
    "batches": _part("batches beside one Airflow task per image", "airflow_batches", None, "--images 1000", (16, 16)),
    "archive": _part("an archive of 100,000 images, backfilled", "airflow_archive", None, "--server-side --once", (12, 12)),
    "dashboard": _part("the dashboard's pages", "dashboard", None, "", (4, 4)),
    "scaling": _part("a million images a night", "scaling", "--measured {results}", "--measured {results}", (0.2, 0.2)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run parts; 1 when one failed. A missed target is no failure: it is a figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--model", type=Path, help="frozen graph (default: the project's own)")
    parser.add_argument("--images", type=Path, help="folder of validly named images (default: rendered)")
    parser.add_argument("--keep", type=Path, nargs="+", default=[], metavar="FILE", help="result files whose parts do not run again")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result file")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    names = options.parts or [name for name, part in PARTS.items() if options.full or part.short is not None]
    stem = options.results / f"{time.strftime('%Y-%m-%d')}-{_title(options.parts, full=options.full)}"
    setting = {
        "full": options.full,
        "model": "the project's own" if options.model is None else options.model.parent.name,
        "images": "rendered" if options.images is None else options.images.name,
    }
    try:
        kept = keep(options.keep, names, setting)
    except KeptFileError as exc:
        parser.error(str(exc))
    given = {name: str(value.resolve()) for name, value in (("--model", options.model), ("--images", options.images)) if value}
    content = run(names, stem.with_suffix(".json"), setting, full=options.full, given=given, kept=kept)
    for plot in draw(content, stem):
        print(f"drew {plot}")
    return 1 if content["failed"] else 0


def _title(parts: Sequence[str], *, full: bool) -> str:
    if not parts:
        return "full" if full else "short"
    return "-".join([*parts, *(["full"] if full else [])])


class KeptFileError(ValueError):
    """A result file cannot be joined with this run; the message says why."""


@dataclass(frozen=True)
class Measured:
    """What one part has found.

    :ivar taken: When, of which commit, in how many seconds, and how busy the machine was before, in percent.
    """

    taken: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    curves: Sequence[Mapping[str, Any]]


def keep(files: Sequence[Path], names: Sequence[str], setting: Mapping[str, object]) -> dict[str, Measured]:
    """The parts that result files have, whole; of a part that several have, the one in the last file.

    :raises KeptFileError: A file cannot be read, or is of another machine or setting, so that its figures do not belong beside ours.
    """
    found: dict[str, Measured] = {}
    here = asdict(Machine.this())
    for file in files:
        try:
            content = json.loads(file.read_text())
            theirs = {"machine": content["machine"], **content["setting"]}
            parts, failed = content["parts"], {failure["part"] for failure in content["failed"]}
        except (OSError, ValueError, KeyError) as exc:
            raise KeptFileError(f"{file} cannot be kept: it is no result file of this program ({type(exc).__name__}: {exc})") from exc
        for key, value in {"machine": here, **setting}.items():
            if theirs.get(key) != value:
                raise KeptFileError(f"{file} cannot be kept: its {key} is {theirs.get(key)}, this run's {value}")
        for name in names:
            if name in parts and name not in failed:
                mine = ([row for row in content[kind] if row["part"] == name] for kind in ("results", "curves"))
                found[name] = Measured(parts[name], *mine)
    return found


def run(
    names: Sequence[str],
    file: Path,
    setting: Mapping[str, object],
    *,
    full: bool,
    given: Mapping[str, str],
    kept: Mapping[str, Measured],
) -> dict[str, Any]:
    """Run parts one after the other; the content of the result file.

    :param file: Written anew after every part.
    :param given: Options for parts that take a model and images.
    :param kept: Parts that have run already.
    """
    done: dict[str, Measured] = {name: kept[name] for name in names if name in kept}
    failed: list[dict[str, str]] = []
    content = _write(file, names, done, setting, failed)
    waiting = [name for name in names if name not in kept]
    for number, name in enumerate(waiting):
        part = PARTS[name]
        minutes = part.expected(full=full)
        left = sum(PARTS[other].expected(full=full) for other in waiting[number:])
        print(f"\n{name}: {part.what}; about {_minutes(minutes)} ({_minutes(left)} to the end)", flush=True)
        options = [option.replace("{results}", str(file)) for option in part.arguments(full=full)]
        if part.material:
            options += [text for key, value in given.items() for text in (part.material if key == "--images" else key, value)]
        busy, started = await_quiet(), time.monotonic()
        with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
            found = Path(folder) / "part.json"
            reason = _run_part(
                [part.module, *options, "--json", str(found)], Path(folder) / "errors", _LEAST_SECONDS + _PATIENCE * 60 * minutes
            )
            measured: dict[str, Any] = json.loads(found.read_text()) if found.exists() else document([], [])
        taken = {key: measured[key] for key in ("date", "commit")}
        taken |= {"seconds": round(time.monotonic() - started), "busy_before_percent": round(busy, 1)}
        done[name] = Measured(taken, *([{"part": name, **row} for row in measured[kind]] for kind in ("results", "curves")))
        if reason:
            failed.append({"part": name, "reason": reason})
            print(f"{name} FAILED: {reason}", flush=True)
        content = _write(file, names, done, setting, failed)
    _summary(content, file)
    return content


def await_quiet() -> float:
    """Let the disk and the processors finish what came before; how busy the processors still are, in percent.

    It gives up after two minutes: then something else runs on this machine, and the result file says so.
    """
    os.sync()
    seconds: list[float] = []
    while len(seconds) < _AWAIT_QUIET_SECONDS:
        seconds.append(psutil.cpu_percent(interval=1))
        if len(seconds) >= _QUIET_SECONDS and max(seconds[-_QUIET_SECONDS:]) < _QUIET_PERCENT:
            break
    busy = fmean(seconds[-_QUIET_SECONDS:])
    if busy >= _QUIET_PERCENT:
        print(f"something else keeps this machine {busy:.0f} % busy: figures will be worse for it", flush=True)
    return busy


def _write(
    file: Path, names: Sequence[str], done: Mapping[str, Measured], setting: Mapping[str, object], failed: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Write what has been measured so far, in the order of the parts."""
    parts = {name: done[name] for name in names if name in done}
    content = document([row for part in parts.values() for row in part.rows], [curve for part in parts.values() for curve in part.curves])
    content |= {"setting": dict(setting), "parts": {name: part.taken for name, part in parts.items()}, "failed": list(failed)}
    write(file, content)
    return content


def _run_part(command: Sequence[str], errors: Path, limit_seconds: float) -> str:
    """Run a part, its figures on our standard output; why it failed, empty when it did not."""
    with errors.open("w+") as sink:
        child = subprocess.Popen([sys.executable, "-m", *command], cwd=REPOSITORY, stderr=sink)
        try:
            status = child.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            _end(child)
            return f"it was not done within {limit_seconds / 60:.0f} minutes"
        except BaseException:  # Ctrl-C, or SIGTERM to us
            _end(child)
            raise
        sink.seek(0)
        said = [text.rstrip() for text in sink if text.strip()]
    if status == 0:
        return ""
    noted = [text.removeprefix("FAILED ") for text in said if text.startswith("FAILED ")]
    return "; ".join(noted) or (said[-1] if said else f"it ended with {status}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let a part clean up; then kill what is left of it. (A part that was started in the background may be deaf to SIGINT.)"""
    tree = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
    child.terminate()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for process in tree:
        if process.is_running():
            process.kill()


def _minutes(minutes: float) -> str:
    return f"{minutes * 60:.0f} s" if minutes < 1 else f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _summary(content: Mapping[str, Any], file: Path) -> None:
    """What has a target, what failed, and where it is written down."""
    judged = [row for row in content["results"] if row["holds"] is not None]
    print(f"\n{len(content['results'])} figures, {len(judged)} with a target:")
    for row in judged:
        print(f"  {line(row)}")
    for failure in content["failed"]:
        print(f"  {failure['part']} FAILED: {failure['reason']}")
    print(f"written to {file}", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    sys.exit(main())
