"""``minipachd gc`` and ``minipachd stat`` beside a server and without one, SIGKILL in the middle, and the metrics."""

import contextlib
import json
import random
import re
import subprocess
import sys
import threading
import time

import httpx
import pytest
from python_pachyderm import Client, RpcError

from tests.minipachd.api.calls import content, put, repo
from tests.support import Engine

BIG = random.Random(1).randbytes(3 << 20)


def command(name, root, *arguments):
    return [sys.executable, "-m", "minipachd", name, "--data", str(root), *arguments]


def run(name, root, *arguments):
    return subprocess.run(command(name, root, *arguments), capture_output=True, text=True, timeout=120)


def stat(root):
    return json.loads(run("stat", root, "--json").stdout)


def stored(root):
    return sum(path.stat().st_size for path in (root / "packs").iterdir())


@pytest.mark.parametrize("serving", [True, False])
def test_gc_gives_back_a_deleted_repo_and_stat_says_so(engine, serving):
    repo(engine.client, "kept")
    repo(engine.client, "gone")
    kept = put(engine.client, "kept", {"/a": b"kept" * 1000})
    put(engine.client, "gone", {"/big": BIG})
    assert stat(engine.root)["reclaimable_bytes"] == 0
    engine.client.delete_repo("gone")
    before = stat(engine.root)
    assert (before["stored_bytes"], before["reclaimable_bytes"], before["commits"]) == (4000 + len(BIG), len(BIG), 1)
    if not serving:
        engine.stop()
    result = run("gc", engine.root)
    assert result.returncode == 0, result.stderr
    assert "freed 3.15 MB: 3 chunks, 1 packs deleted" in result.stdout
    assert "not in use" in result.stderr
    assert stored(engine.root) == 4000
    assert stat(engine.root)["reclaimable_bytes"] == 0
    if not serving:
        engine.start()
    assert content(engine.client, kept, "/a") == b"kept" * 1000
    assert list(engine.client.fsck()) == []


def test_stat_for_people(engine):
    repo(engine.client, "images")
    put(engine.client, "images", {"/a": b"x" * 1500, "/b": b"y"})
    text = run("stat", engine.root).stdout
    assert re.search(r"stored +1.5 kB in 2 chunks and 2 packs", text)
    assert re.search(r"default/images +1 +2 +1.5 kB", text)


@pytest.mark.parametrize("name", ["stat", "gc", "fsck"])
def test_a_folder_that_is_no_data_directory_is_named_and_left_alone(tmp_path, name):
    result = run(name, tmp_path)
    assert result.returncode == 3
    assert f"{tmp_path} is no data directory of minipachd" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_collection_that_is_killed_at_any_moment_loses_nothing(tmp_path):
    """The server is killed while it collects; what is alive is read back whole, and a later collection drops the rest."""
    moments = random.Random(5)
    with Engine(tmp_path) as engine:
        expected = []
        for round_ in range(6):
            kept, gone = f"kept{round_}", f"gone{round_}"
            repo(engine.client, kept)
            repo(engine.client, gone)
            files = {f"/{n}": random.Random(round_ * 1000 + n).randbytes(30_000) for n in range(60)}
            with engine.client.commit(gone, "master") as commit, engine.client.modify_file_client(commit) as both:
                for path, data in files.items():
                    both.put_file_from_bytes(path, data)
            live = dict(list(files.items())[::2])
            expected.append((put(engine.client, kept, live), live))  # its chunks lie in the other repo's pack
            engine.client.delete_repo(gone)
            collecting = subprocess.Popen(command("gc", engine.root), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            collecting.stderr.readline()  # it has marked: the sweep begins
            time.sleep(moments.uniform(0, 0.05))  # a random moment of it, not a wait for something
            engine.kill()
            collecting.communicate(timeout=60)
            engine.start()
            assert list(engine.client.fsck()) == []
        for commit, live in expected:
            for path, data in live.items():
                assert content(engine.client, commit, path) == data
        assert run("gc", engine.root).returncode == 0
        used = sum(len(data) for _, live in expected for data in live.values())
        assert used <= stored(engine.root) <= used * 4 / 3


def test_collections_beside_a_load_of_puts_and_deletes(engine):
    """The same contents come and go all the time: what a put shares with a repo that is deleted must not be taken from it."""
    stop = threading.Event()
    failures = []

    def write(number):
        choices = random.Random(number)
        client = Client.new_from_pachd_address(engine.address)
        name = f"repo{number}"
        try:
            while not stop.is_set():
                repo(client, name)
                files = {f"/{n}": random.Random(choices.randrange(8)).randbytes(40_000) for n in range(4)}
                commit = put(client, name, files)
                for path, data in files.items():
                    assert content(client, commit, path) == data
                client.delete_repo(name, force=True)
        except BaseException as exc:
            failures.append(exc)
            raise

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    collections = [run("gc", engine.root, "--json") for _ in range(6)]
    stop.set()
    for writer in writers:
        writer.join()
    assert failures == []
    assert [result.returncode for result in collections] == [0] * 6, collections[-1].stderr
    assert sum(json.loads(result.stdout)["chunks"] for result in collections) > 0
    assert list(engine.client.fsck()) == []


def test_prometheus_reads_calls_bytes_jobs_and_the_store(tmp_path):
    with Engine(tmp_path, "--metrics", "127.0.0.1:0") as engine:
        repo(engine.client, "images")
        put(engine.client, "images", {"/a": b"x" * 5000})
        with contextlib.suppress(RpcError):
            engine.client.inspect_repo("missing")
        url = re.search(r"metrics on (http://\S+)", engine.log_tail())[1]
        lines = dict(line.rsplit(" ", 1) for line in httpx.get(url).text.splitlines() if not line.startswith("#"))
        assert lines['minipachd_rpc_seconds_count{code="OK",method="pfs_v2.API/CreateRepo"}'] == "1.0"
        assert lines['minipachd_rpc_seconds_count{code="NOT_FOUND",method="pfs_v2.API/InspectRepo"}'] == "1.0"
        assert float(lines['minipachd_rpc_bytes_total{direction="in",method="pfs_v2.API/ModifyFile"}']) > 5000
        assert float(lines['minipachd_store_bytes{part="packs"}']) == 5000
        assert lines['minipachd_jobs{state="SUCCESS"}'] == "0.0"
        assert lines['minipachd_datums{state="processed"}'] == "0.0"
        assert float(lines["process_resident_memory_bytes"]) > 1 << 20
        assert engine.stop() == 0


def test_metrics_are_for_this_machine_unless_said_otherwise(tmp_path):
    command_line = [
        sys.executable,
        "-m",
        "minipachd",
        "--data",
        str(tmp_path / "data"),
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "0.0.0.0:0",
    ]
    result = subprocess.run(command_line, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "argument --metrics: 0.0.0.0:0 can be reached from other machines" in result.stderr
