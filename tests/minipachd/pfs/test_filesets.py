"""Shards: ranges of paths that hold every file."""

import pytest

from minipachd.pfs import Pfs, filesets
from minipachd.storage import DataDirectory


@pytest.fixture
def files(tmp_path):
    with DataDirectory(tmp_path) as directory:
        pfs = Pfs(directory)
        with pfs.upload() as upload:
            entries = [upload.add_bytes(f"/d/{n}", b"x" * 10, tag="default") for n in range(10)]
            upload.seal()
            with pfs.transaction() as txn:
                tree = txn.edited(b"", upload=upload, put=entries)
        yield pfs.files(tree.root)
        pfs.close()


@pytest.mark.parametrize(("limits", "count"), [({"most_files": 3}, 4), ({"most_bytes": 35}, 4), ({"most_bytes": 1}, 10), ({}, 1)])
def test_every_file_is_in_exactly_one_shard(files, limits, count):
    shards = list(filesets.shards(files, **limits))
    assert len(shards) == count
    assert (shards[0][0], shards[-1][1]) == ("", "")
    for entry in files.entries():
        assert sum(lower <= entry.path and (not upper or entry.path < upper) for lower, upper in shards) == 1
