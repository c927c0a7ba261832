"""What survives SIGKILL, damage on disk, and a second server."""

import subprocess
import sys

import grpc
import pytest
from python_pachyderm import RpcError

from tests.minipachd.api.calls import content, put, repo
from tests.support import Engine

IMAGE = bytes(range(256)) * 8000


def test_sigkill_keeps_finished_commits_and_leaves_open_ones_open(engine):
    repo(engine.client, "images")
    done = put(engine.client, "images", {"/dev1_1511891098.jpg": IMAGE})
    unfinished = engine.client.start_commit("images", "master")
    engine.client.put_file_bytes(unfinished, "/half", b"written")

    engine.kill()
    engine.start()

    assert content(engine.client, done, "/dev1_1511891098.jpg") == IMAGE
    finished = {info.commit.id: info.HasField("finished") for info in engine.client.list_commit("images")}
    assert finished == {done.id: True, unfinished.id: False}
    assert content(engine.client, unfinished, "/half") == b"written"
    assert list(engine.client.fsck()) == []


def test_sigkill_in_the_middle_of_a_stream_leaves_nothing_of_it(engine):
    repo(engine.client, "images")

    def half_a_stream():
        with engine.client.modify_file_client(("images", "master")) as files:
            for n in range(200):
                if n == 100:
                    engine.kill()
                files.put_file_from_bytes(f"/{n}", IMAGE[:200_000] + b"%d" % n)

    with pytest.raises((RpcError, ConnectionError, RuntimeError)):
        half_a_stream()
    engine.start()
    assert list(engine.client.list_commit("images", all=True)) == []
    assert list((engine.root / "packs").iterdir()) == [], "what was uploaded for nothing is removed at the start"


def test_a_flipped_bit_is_never_served_and_the_error_names_file_and_commit(engine):
    repo(engine.client, "images")
    commit = put(engine.client, "images", {"/good": b"good", "/photo": IMAGE})
    engine.stop()
    for pack in (engine.root / "packs").iterdir():
        data = bytearray(pack.read_bytes())
        if len(data) > 1_500_000:
            data[1_500_000] ^= 4
            pack.write_bytes(data)
    engine.start()

    assert content(engine.client, commit, "/good") == b"good"
    stub = engine.client.get_file(commit, "/photo")
    served = []
    with pytest.raises(grpc.RpcError, match=r"file /photo of commit default/images@.* is damaged") as error:
        served.extend(message.value for message in stub._stream)
    assert all(piece in IMAGE for piece in served), "no wrong byte is served"
    assert error.value.code() is grpc.StatusCode.DATA_LOSS
    assert commit.id in error.value.details()


def test_a_truncated_pack_is_found_by_fsck(engine):
    repo(engine.client, "images")
    put(engine.client, "images", {"/photo": IMAGE})
    engine.stop()
    (pack,) = (engine.root / "packs").iterdir()
    pack.write_bytes(pack.read_bytes()[:1000])
    engine.start()
    (problem,) = {answer.error for answer in engine.client.fsck()}
    assert "file /photo" in problem
    assert pack.name in problem


def test_the_command_line_checks_a_directory_that_no_server_uses(engine):
    repo(engine.client, "images")
    put(engine.client, "images", {"/photo": IMAGE})
    engine.stop()
    command = [sys.executable, "-m", "minipachd", "fsck", "--data", str(engine.root)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    (pack,) = (engine.root / "packs").iterdir()
    pack.unlink()
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 3
    assert f"pack {pack.name} is missing" in result.stdout


def test_a_second_server_on_the_same_directory_is_refused(engine):
    second = Engine(engine.root.parent)
    with pytest.raises(AssertionError, match=r"is in use by another minipachd \(process \d+\)"):
        second.start()
    assert engine.client.get_remote_version().major == 2, "the first one goes on"


@pytest.mark.parametrize("newer", ["directory", "database"])
def test_a_directory_of_a_newer_version_is_refused(engine, newer):
    engine.stop()
    if newer == "directory":
        (engine.root / "format").write_text("2\n")
    else:
        import sqlite3

        connection = sqlite3.connect(engine.root / "metadata.db")
        connection.execute("UPDATE schema_versions SET version = 99 WHERE component = 'pfs'")
        connection.commit()
        connection.close()
    with pytest.raises(AssertionError, match="newer minipachd"):
        engine.start()


def test_sigterm_ends_the_server_cleanly_even_while_clients_wait(engine):
    repo(engine.client, "images")
    stream = engine.client.subscribe_commit("images", "master")
    assert engine.stop() == 0
    with pytest.raises(RpcError):
        next(stream)
    assert "Traceback" not in engine.log_tail()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--listen", "0.0.0.0:0"], "can be reached from other machines"),
        (["--listen", "nowhere"], "is not host:port"),
        (["--listen", "127.0.0.1:99999"], "is not host:port"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, text):
    command = [sys.executable, "-m", "minipachd", "--data", str(tmp_path / "data"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert text in result.stderr


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "minipachd", "--data", str(tmp_path / "file" / "data"), "--listen", "127.0.0.1:0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 3
    assert "cannot be used" in result.stderr


def test_a_port_that_is_taken_is_named(engine, tmp_path):
    command = [sys.executable, "-m", "minipachd", "--data", str(tmp_path / "other"), "--listen", engine.address]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 3
    assert f"cannot listen on {engine.address}" in result.stderr


def test_a_directory_of_an_older_version_is_migrated_and_only_by_a_server(engine):
    import sqlite3

    repo(engine.client, "images")
    commit = put(engine.client, "images", {"/photo": IMAGE})
    engine.stop()
    connection = sqlite3.connect(engine.root / "metadata.db")  # as the first version left it
    connection.executescript("DROP TABLE filesets; UPDATE schema_versions SET version = 1 WHERE component = 'pfs'")
    connection.close()
    command = [sys.executable, "-m", "minipachd", "stat", "--data", str(engine.root)]
    looked = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert looked.returncode == 3
    assert "the pfs tables have version 1, this minipachd knows" in looked.stderr

    engine.start()
    assert content(engine.client, commit, "/photo") == IMAGE
    assert list(engine.client.fsck()) == []
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda root: (root / "format").unlink(), "holds a database but no format file"),
        (lambda root: (root / "format").write_text("one\n"), "says 'one' where a format number belongs"),
        (lambda root: (root / "metadata.db").write_bytes(b"no database" * 1000), "cannot be opened: file is not a database"),
        (lambda root: (root / "metadata.db").write_bytes((root / "metadata.db").read_bytes()[:9000]), "is damaged|cannot be opened"),
    ],
    ids=["no format", "odd format", "no database", "truncated database"],
)
def test_a_damaged_directory_is_refused_and_not_guessed_at(engine, damage, text):
    repo(engine.client, "images")
    engine.stop()
    damage(engine.root)
    before = (engine.root / "metadata.db").read_bytes()
    with pytest.raises(AssertionError, match=text):
        engine.start()
    assert (engine.root / "metadata.db").read_bytes() == before


@pytest.mark.parametrize("lost", [lambda database: database.unlink(), lambda database: database.write_bytes(b"")], ids=["gone", "empty"])
def test_content_without_its_database_is_left_alone_until_that_is_back(engine, lost):
    """A restore that has not come to the database yet: to a new database all packs would be leavings of a killed server."""
    repo(engine.client, "images")
    commit = put(engine.client, "images", {"/photo": IMAGE})
    engine.stop()
    database = engine.root / "metadata.db"
    backup = database.read_bytes()
    lost(database)

    with pytest.raises(AssertionError, match="holds content but no database"):
        engine.start()

    database.write_bytes(backup)
    engine.start()
    assert content(engine.client, commit, "/photo") == IMAGE


def test_a_truncated_pack_is_never_served_and_the_error_names_file_and_commit(engine):
    repo(engine.client, "images")
    commit = put(engine.client, "images", {"/photo": IMAGE})
    engine.stop()
    (pack,) = (engine.root / "packs").iterdir()
    pack.write_bytes(pack.read_bytes()[:1_500_000])
    engine.start()
    with pytest.raises(grpc.RpcError, match=rf"file /photo of commit default/images@{commit.id} is damaged: pack {pack.name}") as error:
        list(engine.client.get_file(commit, "/photo")._stream)
    assert error.value.code() is grpc.StatusCode.DATA_LOSS
