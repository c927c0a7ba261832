"""``make backup`` and ``make restore``: everything of an installation in one file, also while it runs.

Airflow's database goes first, the engine's data after it. So the engine knows at least what Airflow believes to be pushed; a push that it
knows and Airflow does not is found again by its key when Airflow repeats it.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from laptop.database import libpq_url, own_database
from laptop.errors import LaptopError
from laptop.layout import Layout
from laptop.postgres import Postgres, clean_environment, program
from laptop.processes import start, stop
from laptop.stack import Stack

_MANIFEST: Final = "tuskwatch-backup.json"
_DUMP: Final = "airflow.dump"
_FORMAT: Final = 1
_SMALL: Final = ("secrets.json", "origin.json")
_FOLDERS: Final = ("results", "staging")
_NOT_COPIED: Final = frozenset({"lock", "packs", "work", "tmp"})  # of the engine's data: held by a server, handled apart, made anew


def backup(layout: Layout, file: Path) -> None:
    """Write all data to a tar file, 0600; compressed where its name ends in ``gz``.

    :raises LaptopError: There is nothing to keep, or it could not be kept; a file that was there is as it was.
    """
    if not layout.pachd_data.exists():
        msg = f"there is nothing to back up in {layout.root}: make up makes an installation"
        raise LaptopError(msg)
    file = file.absolute()
    if file.resolve().is_relative_to(layout.root):
        msg = f"{file} lies in {layout.root}, and would be lost with it: name a file elsewhere, best on another disk"
        raise LaptopError(msg)
    partial = file.with_name(file.name + ".part")
    try:
        layout.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=layout.run, prefix="backup-") as folder:
            snapshot = Path(folder)
            _dump(layout, snapshot / _DUMP)
            snapshot_engine(layout.pachd_data, snapshot / "minipachd")
            manifest = {"format": _FORMAT, "tuskwatch": version("tuskwatch"), "made": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            (snapshot / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            with tarfile.open(partial, "w:gz" if file.suffix in (".gz", ".tgz") else "w") as archive:
                partial.chmod(0o600)
                for name in (_MANIFEST, _DUMP, "minipachd"):
                    archive.add(snapshot / name, name)
                for name in (*_SMALL, *_FOLDERS):
                    if (layout.root / name).exists():
                        archive.add(layout.root / name, name)
        partial.replace(file)
    except (OSError, tarfile.TarError) as error:
        msg = f"the backup could not be written to {file}: {error}"
        raise LaptopError(msg) from error
    finally:
        partial.unlink(missing_ok=True)
    sys.stdout.write(f"kept in {file}, {file.stat().st_size / 1e6:.1f} MB; it holds passwords: keep it to yourself. Logs are not in it.\n")


def restore(layout: Layout, file: Path) -> None:
    """Bring back what a backup holds, into a folder without data.

    :raises LaptopError: It is no backup, or there is data already; nothing is changed then.
    """
    if (stack := Stack.load(layout)) is not None and stack.alive:
        msg = f"it runs in {layout.root}: make down first"
        raise LaptopError(msg)
    if taken := [path for path in (layout.pachd_data, layout.database) if path.exists()]:
        msg = f"there is data in {taken[0]}: make reset removes it, or name another folder: TUSKWATCH_LOCAL=folder make restore FILE=…"
        raise LaptopError(msg)
    layout.make_private()
    layout.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=layout.run, prefix="restore-") as folder:
            staged = Path(folder)
            with tarfile.open(file) as archive:
                _check(archive, file)
                _extract(archive, staged)
            _load(layout, staged / _DUMP)
            for name in (*_SMALL, *_FOLDERS, "minipachd"):
                if (staged / name).exists():
                    (staged / name).rename(layout.root / name)
    except (OSError, tarfile.TarError, KeyError) as error:
        msg = f"{file} could not be restored: {error}"
        raise LaptopError(msg) from error
    sys.stdout.write(f"restored into {layout.root}; make up starts it\n")


def snapshot_engine(data: Path, target: Path) -> None:
    """Copy the engine's data as it is at one moment, whatever the engine does meanwhile.

    Content lies in packs that only grow, and are removed when nothing names them any more. Those that are there before the copy of the
    metadata, and those that are there after it, hold all that the metadata names; they are linked, so that none goes away meanwhile.
    """
    target.mkdir(mode=0o700)
    (target / "packs").mkdir()
    _link_all(data / "packs", target / "packs")
    source, copy = sqlite3.connect(data / "metadata.db"), sqlite3.connect(target / "metadata.db")
    with contextlib.closing(source), contextlib.closing(copy):
        source.backup(copy)
    _link_all(data / "packs", target / "packs")
    for path in data.iterdir():
        if path.name in _NOT_COPIED or path.name.startswith("metadata.db"):
            continue
        with contextlib.suppress(FileNotFoundError):  # a log of a job that was removed meanwhile
            if path.is_dir():
                shutil.copytree(path, target / path.name, ignore_dangling_symlinks=True)
            else:
                shutil.copy2(path, target / path.name)


def _link_all(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if (target / path.name).exists():
            continue
        with contextlib.suppress(FileNotFoundError):  # nobody names its content any more
            try:
                os.link(path, target / path.name)
            except PermissionError:  # a file system without links
                shutil.copy2(path, target / path.name)


def _check(archive: tarfile.TarFile, file: Path) -> None:
    try:
        member = archive.extractfile(_MANIFEST)
    except KeyError as error:
        msg = f"{file} is no backup that make backup wrote"
        raise LaptopError(msg) from error
    assert member is not None  # noqa: S101 - a regular file
    found = json.load(member)
    if found["format"] > _FORMAT:
        msg = f"{file} was written by Tuskwatch {found['tuskwatch']}, which is newer than this one: restore it with that version"
        raise LaptopError(msg)


def _extract(archive: tarfile.TarFile, target: Path) -> None:
    """Unpack files and folders, and nothing that would lie elsewhere."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(target, filter="data")
        return
    for member in archive:  # Python 3.11 before .4
        if not (member.isreg() or member.isdir()) or member.name.startswith("/") or ".." in Path(member.name).parts:
            msg = f"{member.name} is no file of a backup"
            raise tarfile.TarError(msg)
        archive.extract(member, target)


def _dump(layout: Layout, target: Path) -> None:
    with _serving(layout) as options:
        _run(["pg_dump", "--format=custom", "--no-owner", "--file", str(target), *options], "Airflow's database could not be read")


def _load(layout: Layout, dump: Path) -> None:
    Postgres.of(layout).initialize()
    with _serving(layout) as options:
        flags = ["--no-owner", "--clean", "--if-exists", "--exit-on-error"]
        _run(["pg_restore", *flags, *options, str(dump)], "Airflow's database could not be filled")


@contextlib.contextmanager
def _serving(layout: Layout) -> Iterator[list[str]]:
    """The options that lead PostgreSQL's programs to Airflow's database. An embedded server that does not run runs meanwhile."""
    if (own := own_database(os.environ)) is not None:
        yield [f"--dbname={libpq_url(own)}"]
        return
    postgres = Postgres.of(layout)
    options = [*postgres.connection, "--dbname=airflow"]
    if (stack := Stack.load(layout)) is not None and stack.alive:
        yield options
        return
    env = clean_environment(os.environ)
    process, _ = start("postgres", postgres.command(), env=env, log_file=layout.logs / "postgres.log", cwd=Path("/"))
    try:
        postgres.wait_ready(lambda: process.alive, process.log_tail)
        yield options
    finally:
        stop([process])
        postgres.sockets.remove()


def _run(command: list[str], what: str) -> None:
    name, *arguments = command
    done = subprocess.run([str(program(name)), *arguments], env=clean_environment(os.environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"{what}: {done.stderr.strip()[-2000:]}"
        raise LaptopError(msg)
