import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from laptop.airflow import AirflowSettings, environment
from laptop.database import CONNECTION, migrate, own_database, take_over
from laptop.errors import LaptopError
from laptop.layout import Layout
from laptop.postgres import Postgres, clean_environment
from laptop.processes import start, stop

RUN = """
insert into dag_run (dag_id, state, run_id, run_type, queued_at, run_after, conf, clear_number)
values ('nightly_images', 'success', 'manual__1', 'manual', '2026-11-01 02:00:00', '2026-11-01 02:00:00', '{"day": "2026-10-31"}', 0)
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        (
            "postgresql://me:secret@db.example:5433/airflow?sslmode=require",
            "postgresql+psycopg2://me:secret@db.example:5433/airflow?sslmode=require",
        ),
        ("postgres://me@/airflow?host=/run/postgresql", "postgresql+psycopg2://me@/airflow?host=/run/postgresql"),
    ],
)
def test_a_database_of_ones_own_is_given_as_people_write_it(value: str, expected: str | None) -> None:
    assert own_database({"TUSKWATCH_DATABASE": value}) == expected


@pytest.mark.parametrize("value", ["sqlite:///airflow.db", "mysql://h/airflow", "db.example", "postgresql://db.example", "postgresql:/x"])
def test_what_is_no_postgresql_is_refused(value: str) -> None:
    with pytest.raises(LaptopError, match="postgresql://user:password@host:5432/airflow"):
        own_database({"TUSKWATCH_DATABASE": value})


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A stack's folder whose database serves."""
    layout = Layout(tmp_path / "with a blank")
    postgres = Postgres.of(layout)
    postgres.initialize()
    process, _ = start("postgres", postgres.command(), env={}, log_file=layout.logs / "postgres.log")
    postgres.wait_ready(lambda: process.alive, process.log_tail)
    yield layout
    stop([process])


@pytest.mark.slow
@pytest.mark.timeout(900, method="signal")
def test_the_history_of_an_installation_with_sqlite_moves_over(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    settings = AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s")
    env = environment(clean_environment({}), layout, settings, database=Postgres.of(layout).url, pachd_address="h:1", extra={})
    old = layout.airflow_home / "airflow.db"
    migrate({**env, CONNECTION: f"sqlite:///{old}"})
    with sqlite3.connect(old) as connection:
        connection.execute(RUN)
    connection.close()
    variable = [sys.executable, "-m", "airflow", "variables", "set", "landing", "s3://night"]
    subprocess.run(variable, env={**env, CONNECTION: f"sqlite:///{old}"}, check=True, capture_output=True)
    migrate(env)

    take_over(layout, env)
    take_over(layout, env)  # nothing is left to do

    assert "1 runs" in capsys.readouterr().err
    assert not old.exists()
    assert old.with_name("airflow.db.moved").exists()
    found = psycopg2.connect(host=str(Postgres.of(layout).sockets.path), user="airflow", dbname="airflow")
    with found, found.cursor() as cursor:
        cursor.execute("select id, state, conf from dag_run")
        assert cursor.fetchall() == [(1, "success", {"day": "2026-10-31"})]
        cursor.execute("select key from variable")
        assert cursor.fetchall() == [("landing",)]
        cursor.execute("select nextval(pg_get_serial_sequence('dag_run', 'id'))")
        assert cursor.fetchall() == [(2,)]
    found.close()
