"""``python -m laptop.part NAME``, in a stack's folder: become one of its parts.

What the supervisor starts. Command and environment come from a file that only the owner reads, so that no secret stands in the
supervisor's settings or in the environment of a part that has no need of it. Imports nothing that takes time.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = "parts.json"


@dataclass(frozen=True)
class Part:
    """How one part of the stack is started.

    :ivar folder: The directory it works in.
    :ivar stop: Signal that ends it in good order.
    :ivar stop_seconds: After which it is killed.
    :ivar umask: Of the files that it makes, in octal.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    folder: str
    stop: str = "TERM"
    stop_seconds: int = 20
    umask: str = "077"


def main(name: str) -> None:
    """Never returns: the process becomes the part."""
    part = Part(**json.loads(Path("run", FILE).read_text(encoding="utf-8"))[name])
    os.chdir(part.folder)
    os.execvpe(part.command[0], list(part.command), dict(part.env))  # noqa: S606 - our own command, no shell


if __name__ == "__main__":
    main(sys.argv[1])
