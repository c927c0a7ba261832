"""What users would do instead: ``cp -r``, git and dvc over a folder of files, each timed until the bytes are on the disk."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

DVC: Final = "dvc==3.67.1"
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tuskwatch-bench"
_NOBODY: Final = {"HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "bench", "GIT_COMMITTER_NAME": "bench"}
_MAIL: Final = {"GIT_AUTHOR_EMAIL": "bench@localhost", "GIT_COMMITTER_EMAIL": "bench@localhost"}


def copy_seconds(source: Path, work: Path) -> float:
    """``cp -r`` and a sync of the file system."""
    work.mkdir()
    return _timed(work, ["cp", "-r", str(source), "copy"], ["sync", "--file-system", "."])


def git_seconds(source: Path, work: Path) -> float:
    """``git add`` and ``git commit`` of files that lie in the work tree already, and a sync."""
    _lay_out(source, work)
    _run(work, ["git", "init", "-q"])
    return _timed(work, ["git", "add", "."], ["git", "commit", "-qm", "bench"], ["sync", "--file-system", "."])


def dvc_seconds(source: Path, work: Path) -> float:
    """``dvc add`` of files that lie in the work tree already, and a sync.

    :raises OSError: dvc cannot be installed. :raises subprocess.CalledProcessError: Or pip says so.
    """
    dvc = str(_dvc())
    _lay_out(source, work)
    _run(work, [dvc, "init", "-q", "--no-scm"])
    _run(work, [dvc, "config", "core.analytics", "false"])
    return _timed(work, [dvc, "add", "-q", "files"], ["sync", "--file-system", "."])


BASELINES: Final[dict[str, Callable[[Path, Path], float]]] = {
    "cp -r + sync": copy_seconds,
    "git add + commit": git_seconds,
    "dvc add": dvc_seconds,
}


def _dvc() -> Path:
    """The pinned dvc, in an environment of its own that is kept for the next run."""
    folder = _CACHE / DVC.replace("==", "-")
    program = folder / "bin" / "dvc"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", DVC], check=True)
    return program


def _lay_out(source: Path, work: Path) -> None:
    work.mkdir()
    _run(work, ["cp", "-r", str(source), "files"])
    _run(work, ["sync", "--file-system", "."])


def _run(folder: Path, command: list[str]) -> None:
    subprocess.run(command, cwd=folder, env={"PATH": os.environ["PATH"]} | _NOBODY | _MAIL, check=True, stdout=subprocess.DEVNULL)


def _timed(folder: Path, *commands: list[str]) -> float:
    started = time.perf_counter()
    for command in commands:
        _run(folder, command)
    return time.perf_counter() - started
