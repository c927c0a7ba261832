"""Where things lie on this machine: the repository, and the folder that holds everything the stack writes."""

import os
import socket
import stat
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

    def make_private(self) -> list[str]:
        """Make the folder, or close it to others where it is open; a line about each that was.

        The folders in it are closed too. What lies deeper needs nothing: nobody gets there.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        said = []
        for folder in (self.root, *(path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink())):
            mode = stat.S_IMODE(folder.stat().st_mode)
            if mode & 0o077:
                folder.chmod(mode & 0o700)
                said.append(f"{folder} was open to other users ({mode:04o}); now it is yours alone (0700)")
        return said[:1]

    @property
    def secrets(self) -> Path:
        """Passwords and keys, made once; 0600."""
        return self.root / "secrets.json"

    @property
    def origin(self) -> Path:
        """Whose data it is: a demo's, of which images and model, or a person's."""
        return self.root / "origin.json"

    @property
    def pachd_data(self) -> Path:
        return self.root / "minipachd"

    @property
    def pachd_token(self) -> Path:
        """What minipachd asks its callers for; 0600."""
        return self.pachd_data / "token"

    @property
    def airflow_home(self) -> Path:
        return self.root / "airflow"

    @property
    def database(self) -> Path:
        """PostgreSQL's data."""
        return self.root / "postgres"

    @property
    def run(self) -> Path:
        """Sockets, and the supervisor's settings."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def restarts(self) -> Path:
        """What ended unasked since the start, and was started again: a line of JSON each."""
        return self.root / "restarts.jsonl"

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
