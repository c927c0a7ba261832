"""How long the dashboard's pages take on a repo of 100,000 files and with 10,000 threats, through a real Airflow API server.

python -m benchmarks.dashboard [--files 100000] [--rounds 30] [--json FILE]
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.client.pfs import PfsClient
from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.connection import PachydermConnection
from benchmarks.results import Figure, report
from laptop.layout import Layout
from laptop.stack import Stack, running_stack
from stages.contract import layout
from stages.contract.records import Alert, Box, Found, Threat

FIRST_PAGE_MS: Final = 300.0
_DEVICES: Final = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuskwatch-bench-") as folder, running_stack(Layout(Path(folder)), extra={}) as stack:
        host, _, port = stack.pachd_address.rpartition(":")
        pfs = PfsClient(Server(PachydermConnection(conn_id="benchmark", host=host, port=int(port), token=stack.pachd_token)))
        put(pfs, "images", ((f"/dev{number % _DEVICES}_{number:010}.jpg", b"%d" % number) for number in range(options.files)))
        put(pfs, "threat-detect", (threat(number) for number in range(options.files // 10)))
        with logged_in(stack) as client:
            figures = measure(client, rounds=options.rounds, files=options.files)
    report(figures, options.json)


def put(pfs: PfsClient, repo: str, files: Iterator[tuple[str, bytes]]) -> None:
    """One commit with all files."""
    pfs.create_repo(repo)
    commit = pfs.start_commit_once(repo, "master", "benchmark")

    def requests() -> Iterator[Any]:
        yield pfs_pb2.ModifyFileRequest(set_commit=pfs.commit_message(repo, "master", commit.commit_set))
        for path, content in files:
            add = pfs_pb2.AddFile(path=path)
            add.raw.value = content
            yield pfs_pb2.ModifyFileRequest(add_file=add)

    pfs.server.stubs.pfs.ModifyFile(requests(), timeout=1800)
    pfs.finish_commit(commit)


def threat(number: int) -> tuple[str, bytes]:
    """A record as the stage writes it."""
    device, timestamp = f"dev{number % _DEVICES}", 1_511_891_000 + number
    found = Found(class_id=1, label="person" if number % 50 else "truck", score=0.8, box=Box(left=1, top=1, right=9, bottom=9))
    record = Threat(
        device=device,
        timestamp=timestamp,
        time=datetime.fromtimestamp(timestamp, UTC).isoformat(),
        source=f"{device}_{timestamp}.jpg",
        objects=(found,),
        alert=Alert(id="", status="off", reason="no key"),
    )
    return layout.record(device, str(timestamp)), json.dumps(record.as_json()).encode()


def logged_in(stack: Stack) -> httpx.Client:
    """A client of the page's API."""
    url = stack.airflow.url
    answer = httpx.post(f"{url}/auth/token", json={"username": "admin", "password": stack.airflow.password}, trust_env=False)
    headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
    return httpx.Client(base_url=f"{url}/pachyderm/api/", headers=headers, trust_env=False, timeout=60)


def measure(client: httpx.Client, *, rounds: int, files: int) -> list[Figure]:
    """The first answer, which opens the channel and fills caches, and the middle of those after it."""
    middle = f"/dev9_{files // 2:010}.jpg"
    pages: dict[str, Callable[[], httpx.Response]] = {
        "the page itself": lambda: client.get("../"),  # its first answer waits for the imports
        f"first page of a repo of {files} files": lambda: client.get("repos/images/files", params={"limit": 100}),
        "a page from its middle": lambda: client.get("repos/images/files", params={"limit": 100, "after": middle}),
        f"newest of {files // 10} threats of {_DEVICES} devices": lambda: client.get("threats"),
        "threats of one class in fifty": lambda: client.get("threats", params={"label": "truck", "limit": 8}),
        "graph": lambda: client.get("graph", params={"counted": True}),
    }
    figures = []
    for name, get in pages.items():
        times = [_milliseconds(get) for _ in range(rounds + 1)]
        target = FIRST_PAGE_MS if name.startswith("first page") else None
        figures.append(Figure(f"dashboard: {name}, the very first time", times[0], "ms", target))
        figures.append(Figure(f"dashboard: {name}, median of {rounds}", statistics.median(times[1:]), "ms", target))
    return figures


def _milliseconds(get: Callable[[], httpx.Response]) -> float:
    started = time.perf_counter()
    get().raise_for_status()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
