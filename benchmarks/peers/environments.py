"""Virtual environments of peers: pinned packages in a folder of the user's cache, made once."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.results import REPOSITORY

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tuskwatch-bench"
_LOCK: Final = REPOSITORY / "requirements.txt"


class InstallError(RuntimeError):
    """A peer's packages cannot be installed; the message has the installer's last lines."""


def environment(*packages: str, constraints: Sequence[Path] = (_LOCK,)) -> Path:
    """The ``bin`` folder of an environment that has these packages.

    :param packages: Pinned, or named in ``constraints``; the first one names the folder.
    :param constraints: Files that fix versions; the project's lock, so that a peer and we run the same releases.
    :raises InstallError: See there.
    """
    digest = hashlib.sha256("\n".join([*packages, *(path.read_text() for path in constraints)]).encode()).hexdigest()[:8]
    name = packages[0].replace("==", "-")
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            print(f"installing {', '.join(packages[:3])} … into {folder}", flush=True)
            for old in CACHE.glob(f"{name}-????????"):  # of a lock that was
                shutil.rmtree(old)
            uv = [sys.executable, "-m", "uv"]
            pins = [argument for path in constraints for argument in ("--constraint", str(path))]
            _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
            _run([*uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *pins, *packages])
            (folder / "complete").touch()
    return folder / "bin"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"{' '.join(command[:5])} failed: {(done.stderr or done.stdout)[-1500:]}")
