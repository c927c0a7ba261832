"""Things go wrong on purpose: what was lost (must be nothing), what was done twice, and how long it took to recover.

    python -m benchmarks.faults [--only kills disk workers network airflow] [--kills 200] [--full] [--json FILE]

kills     SIGKILL to minipachd in the middle of puts; the same code as tests/minipachd/api/test_crashes.py
disk      a file system of its own that is full, and is not any more; needs the right to mount one (unprivileged user namespaces)
workers   SIGKILL to user programs in the middle of datums
network   pushes and waits over a network that delays, drops, resets and refuses
airflow   SIGKILL to each of Airflow's parts and to minipachd in the middle of a run, and a run over the bad network
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import grpc
import psutil

from airflow_pachyderm.exceptions import PachydermError
from benchmarks.growth import tiny_jpeg
from benchmarks.proxy import BadNetwork, Flapping
from benchmarks.results import Figure, PartsFailedError, report
from benchmarks.site import Clients, Site
from laptop.keys import pachd_token
from laptop.layout import Layout

_SECONDS: Final = 600.0
_BALLAST_BYTES: Final = 24 << 20
_DISK: Final = "64m"
_DATUM_SECONDS: Final = 0.02
_FLAPPING_SECONDS: Final = 20.0
_AIRFLOW_PARTS: Final = ("scheduler", "triggerer", "dag-processor", "api-server", "minipachd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--kills", type=int, default=200, help="of minipachd (%(default)s)")
    parser.add_argument("--full", action="store_true", help="more of everything else, too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder:
        report(measure(Path(folder), names=options.only, kills=options.kills, many=5 if options.full else 1), options.json)


def measure(root: Path, *, names: list[str], kills: int, many: int) -> Iterator[Figure]:
    """The chosen faults, one after the other.

    :param kills: Of minipachd.
    :param many: How many times as much of the other faults.
    :raises PartsFailedError: After all that could be measured.
    """
    failed = PartsFailedError()
    for name in names:
        (root / name).mkdir()
        with failed.noting(name):
            yield from FAULTS[name](root / name, kills if name == "kills" else many)
    failed.raise_any()


def _outcome(what: str, *, lost: int, again: int, again_what: str, seconds: float) -> Iterator[Figure]:
    yield Figure(f"{what}: lost", lost, "files", target=0)
    yield Figure(f"{what}: done again", again, again_what)
    yield Figure(f"{what}: to recover, at most", seconds, "s")


def kill_server(root: Path, kills: int) -> Iterator[Figure]:
    """SIGKILL to the server at random moments of puts."""
    from tests.minipachd.api.test_crashes import kill_in_the_middle
    from tests.support import Engine

    moments, acknowledged = random.Random(8), dict[str, bytes]()
    with Engine(root) as engine:
        engine.client.create_repo("load")
        found = []
        for number in range(1, kills + 1):
            proven = frozenset(acknowledged) if number < kills else frozenset()  # at last, all of them are read again
            found.append(kill_in_the_middle(engine, acknowledged, moments.uniform(0.05, 0.5), proven=proven))
            if number % 20 == 0:
                print(f"  {number} kills of {kills}, {len(acknowledged)} files", file=sys.stderr, flush=True)
    yield from _outcome(
        f"{kills} kills of minipachd, {len(acknowledged)} files",
        lost=sum(len(recovery.lost) for recovery in found),
        again=sum(len(recovery.extra) for recovery in found),
        again_what="files",
        seconds=max(recovery.seconds for recovery in found),
    )


def fill_disk(root: Path, rounds: int) -> Iterator[Figure]:
    """Put until the disk is full, make room, and put again."""
    mount = f'mount -t tmpfs -o size={_DISK} tmpfs "$0" && exec "$@"'
    acknowledged: dict[str, bytes] = {}
    chance, worst, refused = random.Random(1), 0.0, 0
    with Site(root, prefix=["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(root)]) as site:
        site.pfs.create_repo("full")
        ballast = Path(f"/proc/{site.pid}/root{root}/ballast")
        for turn in range(rounds):
            ballast.write_bytes(bytes(_BALLAST_BYTES // (turn + 1)))
            refused += _put_until_full(site, acknowledged, chance)
            started = time.perf_counter()
            ballast.unlink()
            path, content = f"/after{turn}", chance.randbytes(1 << 20)
            while not _put_one(site, path, content):
                pass
            acknowledged[path] = content
            worst = max(worst, time.perf_counter() - started)
        lost = sum(site.pfs.read_file("full", "master", path) != content for path, content in acknowledged.items())
        lost += len(site.files("full").keys() ^ acknowledged.keys())
    what = f"disk full {rounds} times, {len(acknowledged)} files of 1 MiB"
    yield from _outcome(what, lost=lost, again=refused, again_what="refused puts", seconds=worst)


def _put_until_full(site: Site, acknowledged: dict[str, bytes], chance: random.Random) -> int:
    while True:
        path, content = f"/f{len(acknowledged)}", chance.randbytes(1 << 20)
        if not _put_one(site, path, content):
            return 1
        acknowledged[path] = content


def _put_one(site: Site, path: str, content: bytes) -> bool:
    """A commit of one file; False: the disk is full."""
    try:
        site.put_once("full", [(path, content)])
    except grpc.RpcError as exc:
        if exc.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return False
        raise
    return True


_PROGRAM: Final = """
import os, shutil, time
from stages.common.protocol import NextDatumClient
client = NextDatumClient(int(os.environ["PPS_WORKER_GRPC_PORT"]))
while (env := client.next(error="")) is not None:
    with open({marks!r}, "a") as marks:
        marks.write(os.path.basename(env["work"]) + "\\n")
    time.sleep({seconds})
    shutil.copy(env["work"], os.environ["PFS_ROOT"] + "/out/")
"""


def kill_workers(root: Path, rounds: int) -> Iterator[Figure]:
    """SIGKILL to user programs, one at a time, in the middle of a job."""
    kills, datums, marks = 10 * rounds, 600 * rounds, root / "marks"
    files = {f"/{number:06}": b"%d" % number for number in range(datums)}
    with Site(root / "site") as site:
        site.pfs.create_repo("work")
        program = _PROGRAM.format(marks=str(marks), seconds=_DATUM_SECONDS)
        spec = {
            "pipeline": {"name": "copy"},
            "transform": {"cmd": ["python3", "-c", program], "datum_batching": True},
            "input": {"pfs": {"repo": "work", "glob": "/*"}},
            "parallelism_spec": {"constant": 2},
            "datum_tries": kills + 1,  # chance may hit one datum again and again, which then fails for good reason
        }
        site.pps.create_pipeline(spec, name="copy")
        site.settle(site.put("work", [("/warm", b"")]))
        started = time.perf_counter()
        site.settle(site.put("work", files.items()))
        quiet = time.perf_counter() - started
        before = len(marks.read_text().split())

        chance, recoveries = random.Random(3), list[float]()
        commit_set = site.put("work", ((path, content + b"!") for path, content in files.items()))
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, 0.8) * quiet / kills)  # spreads the kills over the job
            recoveries.append(_kill_a_program(site.pid, str(marks), marks))
        site.settle(commit_set)
        runs = len(marks.read_text().split()) - before
        lost = len(files.keys() - site.files("copy").keys())
        lost += sum(site.pfs.read_file("copy", commit_set, path) != content + b"!" for path, content in files.items())
    what = f"{kills} kills of user programs, {datums} datums"
    yield from _outcome(what, lost=lost, again=runs - datums, again_what="datums", seconds=max(recoveries))


def _kill_a_program(server: int, mark: str, marks: Path) -> float:
    """Kill the newest program; seconds until another has begun a datum. The other worker goes on meanwhile."""
    programs = [process for process in psutil.Process(server).children(recursive=True) if mark in " ".join(_command(process))]
    if not programs:
        raise RuntimeError("no user program runs")
    victim = max(programs, key=lambda process: process.create_time())
    known = {process.pid for process in programs}
    started = time.perf_counter()
    victim.send_signal(signal.SIGKILL)
    while not any(
        process.pid not in known and mark in " ".join(_command(process)) for process in psutil.Process(server).children(recursive=True)
    ):
        if time.perf_counter() - started > _SECONDS:
            raise RuntimeError(f"no program came in place of the killed one within {_SECONDS:.0f} s; {marks} has what ran")
        time.sleep(0.01)
    return time.perf_counter() - started


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # it is gone
        return []


def flap_network(root: Path, rounds: int) -> Iterator[Figure]:
    """Pushes, one after the other, while the network flaps; then the first one in fair weather."""
    acknowledged: dict[str, bytes] = {}
    pushes = failures = 0
    with Site(root / "site") as site:
        site.pfs.create_repo("images")
        site.create_stages("validate")
        with BadNetwork(lambda: site.address) as network:
            clients = Clients(f"127.0.0.1:{network.port}", token=site.token)
            until = time.monotonic() + _FLAPPING_SECONDS * rounds
            with Flapping(network, seed=4, spell_seconds=0.6) as flapping:
                while time.monotonic() < until:
                    while not _push(clients, root, pushes, acknowledged):
                        failures += 1
                    pushes += 1
            started = time.perf_counter()
            while not _push(clients, root, pushes, acknowledged):
                failures += 1
            seconds = time.perf_counter() - started
            clients.close()
        commits = site.pfs.list_commits("images")
        site.settle(commits[0].commit_set)
        lost = sum(site.pfs.read_file("images", "master", path) != content for path, content in acknowledged.items())
        lost += len({f"/valid{path}" for path in acknowledged} ^ site.files("validate").keys())
    outages = sum(flapping.changes.values()) - flapping.changes["fair"]
    what = f"network with {outages} outages, {pushes} pushes of 5 images"
    yield Figure(f"{what}: commits twice", len(commits) - pushes - 1, "commits", target=0)
    yield from _outcome(what, lost=lost, again=failures, again_what="pushes, by their caller", seconds=seconds)


def _push(clients: Clients, root: Path, number: int, acknowledged: dict[str, bytes]) -> bool:
    """One push of five images, as an operator's try makes it; False: the caller has to try again."""
    chance, files = random.Random(number), dict[str, Path]()
    for place in range(5):
        image = root / f"dev{place}_{1_600_000_000 + number}.jpg"
        image.write_bytes(tiny_jpeg() + chance.randbytes(30_000))
        files[f"/{image.name}"] = image
    try:
        clients.push("images", files, key=f"push/{number}")
    except PachydermError as exc:
        print(f"  push {number}: {exc}", file=sys.stderr, flush=True)
        return False
    acknowledged.update({path: image.read_bytes() for path, image in files.items()})
    return True


def kill_airflow(root: Path, rounds: int) -> Iterator[Figure]:
    """Runs of ``push_images`` in real Airflow, each with another part killed in its middle, and one over the bad network.

    The stages are quick stand-ins; the first one waits until the part was killed and is back.
    """
    from tests.e2e.harness import quick_site

    hold, names = root / "hold", iter(range(1_600_000_000, 1_700_000_000))
    landing = root / "landing"
    landing.mkdir()
    state = root / "stack" / "stack.json"
    with BadNetwork(lambda: str(json.loads(state.read_text())["pachd_address"])) as network:
        token = pachd_token(Layout(root / "stack"))
        connection = {"conn_type": "pachyderm", "host": "127.0.0.1", "port": network.port, "password": token}
        with quick_site(root, landing, hold=hold, extra={"AIRFLOW_CONN_PACHYDERM_DEFAULT": json.dumps(connection)}) as site:
            clients = Clients(site.stack.pachd_address, token=token)
            expected: set[str] = set()

            def run(disturb: Callable[[], None], *, images: int = 20, batch: int = 20) -> tuple[float, int]:
                """One run; seconds from the beginning of the disturbance to the end of the run, and tasks that were tried again."""
                folder = root / f"images{next(names)}"
                folder.mkdir()
                for number in range(images):
                    name = f"dev{number % 4}_{next(names)}.jpg"
                    (folder / name).write_bytes(name.encode())
                    expected.add(f"/{name}")
                (root / "holded").unlink(missing_ok=True)
                hold.touch()
                run_id = site.start("push_images", {"source": str(folder), "batch_size": batch})
                _until((root / "holded").exists)
                started = time.perf_counter()
                disturb()
                hold.unlink(missing_ok=True)
                site.finish("push_images", run_id)
                tasks = site.airflow.task_instances("push_images", run_id)
                return time.perf_counter() - started, sum(max(0, task["try_number"] - 1) for task in tasks)

            quiet, _ = run(lambda: None)
            yield Figure("Airflow run, undisturbed: from the held stage to the end", quiet, "s")
            for part in _AIRFLOW_PARTS:

                def disturb(part: str = part) -> None:
                    site.kill(part)
                    if part == "minipachd":
                        site.stack.start_pachd()
                    else:
                        site.stack.start_component(part)
                        site.stack.wait_healthy()

                seconds, again = run(disturb)
                lost = len(expected ^ clients.files("images").keys())
                lost += len({f"/valid{path}" for path in expected} ^ clients.files("validate").keys())
                what = f"{part} killed in an Airflow run, and started again"
                yield from _outcome(what, lost=lost, again=again, again_what="tasks", seconds=seconds)

            def flap() -> None:
                hold.unlink()
                with Flapping(network, seed=5):
                    time.sleep(_FLAPPING_SECONDS * rounds)

            seconds, again = run(flap, images=100 * rounds, batch=5)
            seconds = max(0.0, seconds - _FLAPPING_SECONDS * rounds)
            lost = len(expected ^ clients.files("images").keys())
            lost += len({f"/valid{path}" for path in expected} ^ clients.files("validate").keys())
            batches = [commit.description.partition("]")[0] for commit in clients.pfs.list_commits("images") if commit.description]
            yield Figure("flapping network in an Airflow run: commits twice", len(batches) - len(set(batches)), "commits", target=0)
            yield from _outcome("flapping network in an Airflow run", lost=lost, again=again, again_what="tasks", seconds=seconds)
            clients.close()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"it did not come to that within {_SECONDS:.0f} s")
        time.sleep(0.1)


FAULTS: Final[Mapping[str, Callable[[Path, int], Iterator[Figure]]]] = {
    "kills": kill_server,
    "disk": fill_disk,
    "workers": kill_workers,
    "network": flap_network,
    "airflow": kill_airflow,
}


if __name__ == "__main__":
    main()
