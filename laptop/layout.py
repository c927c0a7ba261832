"""Where things lie on this machine: the repository, and the folder that holds everything the stack writes."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Layout:
    """The folders of one stack. Nothing is written outside ``root``.

    :ivar root: ``.local`` in the repository, or what ``TUSKWATCH_LOCAL`` names.
    """

    root: Path

    @classmethod
    def default(cls) -> "Layout":
        return cls(Path(os.environ.get("TUSKWATCH_LOCAL", REPOSITORY / ".local")).resolve())

    @property
    def pachd_data(self) -> Path:
        return self.root / "minipachd"

    @property
    def airflow_home(self) -> Path:
        return self.root / "airflow"

    @property
    def database(self) -> Path:
        """PostgreSQL's data."""
        return self.root / "postgres"

    @property
    def run(self) -> Path:
        """Sockets."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def state(self) -> Path:
        return self.root / "stack.json"

    @property
    def cache(self) -> Path:
        return self.root / "cache"


def free_port(preferred: int = 0) -> int:
    """A loopback port that nothing listens on: ``preferred`` when it is free, else one that the system chooses."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    msg = "no free port on 127.0.0.1"
    raise OSError(msg)
