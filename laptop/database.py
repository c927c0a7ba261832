"""Airflow's database: which one it is, its tables, and the history of an installation that had SQLite."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from laptop.errors import LaptopError, StartError
from laptop.layout import Layout

VARIABLE: Final = "TUSKWATCH_DATABASE"
CONNECTION: Final = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg2")
_KEPT: Final = ".moved"  # appended to the name of a SQLite file whose content is in PostgreSQL


def own_database(environ: Mapping[str, str]) -> str | None:
    """The PostgreSQL that the person names in ``TUSKWATCH_DATABASE``, as SQLAlchemy wants it; None where they leave it to us.

    :raises LaptopError: It is no address of a PostgreSQL.
    """
    if not (value := environ.get(VARIABLE, "").strip()):
        return None
    scheme, separator, rest = value.partition("://")
    if scheme not in _SCHEMES or not separator or not urlsplit(f"postgresql://{rest}").path.strip("/"):
        msg = (
            f"{VARIABLE} begins with {scheme[:20]!r}; give an empty database of a PostgreSQL: postgresql://user:password@host:5432/airflow"
        )
        raise LaptopError(msg)
    return f"postgresql+psycopg2://{rest}"


def migrate(env: Mapping[str, str]) -> None:
    """Make Airflow's tables, or bring them to this version's state.

    :raises StartError: Airflow could not; the message holds what it said.
    """
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"airflow db migrate failed on {without_password(env[CONNECTION])}:\n{(done.stdout + done.stderr)[-3000:]}"
        raise StartError(msg)


def take_over(layout: Layout, env: Mapping[str, str]) -> None:
    """Copy the history of a SQLite database that an earlier version of Tuskwatch left here, once.

    The file stays beside, under another name. An own database is filled as well, while it holds no run.

    :raises StartError: It could not be copied: nothing was, and the file is as it was.
    """
    old = layout.airflow_home / "airflow.db"
    if not old.exists():
        return
    migrate({**env, CONNECTION: f"sqlite:///{old}"})
    done = subprocess.run(
        [sys.executable, "-m", "laptop.take_over", str(old)],
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        msg = (
            f"the history in {old} could not be taken over into PostgreSQL: {(done.stderr.strip() or 'no reason given')[-2000:]}\n"
            f"to start without it, keep it under another name: mv '{old}' '{old}.old'"
        )
        raise StartError(msg)
    sys.stderr.write(done.stdout.splitlines()[-1] + "\n")  # Airflow says things of its own before
    for path in (old, *(Path(f"{old}{suffix}") for suffix in ("-wal", "-shm"))):
        if path.exists():
            path.replace(f"{path}{_KEPT}")


def without_password(url: str) -> str:
    """The address for a message."""
    found = urlsplit(url)
    return url.replace(f":{found.password}@", ":***@") if found.password else url


def libpq_url(url: str) -> str:
    """The address as PostgreSQL's own programs read it."""
    return "postgresql://" + url.partition("://")[2]
