"""Garbage collection: what nothing reaches goes away, and nothing else."""

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minipachd.errors import ConflictError, CorruptError, FailedPreconditionError
from minipachd.pfs import BranchKey, Pfs, RepoKey
from minipachd.pfs.fsck import findings
from minipachd.pps import Pps
from minipachd.storage import DataDirectory
from minipachd.upkeep.gc import Collector, Marks
from minipachd.upkeep.roots import all_roots

REPO, OTHER = RepoKey("default", "images"), RepoKey("default", "other")


@pytest.fixture
def directory(tmp_path):
    with DataDirectory(tmp_path / "data") as directory:
        yield directory


@pytest.fixture
def pfs(directory):
    pfs = Pfs(directory)
    Pps(pfs, directory)
    with pfs.transaction() as txn:
        txn.create_repo(REPO)
        txn.create_repo(OTHER)
    yield pfs
    assert findings(pfs) == []
    pfs.close()


def put(pfs, repo, files):
    """One commit with these files; returns it."""
    with pfs.upload() as upload:
        entries = [upload.add_bytes(path, data, tag="default") for path, data in files.items()]
        upload.seal()
        with pfs.transaction() as txn:
            commit = txn.start_commit(BranchKey(repo, "master"))
            txn.write_files(commit.key, upload=upload, put=entries)
            return txn.finish_commit(commit.key)


def held(pfs, repo):
    """Every file of the head, as it is read."""
    with pfs.snapshot() as view:
        files = view.files(view.head(BranchKey(repo, "master")))
    return {entry.path: b"".join(pfs.read(entry)) for entry in files.entries()}


def delete(pfs, repo):
    with pfs.transaction() as txn:
        txn.delete_repo(repo)


def pack_bytes(directory):
    return sum(path.stat().st_size for path in directory.packs.iterdir())


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def test_the_bytes_of_a_deleted_repo_go_away_and_the_rest_reads_as_before(pfs, directory):
    kept = {f"/{n}": noise(n, 50_000) for n in range(20)}
    put(pfs, REPO, kept)
    put(pfs, OTHER, {"/big": noise(99, 3 << 20), "/shared": kept["/3"]})
    delete(pfs, OTHER)
    lines = []
    freed = Collector(pfs).collect(lines.append)
    assert freed.disk_bytes == 3 << 20
    assert pack_bytes(directory) == 20 * 50_000
    assert (freed.chunks, freed.packs_deleted, freed.problems) == (3, 1, ())
    assert any("not in use" in line for line in lines)
    assert held(pfs, REPO) == kept
    again = Collector(pfs).collect()
    assert (again.chunks, again.nodes, again.disk_bytes) == (0, 0, 0)


def test_gaps_in_a_pack_are_squeezed_out_and_a_reader_in_the_middle_goes_on(pfs, directory):
    long = noise(1, 4 << 20)
    put(pfs, REPO, {"/long": long, "/gone": noise(2, 3 << 20)})
    with pfs.snapshot() as view:
        reading = pfs.read(view.files(view.head(BranchKey(REPO, "master"))).get("/long"))
    begun = next(reading)
    put(pfs, OTHER, {"/long": long})
    delete(pfs, REPO)
    freed = Collector(pfs).collect()
    assert (freed.packs_deleted, freed.packs_rewritten, freed.disk_bytes) == (0, 1, 3 << 20)
    assert pack_bytes(directory) == 4 << 20
    assert begun + b"".join(reading) == long
    assert held(pfs, OTHER) == {"/long": long}


def test_small_gaps_are_left_and_reported(pfs):
    put(pfs, REPO, {"/most": noise(1, 900_000), "/few": noise(2, 100_000)})
    with pfs.transaction() as txn:
        commit = txn.start_commit(BranchKey(REPO, "master"))
        txn.write_files(commit.key, delete=[("/few", "default")])
        first = txn.finish_commit(commit.key)
        txn.squash_commit_set(txn.commit(first.parent).id)
    freed = Collector(pfs).collect()
    assert (freed.chunks, freed.disk_bytes, freed.left_bytes) == (1, 0, 100_000)


def test_an_upload_keeps_what_it_shares_with_a_repo_that_is_deleted_meanwhile(pfs):
    data = noise(5, 2 << 20)
    put(pfs, REPO, {"/a": data})
    with pfs.upload() as upload:
        entry = upload.add_bytes("/a", data, tag="default")  # nothing is written: the chunks are there
        delete(pfs, REPO)
        assert Collector(pfs).collect().chunks == 0
        upload.seal()
        with pfs.transaction() as txn:
            commit = txn.start_commit(BranchKey(OTHER, "master"))
            txn.write_files(commit.key, upload=upload, put=[entry])
            txn.finish_commit(commit.key)
    assert held(pfs, OTHER) == {"/a": data}


def test_an_open_commit_and_a_tree_that_is_being_read_keep_their_bytes(pfs):
    read = noise(6, 1 << 20)
    put(pfs, REPO, {"/read": read})
    with pfs.snapshot() as view:
        files = view.files(view.head(BranchKey(REPO, "master")))
    with pfs.upload() as upload:
        entry = upload.add_bytes("/open", noise(7, 10_000), tag="default")
        upload.seal()
        with pfs.transaction() as txn:
            commit = txn.start_commit(BranchKey(OTHER, "master"))
            txn.write_files(commit.key, upload=upload, put=[entry])
    delete(pfs, REPO)
    assert Collector(pfs).collect().chunks == 0
    assert b"".join(pfs.read(files.get("/read"))) == read
    assert held(pfs, OTHER) == {"/open": noise(7, 10_000)}
    del files
    assert Collector(pfs).collect().chunks == 1


def test_no_commit_can_name_bytes_that_were_collected(pfs):
    put(pfs, REPO, {"/a": noise(8, 1000)})
    with pfs.snapshot() as view:
        entry = view.files(view.head(BranchKey(REPO, "master"))).get("/a")
    delete(pfs, REPO)
    assert Collector(pfs).collect().chunks == 1

    def write():
        with pfs.transaction() as txn:
            commit = txn.start_commit(BranchKey(OTHER, "master"))
            txn.write_files(commit.key, put=[entry])

    with pytest.raises(ConflictError, match="content of /a was deleted while it was being written; repeat the call"):
        write()


def test_what_came_into_use_after_the_marks_is_not_swept(pfs):
    """The same files come back between mark and sweep, by another upload."""
    files = {f"/{n}": noise(n, 5000) for n in range(100)}
    put(pfs, REPO, files)
    delete(pfs, REPO)
    freed = Collector(pfs).collect(lambda line: put(pfs, OTHER, files) if line.startswith("in use") else None)
    assert (freed.chunks, freed.problems) == (0, ())
    assert held(pfs, OTHER) == files


def test_a_damaged_tree_stops_the_collection_and_nothing_is_dropped(pfs):
    put(pfs, REPO, {"/a": b"kept"})
    put(pfs, OTHER, {"/b": noise(9, 100)})
    delete(pfs, OTHER)
    with pfs.database.transaction() as connection:
        saved = connection.execute("SELECT id, data FROM nodes").fetchall()
        connection.execute("DELETE FROM nodes")
    pfs.nodes.load.cache_clear()
    with pytest.raises(CorruptError, match=r"nothing was dropped: tree node .* is missing"):
        Collector(pfs).collect()
    with pfs.database.transaction() as connection:
        connection.executemany("INSERT INTO nodes VALUES (?, ?)", saved)
    assert Collector(pfs).collect().chunks == 1


def test_a_damaged_pack_is_left_alone_and_named(pfs, directory):
    put(pfs, REPO, {"/kept": noise(1, 100_000), "/gone": noise(2, 900_000)})
    (pack,) = directory.packs.iterdir()
    before = pack.read_bytes()
    with pfs.transaction() as txn:
        commit = txn.start_commit(BranchKey(REPO, "master"))
        txn.write_files(commit.key, delete=[("/gone", "default")])
        last = txn.finish_commit(commit.key)
        txn.squash_commit_set(txn.commit(last.parent).id)
    pack.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    (problem,) = Collector(pfs).collect().problems
    assert f"{pack.name} was left as it is" in problem
    pack.write_bytes(before)
    assert Collector(pfs).collect().packs_rewritten == 1


def test_one_collection_at_a_time(pfs):
    collector = Collector(pfs)

    def again(_line):
        with pytest.raises(FailedPreconditionError, match="running already"):
            collector.collect()

    collector.collect(again)


def test_what_a_transaction_was_making_at_the_first_look_is_found_at_the_next(pfs):
    def look():
        with pfs.snapshot() as view:
            marks.add(all_roots(view.db), pfs.nodes.held_roots())

    marks = Marks(pfs.nodes)
    with pfs.upload() as upload:
        entry = upload.add_bytes("/file", noise(1, 100), tag="default")
        upload.seal()
        with pfs.transaction() as txn:
            commit = txn.start_commit(BranchKey(REPO, "master"))
            txn.write_files(commit.key, upload=upload, put=[entry])
            tree = pfs.files(txn.commit(commit.key).root)
            other = threading.Thread(target=look)  # this thread would see what is not committed yet
            other.start()
            other.join()
            assert entry.chunks not in marks.chunks
            txn.finish_commit(commit.key)
    look()
    assert entry.chunks in marks.chunks
    assert [found.path for found in tree.entries()] == ["/file"]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_collections_beside_uploads_that_share_and_delete(tmp_path_factory, seed):
    """Three writers put the same few contents again and again and delete them, while the garbage is collected all the time."""
    with DataDirectory(tmp_path_factory.mktemp("gc")) as directory:
        pfs = Pfs(directory)
        Pps(pfs, directory)
        failures = []

        def write(number):
            choices = random.Random(seed + number)
            repo = RepoKey("default", f"repo{number}")
            try:
                for _ in range(12):
                    with pfs.transaction() as txn:
                        txn.create_repo(repo)
                    expected = {}
                    for _ in range(choices.randrange(1, 4)):
                        files = {f"/{choices.randrange(9)}": noise(choices.randrange(6), 3000) for _ in range(3)}
                        put(pfs, repo, files)
                        expected.update(files)
                        assert held(pfs, repo) == expected
                    delete(pfs, repo)
            except BaseException as exc:
                failures.append(exc)
                raise

        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        collector = Collector(pfs)
        while any(writer.is_alive() for writer in writers):
            assert collector.collect().problems == ()
        for writer in writers:
            writer.join()
        assert failures == []
        assert findings(pfs) == []
        collector.collect()
        assert pack_bytes(directory) == 0
        pfs.close()
