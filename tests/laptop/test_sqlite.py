"""A transaction that begins with a savepoint, beside another process's write: what a backfill's creation meets on SQLite."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = Path(__file__).resolve().parents[2] / "laptop" / "local_settings"
# Reads, lets somebody else write for a moment, and writes: both in one savepoint.
CODE = """
import sqlite3, sys, threading
from sqlalchemy import create_engine, text
path = sys.argv[1]
engine = create_engine(f"sqlite:///{path}?timeout=30")
def other():
    with sqlite3.connect(path, timeout=30) as connection:
        connection.execute("insert into t values (1)")
with engine.connect() as connection, connection.begin(), connection.begin_nested():
    connection.execute(text("select count(*) from t")).all()
    thread = threading.Thread(target=other)
    thread.start()
    thread.join(1.0)
    connection.execute(text("insert into t values (2)"))
thread.join()
"""


@pytest.mark.parametrize(("start", "status"), [("import airflow_local_settings\n", 0), ("", 1)], ids=["ours", "without"])
def test_a_savepoint_waits_for_its_turn(tmp_path: Path, start: str, status: int) -> None:
    path = tmp_path / "airflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table t (n integer)")

    done = subprocess.run([sys.executable, "-c", start + CODE, str(path)], cwd=SETTINGS, capture_output=True, text=True)

    assert done.returncode == status, done.stderr
    assert ("database is locked" in done.stderr) == bool(status)  # without ours: why the module is there
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from t").fetchone() == (2 - status,)
