"""SIGKILL at random points of a load, and a disk that fills up."""

import contextlib
import random
import resource
import sys
import threading
import time
from dataclasses import dataclass

import grpc
import pytest
from python_pachyderm import Client, RpcError

from minipachd.api.upkeep_service import collect_garbage
from minipachd.errors import DataDirError
from tests.minipachd.api.calls import branch, content, repo


def load(client, acknowledged, stop):
    """One-off commits and open-write-finish ones, until the server is gone; notes what the server said is done."""
    n = len(acknowledged)
    try:
        while not stop.is_set():
            n += 1
            data = random.Random(n).randbytes(n * 997 % 150_000)
            if n % 2:
                client.put_file_bytes(("load", "master"), f"/f{n}", data)
            else:
                commit = client.start_commit("load", "master")
                client.put_file_bytes(commit, f"/f{n}", data)
                client.finish_commit(commit)
            acknowledged[f"/f{n}"] = data
    except (RpcError, ConnectionError):
        return


def make_and_collect_garbage(client, engine, stop):
    """A repo comes and goes, and its bytes are collected, until the server is gone."""
    n = 0
    with contextlib.suppress(RpcError, ConnectionError, DataDirError):
        while not stop.is_set():
            n += 1
            client.create_repo("garbage", update=True)
            client.put_file_bytes(("garbage", "master"), "/noise", random.Random(-n).randbytes(100_000))
            client.delete_repo("garbage")
            for _ in collect_garbage(engine.address, engine.root / "token"):
                pass


@dataclass(frozen=True)
class Recovery:
    """After a kill.

    :ivar seconds: From the start of the new server to its first answer.
    :ivar lost: Acknowledged files that are missing or changed.
    :ivar extra: Files that had not been acknowledged and are there, whole: their writers will send them again.
    """

    seconds: float
    lost: list[str]
    extra: list[str]


def kill_in_the_middle(engine, acknowledged, moment_seconds, *, proven=frozenset()):
    """SIGKILL to the server after ``moment_seconds`` of a load, and a new server on its data.

    :param acknowledged: Content by path; what the load adds, and what is found to be there, is added to it.
    :param proven: Paths that need not be read once more; that they are there is checked all the same.
    """
    stop = threading.Event()
    loader = threading.Thread(target=load, args=(engine.client, acknowledged, stop))
    collector = threading.Thread(target=make_and_collect_garbage, args=(Client.new_from_pachd_address(engine.address), engine, stop))
    loader.start()
    collector.start()
    stop.wait(moment_seconds)  # a random moment of the load, not a wait for something
    engine.kill()
    stop.set()
    loader.join()
    collector.join()
    started = time.monotonic()
    engine.start()

    client = engine.client
    head = next(iter(client.list_branch("load"))).head
    seconds = time.monotonic() - started
    assert list(client.fsck()) == []
    if not next(iter(client.inspect_commit(head))).HasField("finished"):
        client.finish_commit(head)  # started, and its writer is gone
    held = {info.file.path: info.size_bytes for info in client.list_file(head, "/")}
    lost, extra = sorted(acknowledged.keys() - held.keys()), sorted(held.keys() - acknowledged.keys())
    for path, size in held.items():
        expected = random.Random(int(path[2:])).randbytes(int(path[2:]) * 997 % 150_000)
        if path in proven and size == len(expected):
            continue
        assert size in (len(expected), 0), "an open commit's file may be missing, never partly there"
        if content(client, head, path) != expected[:size] or (path in acknowledged and size != len(expected)):
            lost.append(path)
        acknowledged[path] = expected
    return Recovery(seconds, lost, extra)


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_what_was_acknowledged_survives_sigkill_whole_and_nothing_is_half_there(engine, kills):
    repo(engine.client, "load")
    repo(engine.client, "below")
    engine.client.create_branch("below", "master", provenance=[branch("load")])
    acknowledged = {}
    moments = random.Random(7)
    for kill in range(kills):
        proven = frozenset() if kill == kills - 1 else frozenset(acknowledged)  # the last time, all of them are read again
        assert kill_in_the_middle(engine, acknowledged, moments.uniform(0.05, 0.5), proven=proven).lost == []
        for info in engine.client.list_commit("below", all=True):
            upstream = [found.id for found in info.direct_provenance]
            assert upstream, f"{info.commit.id} was made from nothing"
    assert len(acknowledged) > kills
    print(f"{kills} kills, {len(acknowledged)} files written, none lost")  # noqa: T201 - for whoever runs it by hand, with -s


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process are a Linux feature")
def test_a_full_disk_fails_the_call_alone(engine):
    repo(engine.client, "full")
    head = ("full", "master")
    engine.client.put_file_bytes(head, "/before", b"kept")
    _, hard = resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (3 << 20, hard))  # files cannot grow past 3 MiB
    with pytest.raises(RpcError, match="free some space") as error:
        engine.client.put_file_bytes(head, "/big", random.Random(1).randbytes(8 << 20))
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    assert [info.file.path for info in engine.client.list_file(head, "/")] == ["/before"]
    engine.client.put_file_bytes(head, "/after", random.Random(1).randbytes(8 << 20))
    assert list(engine.client.fsck()) == []
    assert len(list((engine.root / "packs").iterdir())) == 2, f"the failed upload left nothing behind on {sys.platform}"
