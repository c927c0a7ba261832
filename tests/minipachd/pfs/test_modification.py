"""Streams of operations: what they hold in memory before they are applied, and what is read afterwards."""

import pytest

from minipachd.pfs import Pfs, RepoKey
from minipachd.pfs.types import BranchKey
from minipachd.storage import DataDirectory

KB = 1000
REPO = RepoKey("default", "repo")


@pytest.fixture
def pfs(tmp_path):
    with DataDirectory(tmp_path) as directory:
        pfs = Pfs(directory)
        yield pfs
        pfs.close()


def written(pfs, fill):
    """The files of an open commit after a stream of operations."""
    with pfs.transaction() as txn:
        txn.create_repo(REPO)
        commit = txn.start_commit(BranchKey(REPO, "master")).key
    with pfs.modification() as modification:
        fill(modification)
        appends = list(modification.appends())
        modification.upload.seal()
        with pfs.transaction() as txn:
            txn.write_files(commit, upload=modification.upload, append=appends)
    with pfs.snapshot() as view:
        return view.files(view.commit(commit))


def test_copies_to_the_ends_of_files_that_are_still_in_memory_may_be_as_many_as_one_likes(pfs):
    names = [f"/{number}" for number in range(30)]

    def fill(modification):
        stored = modification.upload.add_bytes("/stored", b"y" * 200 * KB, tag="default")
        for name in names:
            modification.add(name, "", b"x" * 900 * KB)
            modification.add_stored(name, "", stored)

    files = written(pfs, fill)
    assert [entry.path for entry in files.entries()] == sorted(names)
    assert {b"".join(pfs.read(entry)) for entry in files.entries()} == {b"x" * 900 * KB + b"y" * 200 * KB}


def test_a_file_that_two_datums_wrote_is_read_from_any_offset(pfs):
    parts = {"a": b"a" * 500 * KB, "b": bytes(range(256)) * 4096}  # a full chunk behind a part of one

    def fill(modification):
        for tag, content in parts.items():
            modification.add("/file", tag, content)

    entry = written(pfs, fill).get("/file")
    whole = b"".join(parts.values())
    for offset in (0, 1, 500 * KB - 1, 500 * KB, 1 << 20, (1 << 20) + 7, len(whole) - 11, len(whole) - 10, len(whole) - 1, len(whole)):
        assert b"".join(pfs.read(entry, offset=offset)) == whole[offset:], offset
