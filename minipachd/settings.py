"""What whoever starts the server decides about those who call it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Limits of what callers may ask for.

    :ivar allow_files: Directories that ``file://`` URLs may reach; none by default.
    :ivar url_seconds: How long the server may read from, or write to, one URL for one caller.
    :ivar max_datums: How many the plan of one job may hold.
    """

    allow_files: tuple[Path, ...] = ()
    url_seconds: float = 6 * 3600.0
    max_datums: int = 2_000_000
