"""Backups of an engine at work, and what is refused."""

import hashlib
import tarfile
import threading
from pathlib import Path

import pytest

from laptop.backup import backup, restore, snapshot_engine
from laptop.errors import LaptopError
from laptop.layout import Layout
from tests.support import Engine


def content(name: str) -> bytes:
    """A file that no other one shares anything with."""
    return b"".join(hashlib.blake2b(f"{name} {number}".encode()).digest() for number in range(500))


def test_a_copy_of_an_engine_at_work_holds_every_commit_that_it_names(tmp_path: Path) -> None:
    over = threading.Event()
    with Engine(tmp_path / "live") as engine:
        engine.client.create_repo("images")

        def work() -> None:
            for number in range(100):
                if over.is_set():
                    return
                with engine.client.commit("images", "master") as commit:
                    engine.client.put_file_bytes(commit, f"/{number}", content(str(number)))
                if number >= 3:  # so that there is something to collect
                    with engine.client.commit("images", "master") as commit:
                        engine.client.delete_file(commit, f"/{number - 3}")

        worker = threading.Thread(target=work)
        worker.start()
        try:
            for copy in range(3):
                (tmp_path / f"copy{copy}").mkdir()
                snapshot_engine(engine.root, tmp_path / f"copy{copy}" / "data")
        finally:
            over.set()
            worker.join()

    for copy in range(3):
        with Engine(tmp_path / f"copy{copy}") as copied:
            assert list(copied.client.fsck()) == []  # every chunk of every commit is there
            finished = next((info for info in copied.client.list_commit("images") if info.HasField("finished")), None)
            for file in copied.client.list_file(finished.commit, "/") if finished else ():
                assert copied.client.get_file(finished.commit, file.file.path).read() == content(file.file.path.strip("/"))


def test_nothing_is_kept_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(LaptopError, match="nothing to back up"):
        backup(Layout(tmp_path / "local"), tmp_path / "kept.tar")


def test_a_backup_that_would_be_lost_with_the_data_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.pachd_data.mkdir()

    with pytest.raises(LaptopError, match="name a file elsewhere"):
        backup(layout, tmp_path / "kept.tar")


def test_data_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.pachd_data.mkdir()

    with pytest.raises(LaptopError, match="make reset"):
        restore(layout, tmp_path / "kept.tar")


@pytest.mark.parametrize("kind", ["missing", "no tar", "another tar"])
def test_what_is_no_backup_is_refused_and_nothing_made(tmp_path: Path, kind: str) -> None:
    layout, file = Layout(tmp_path / "local"), tmp_path / "file.tar"
    if kind == "no tar":
        file.write_bytes(b"nothing of the kind")
    elif kind == "another tar":
        with tarfile.open(file, "w") as archive:
            archive.add(__file__, "some.py")

    with pytest.raises(LaptopError, match=r"file\.tar"):
        restore(layout, file)

    assert not layout.pachd_data.exists()
    assert not layout.database.exists()
