"""Packs: what is kept, what is not, and in which order."""

import pytest

from minipachd.errors import CorruptError, DataDirError
from minipachd.storage import ChunkStore, Database, DataDirectory, Schema


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
