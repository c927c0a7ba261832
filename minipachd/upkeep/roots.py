"""What a data directory keeps: the roots of every tree that is in use."""

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roots:
    """:ivar files: Trees of files: of commits, finished and open, and of file sets.

    :ivar records: Trees of datum records; they name files by their paths, and no chunks.
    """

    files: frozenset[bytes]
    records: frozenset[bytes]


def all_roots(db: sqlite3.Connection) -> Roots:
    """Of one state of the database. What a commit was begun with matters until it is finished."""
    files = db.execute(
        "SELECT root FROM commits UNION SELECT base_root FROM commits WHERE finished_ns IS NULL UNION SELECT root FROM filesets"
    )
    records = db.execute("SELECT DISTINCT datums FROM pps_jobs WHERE datums IS NOT NULL")
    return Roots(frozenset(root for (root,) in files), frozenset(root for (root,) in records))
