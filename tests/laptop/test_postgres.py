"""The embedded PostgreSQL: real servers."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg2
import pytest

from laptop.errors import LaptopError, StartError
from laptop.layout import Layout
from laptop.postgres import Postgres, clean_environment
from laptop.processes import start, stop

SERVE = """
import os, sys
from pathlib import Path
from laptop.layout import Layout
from laptop.postgres import Postgres
from laptop.processes import start, stop
layout = Layout(Path(sys.argv[1]))
postgres = Postgres.of(layout)
postgres.initialize()
process, _ = start("postgres", postgres.command(), env=os.environ, log_file=layout.logs / "postgres.log")
try:
    postgres.wait_ready(lambda: process.alive, process.log_tail)
    print("ready as", os.geteuid(), oct(postgres.data.stat().st_mode))
finally:
    stop([process])
"""


@contextmanager
def serving(root: Path) -> Iterator[tuple[Postgres, psutil.Process]]:
    layout = Layout(root)
    postgres = Postgres.of(layout)
    postgres.initialize()
    process, _ = start("postgres", postgres.command(), env=clean_environment(os.environ), log_file=layout.logs / "postgres.log")
    try:
        postgres.wait_ready(lambda: process.alive, process.log_tail)
        yield postgres, psutil.Process(process.pid)
    finally:
        stop([process])
        postgres.sockets.remove()


def rows(postgres: Postgres, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(host=str(postgres.sockets.path), port=5432, user="airflow", dbname="airflow")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_it_serves_its_owner_and_keeps_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")  # of another server, which the person works with
    monkeypatch.setenv("PGHOST", "elsewhere.example")
    root = tmp_path / "a ;#\"'%41"
    root.mkdir(mode=0o700)

    with serving(root) as (postgres, server):
        rows(postgres, "create table kept (value int); insert into kept values (7)")
        listening = []
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):  # a session's process that has ended since
                listening += process.net_connections("inet")
        modes = {folder.name: folder.stat().st_mode & 0o777 for folder in (postgres.data, postgres.sockets.path)}
        assert postgres.sockets.path.is_relative_to(root)
        assert server.uids().effective != 0
    with serving(root) as (postgres, _):
        assert rows(postgres, "select value from kept") == [(7,)]

    assert listening == []
    assert modes == {"postgres": 0o700, "run": 0o700}


@pytest.mark.parametrize("name", ["d" * 100, "a,b"], ids=["deep", "comma"])
def test_a_folder_that_cannot_hold_a_socket_gets_it_elsewhere(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()

    with serving(root) as (postgres, _):
        folder = postgres.sockets.path
        assert rows(postgres, "select 1") == [(1,)]
        assert not folder.is_relative_to(root)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert Postgres.of(Layout(root)).sockets.path == folder  # another command finds it

    assert not folder.exists()


def test_a_link_that_leads_into_somebody_elses_folder_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / ("d" * 100)
    sockets = Postgres.of(Layout(root)).sockets
    first = sockets.path
    first.chmod(0o755)

    second = sockets.path

    assert second != first
    sockets.remove()
    first.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_can_start_it() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own folders are root's alone
    try:
        shutil.chown(folder, "nobody")
        command = ["setpriv", "--reuid=65534", "--clear-groups", "--", sys.executable, "-c", SERVE, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.stdout, done.returncode) == ("ready as 65534 0o40700\n", 0), done.stderr
    finally:
        shutil.rmtree(folder)


def test_data_of_another_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    postgres = Postgres.of(Layout(tmp_path))
    postgres.data.mkdir()
    (postgres.data / "PG_VERSION").write_text("17\n")

    with pytest.raises(StartError, match=r"is of PostgreSQL 17.*make backup"):
        postgres.command()


def test_an_interrupted_start_does_not_look_like_a_database(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    with serving(tmp_path) as (postgres, _):
        assert rows(postgres, "select 1") == [(1,)]


def test_what_its_log_says_is_told_when_it_does_not_start(tmp_path: Path) -> None:
    postgres = Postgres.of(Layout(tmp_path))
    postgres.initialize()
    (postgres.data / "postgresql.conf").write_text("nonsense = 1\n")

    process, _ = start("postgres", postgres.command(), env=os.environ, log_file=tmp_path / "postgres.log")
    with pytest.raises(LaptopError, match='unrecognized configuration parameter "nonsense"'):
        postgres.wait_ready(lambda: process.alive, process.log_tail)
    stop([process])


def test_the_longest_path_that_fits_is_used_as_it_is(tmp_path: Path) -> None:
    depth = 107 - len("/run/.s.PGSQL.5432") - len(os.fsencode(tmp_path)) - 1
    fitting, deeper = (Postgres.of(Layout(tmp_path / ("d" * size))).sockets for size in (depth, depth + 1))

    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(str(fitting.path / ".s.PGSQL.5432"))

    assert fitting.path == fitting.home
    assert deeper.path != deeper.home
    deeper.remove()
