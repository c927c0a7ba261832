"""A real minipachd in a process of its own, for every test that talks to one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import protobuf_compat

protobuf_compat.install()

from python_pachyderm import Client  # noqa: E402 - the import that needs the line above

BOTH_DIALECTS = pytest.mark.parametrize("speak", ["2.12", "2.7"])
"""For tests of what the releases of Pachyderm answer differently; their server comes from a fixture that looks at ``speak``."""


def usual_dialect() -> str:
    """What a server answers as that is told nothing; MINIPACHD_SPEAK says another for a whole run of the tests."""
    return os.environ.get("MINIPACHD_SPEAK", "2.12")


class Engine:
    """minipachd on a free loopback port; its data and log lie under ``root``.

    :param speak: The Pachyderm that it answers as; without one the default, or what MINIPACHD_SPEAK says, in which a whole test run may be.
    :param auth: Ask callers for the token: only :attr:`client` shows it by itself.
    """

    def __init__(self, root: Path, *arguments: str, speak: str = "", auth: bool = False) -> None:
        self.root, self.log = root / "data", root / "engine.log"
        self._auth = auth
        self._arguments = (*arguments, *(("--speak", speak) if speak else ()), "--auth", "token" if auth else "none")

    def start(self) -> "Engine":
        """Return when the port answers; fail with the log's tail when the process ends first."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "minipachd", "--data", str(self.root), "--listen", "127.0.0.1:0", *self._arguments]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        ready, _, self.address = self.process.stdout.readline().strip().partition(" ")  # blocks; "" if it ended
        if ready != "ready":
            self.kill()
            msg = f"minipachd did not start:\n{self.log_tail()}"
            raise AssertionError(msg)
        self.client = Client.new_from_pachd_address(self.address, auth_token=self.token or None)
        return self

    @property
    def token(self) -> str:
        """What callers must show; empty where nobody asks."""
        return (self.root / "token").read_text().strip() if self._auth else ""

    def kill(self) -> None:
        """SIGKILL: no handler of the server's runs."""
        self.process.kill()
        self._ended()

    def stop(self, timeout_seconds: float = 30) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(timeout_seconds)
        finally:
            self.kill()

    def close(self) -> None:
        """End it, whatever its state."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.stop()

    def log_tail(self, characters: int = 2000) -> str:
        return self.log.read_text()[-characters:]

    def __enter__(self) -> "Engine":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ended(self) -> None:
        self.process.wait()
        self.process.stdout.close()
