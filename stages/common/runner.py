"""The one loop that all stages run in.

Three ways to run, chosen without flags where Pachyderm is the caller:

* **by hand**: ``python -m stages.validate --images DIR --out DIR``, on plain folders;
* **one datum**: no arguments; the inputs lie in ``$PFS_ROOT/<input>``, the output goes to ``$PFS_ROOT/out``;
* **datum batching**: ``DATUM_BATCHING=true`` and ``PPS_WORKER_GRPC_PORT`` are set; the process starts once and asks the worker for datum
  after datum. A datum that fails is reported and the next one asked for; when the worker goes away the process ends.

``PFS_ROOT`` is ``/pfs`` unless the environment says otherwise.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from stages.common.errors import StageError
from stages.common.protocol import NextDatumClient
from stages.common.settings import flag, whole_number

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Datum:
    """One unit of work.

    :ivar inputs: Input folders (by hand also single files) by input name.
    :ivar out: Output folder.
    :ivar env: The process environment, overlaid with the datum's own variables.
    """

    inputs: Mapping[str, Path]
    out: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def commit_of(self, name: str) -> str | None:
        """Return the id of the commit that input ``name`` comes from, None when run by hand."""
        return self.env.get(f"{name}_COMMIT") or None


class Stage(Protocol):
    """What a stage gives the loop."""

    @property
    def name(self) -> str:
        """The pipeline's name."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Help text by input name."""

    @property
    def settings_help(self) -> str:
        """The environment variables that the stage reads, for ``--help``."""

    def warm_up(self, env: Mapping[str, str], /) -> None:
        """Do what is needed only once, before the first datum arrives."""

    def process(self, datum: Datum) -> None:
        """Process one datum.

        :raises StageError: This datum failed.
        """


def main(stage: Stage) -> int:
    """Run ``stage`` with the arguments and environment of this process and return its exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s: %(message)s")
    try:
        return run(stage, sys.argv[1:], os.environ)
    except KeyboardInterrupt:
        return 130


def run(stage: Stage, argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run ``stage`` until its work is done.

    :return: 0 when every datum was processed or reported to the worker, else 1.
    """
    arguments = _parse(stage, argv)
    try:
        if arguments is not None:
            return _one(stage, _hand_datum(stage, arguments, env))
        port = whole_number(env, "PPS_WORKER_GRPC_PORT", 0, low=0, high=65535)
        if port and flag(env, "DATUM_BATCHING"):
            return _batch(stage, port, env)
        return _one(stage, _pfs_datum(stage, env))
    except StageError as exc:
        log.error("%s: %s", stage.name, exc)  # noqa: TRY400 - meant for the user, who needs no traceback
        return 1


def each_file(files: Iterable[Path], handle: Callable[[Path], None]) -> int:
    """Call ``handle`` for every file; one that fails does not keep the others from their turn.

    :return: Number of files.
    :raises StageError: At least one failed; it names them all.
    """
    errors: list[StageError] = []
    count = 0
    for path in files:
        count += 1
        try:
            handle(path)
        except StageError as exc:
            errors.append(exc)
    if errors:
        raise StageError.of_many(errors)
    return count


def _parse(stage: Stage, argv: Sequence[str]) -> argparse.Namespace | None:
    """Return the folders given by hand, None where there are no arguments."""
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{stage.name.replace('-', '_')}",
        description=f"The {stage.name} stage. Without arguments it works on $PFS_ROOT (default /pfs), as in a Pachyderm worker.",
        epilog=stage.settings_help,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in stage.inputs.items():
        parser.add_argument(f"--{name}", dest=name, type=Path, metavar="PATH", required=bool(argv), help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", required=bool(argv), help="output folder; made when missing")
    arguments = parser.parse_args(argv)
    return arguments if argv else None


def _hand_datum(stage: Stage, arguments: argparse.Namespace, env: Mapping[str, str]) -> Datum:
    arguments.out.mkdir(parents=True, exist_ok=True)
    return Datum({name: getattr(arguments, name) for name in stage.inputs}, arguments.out, env)


def _pfs_datum(stage: Stage, env: Mapping[str, str]) -> Datum:
    root = Path(env.get("PFS_ROOT") or "/pfs")
    return Datum({name: root / name for name in stage.inputs}, root / "out", env)


def _one(stage: Stage, datum: Datum) -> int:
    stage.warm_up(datum.env)
    error = _attempt(stage, datum)
    return 1 if error else 0


def _batch(stage: Stage, port: int, env: Mapping[str, str]) -> int:
    started = time.monotonic()
    stage.warm_up(env)
    log.info("%s: ready after %.1f s, asking the worker on port %d for datums", stage.name, time.monotonic() - started, port)
    client = NextDatumClient(port)
    error, count = "", 0
    try:
        while (datum_env := client.next(error=error)) is not None:
            error = _attempt(stage, _pfs_datum(stage, {**env, **datum_env}))
            count += 1
    finally:
        client.close()
    log.info("%s: the worker is gone; %d datums handled", stage.name, count)
    return 0


def _attempt(stage: Stage, datum: Datum) -> str:
    """Process one datum and return what went wrong, empty when nothing did."""
    started = time.monotonic()
    label = datum.env.get("PACH_DATUM_ID", "")[:12] or "the folders given"
    try:
        stage.process(datum)
    except StageError as exc:
        log.error("%s: %s failed: %s", stage.name, label, exc)  # noqa: TRY400 - the message is meant for the user, who needs no traceback
        return str(exc)
    except Exception as exc:  # the edge of the process: a fault of ours fails its datum, not the worker
        log.exception("%s: %s failed", stage.name, label)
        return f"{type(exc).__name__}: {exc}"
    log.info("%s: %s done in %.3f s", stage.name, label, time.monotonic() - started)
    return ""
