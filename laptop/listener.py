"""``python -m laptop.listener``, in a stack's folder: write down which part ended, when, how, and the last lines of its log.

The supervisor starts it and tells it of every part that ended unasked.
"""

import contextlib
import json
import os
import re
import time
from collections import deque
from pathlib import Path
from typing import Final

import psutil
from supervisor import childutils

from laptop.layout import Layout

SUPERVISOR_LOG: Final = "supervisord.log"
_MOST: Final = 200  # of the latest
_LINES: Final = 8
_TAIL_BYTES: Final = 64 * 1024


def main() -> None:
    while True:
        headers, payload = childutils.listener.wait()
        with contextlib.suppress(OSError):  # a full disk must not stop the supervisor's events
            note(Path(), payload)
        if headers["eventname"] == "PROCESS_STATE_EXITED":
            end_idle_workers(int(childutils.get_headers(payload)["pid"]))
        childutils.listener.ok()


def note(root: Path, payload: str) -> None:
    """Append what ended to the file of restarts."""
    name = childutils.get_headers(payload)["processname"]
    logs = root / "logs"
    found = re.findall(
        rf"(?:exited|spawnerr): {re.escape(name)} \((.*?)(?:; (?:not )?expected)?\)$", tail(logs / SUPERVISOR_LOG), re.MULTILINE
    )
    entry = {
        "part": name,
        "time": round(time.time(), 1),
        "how": found[-1] if found else "ended",
        "log": [line for line in tail(logs / f"{name}.log").splitlines() if line.strip()][-_LINES:],
    }
    path = Layout(root).restarts
    lines = deque(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], maxlen=_MOST - 1)
    staged = path.with_suffix(".new")
    staged.write_text("\n".join([*lines, json.dumps(entry)]) + "\n", encoding="utf-8")
    staged.replace(path)


def end_idle_workers(group: int) -> None:
    """What a scheduler that was killed leaves: workers that wait for work which nobody can give them. Those at work finish it."""
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and "LocalExecutor: <idle>" in " ".join(process.info["cmdline"] or []):
                process.kill()


def tail(path: Path) -> str:
    """The end of a log, empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
