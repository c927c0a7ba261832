"""Packs: what is kept, what is not, and in which order."""

import errno
import os
import resource
from pathlib import Path

import pytest

from minipachd.errors import CorruptError, DataDirError, StorageFullError
from minipachd.storage import CHUNK_BYTES, ChunkStore, Database, DataDirectory, Schema


@pytest.fixture
def directory(tmp_path):
    with DataDirectory(tmp_path / "data") as directory:
        yield directory


@pytest.fixture
def database(directory):
    database = Database(directory.database)
    yield database
    database.close()


@pytest.fixture
def store(database, directory):
    return ChunkStore(database, directory.packs)


def keep(database, writer):
    writer.seal()
    with database.transaction() as connection:
        writer.record(connection)
    writer.kept()


def packs(directory):
    return sorted(path.name for path in directory.packs.iterdir())


def test_recorded_chunks_are_read_back_and_kept_once(store, database, directory):
    with store.writer() as writer:
        ids = [writer.add(data) for data in (b"one", b"two", b"one")]
        assert writer.read(ids[1]) == b"two", "an upload can read what it has not recorded yet"
        keep(database, writer)
    assert ids[0] == ids[2]
    assert [store.read(chunk) for chunk in ids[:2]] == [b"one", b"two"]
    before = packs(directory)
    with store.writer() as writer:
        assert writer.add(b"two") == ids[1]
        keep(database, writer)
    assert packs(directory) == before, "the same bytes are not written again"


def test_an_upload_that_nobody_recorded_leaves_nothing(store, directory):
    with store.writer() as writer:
        chunk = writer.add(b"never")
        writer.seal()
        assert len(packs(directory)) == 1
    assert packs(directory) == []
    assert chunk not in store


def test_a_transaction_that_failed_takes_the_bytes_with_it(store, database, directory):
    def fail(writer):
        with database.transaction() as connection:
            writer.record(connection)
            msg = "undone"
            raise ValueError(msg)

    with store.writer() as writer:
        chunk = writer.add(b"undone")
        writer.seal()
        with pytest.raises(ValueError, match="undone"):
            fail(writer)
    assert packs(directory) == []
    with pytest.raises(CorruptError, match="is in no pack"):
        store.read(chunk)


def test_bytes_are_named_only_when_they_are_durable(store, database):
    with store.writer() as writer:
        writer.add(b"volatile")
        with database.transaction() as connection, pytest.raises(RuntimeError, match="sealed before"):
            writer.record(connection)


@pytest.fixture
def tiny_packs(monkeypatch):
    monkeypatch.setattr("minipachd.storage.chunks._PACK_BYTES", 10)


@pytest.mark.usefixtures("tiny_packs")
def test_a_long_upload_fills_several_packs_and_all_are_durable_before_they_are_named(store, database, directory, monkeypatch):
    synced = set()

    def fsync(descriptor):
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr("minipachd.storage.chunks.os.fsync", fsync)
    contents = [b"%08d" % number for number in range(5)]
    with store.writer() as writer:
        ids = [writer.add(content) for content in contents]
        writer.seal()
        assert set(directory.packs.iterdir()) <= synced
        keep(database, writer)
    assert len(packs(directory)) == 5
    assert [store.read(chunk) for chunk in ids] == contents


@pytest.mark.parametrize("chunks", [1, 3])
@pytest.mark.usefixtures("tiny_packs")
def test_a_pack_that_does_not_reach_the_disk_fails_the_upload_however_often_it_is_sealed(store, directory, monkeypatch, chunks):
    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with store.writer() as writer:
        with monkeypatch.context() as patched:
            patched.setattr("minipachd.storage.chunks.os.fsync", fsync)
            for number in range(chunks):
                writer.add(b"%08d" % number)
            with pytest.raises(StorageFullError):
                writer.seal()
        with pytest.raises(StorageFullError):  # of a lost write the kernel tells once
            writer.seal()
    assert packs(directory) == []


def test_a_chunk_that_found_the_disk_full_is_written_when_it_comes_again(store, database):
    contents = [bytes([number]) * CHUNK_BYTES for number in range(3)]
    with store.writer() as writer:
        first = writer.add(contents[0])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK_BYTES // 2, hard))
        try:
            with pytest.raises(StorageFullError):
                writer.add(contents[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        ids = [first, *map(writer.add, contents[1:])]
        keep(database, writer)
    assert [store.read(chunk) for chunk in ids] == contents


def test_what_a_killed_server_left_is_removed_at_the_next_start(store, database, directory):
    with store.writer() as writer:
        kept = writer.add(b"kept")
        keep(database, writer)
    killed = store.writer()
    killed.add(b"lost")
    killed.seal()
    killed._close_file()  # as the end of the process would
    assert store.remove_orphans() == 1
    assert store.remove_orphans() == 0
    assert store.read(kept) == b"kept"


def test_packs_may_lie_on_a_disk_of_their_own(store, directory):
    """Where the file system keeps a directory for itself."""
    (directory.packs / "lost+found").mkdir()
    (directory.packs / "left.pack").touch()
    assert store.remove_orphans() == 1
    assert [path.name for path in directory.packs.iterdir()] == ["lost+found"]


def test_two_uploads_of_the_same_bytes_may_race(store, database):
    with store.writer() as first, store.writer() as second:
        chunk = first.add(b"same")
        assert second.add(b"same") == chunk
        keep(database, first)
        keep(database, second)
    assert store.read(chunk) == b"same"


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_bytes_are_refused(store, database, directory, damage):
    with store.writer() as writer:
        chunk = writer.add(b"precious")
        keep(database, writer)
    (pack,) = directory.packs.iterdir()
    if damage == "remove":
        pack.unlink()
    else:
        pack.write_bytes(b"precioux" if damage == "flip" else b"prec")
    with pytest.raises(CorruptError, match=pack.name):
        store.read(chunk)


def test_a_schema_grows_by_migrations_and_refuses_newer_ones(database):
    database.install(Schema("part", ("CREATE TABLE part (a TEXT);",)))
    with database.transaction() as connection:
        connection.execute("INSERT INTO part VALUES ('old')")
    grown = Schema("part", ("CREATE TABLE part (a TEXT);", "ALTER TABLE part ADD COLUMN b TEXT DEFAULT 'new';"))
    database.install(grown)
    database.install(grown)
    with database.snapshot() as connection:
        assert connection.execute("SELECT a, b FROM part").fetchall() == [("old", "new")]
    with pytest.raises(DataDirError, match="made by a newer minipachd"):
        database.install(Schema("part", grown.migrations[:1]))


def test_a_failed_migration_changes_nothing(database):
    broken = Schema("broken", ("CREATE TABLE one (a TEXT); CREATE TABLE one (a TEXT);",))
    with pytest.raises(Exception, match="already exists"):
        database.install(broken)
    with database.snapshot() as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'one'").fetchall() == []
