"""What holds the stack up: parts that are killed, a person who clicks, a backup of what is at work, and a second start."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from laptop.airflow import COMPONENTS
from laptop.layout import REPOSITORY, Layout
from laptop.stack import Stack, new_stack, start_stack
from laptop.supervisor import restarts
from tests.dags.quick_stages import write_stages
from tests.e2e.harness import DEMO_MODEL, Site, quick_site, until
from tests.e2e.test_undisturbed import history

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]  # starts two stacks, and kills parts of them

PUSH = "push_images"
PARTS = ("postgres", "minipachd", *COMPONENTS)
_READERS = 10
ANSWER_SECONDS = 5.0  # what a person waits for a page, and the limit of each request


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is there, validate's job stays in the middle of its work."""
    return tmp_path_factory.mktemp("gate") / "hold"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, hold: Path) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("parts")
    with quick_site(root, root, hold=hold) as site:
        yield site


def images(folder: Path, count: int, *, first: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"dev{number % 4}_{1511891000 + number}.jpg").write_bytes(f"image {number}".encode())
    return folder


@pytest.mark.slow
def test_each_part_is_killed_while_images_are_pushed_and_the_run_ends_well(site: Site, hold: Path, tmp_path: Path) -> None:
    hold.touch()
    run_id = site.start(PUSH, {"source": str(images(tmp_path / "in", 8, first=0))})
    until(Path(f"{hold}ed").exists)

    for part in PARTS:
        site.crash(part)
    hold.unlink()
    until(site.airflow.healthy)
    site.finish(PUSH, run_id)

    assert [entry["part"] for entry in restarts(site.stack.layout) if entry["how"] == "terminated by SIGKILL"] == list(PARTS)
    assert len(site.pfs.list_commits("images")) == 1
    assert site.call("GET", "plugins/importErrors")["import_errors"] == []  # of a first start: nothing red on the home page


class Clicks:
    """A person who clicks, and readers beside: each request at once after the answer to the one before."""

    def __init__(self, site: Site, *, old_run: str) -> None:
        self.faults: list[str] = []
        self.count = 0
        self._site, self._old_run = site, old_run
        self._over = threading.Event()
        token = httpx.post(
            f"{site.airflow.url}/auth/token", json={"username": "admin", "password": site.stack.airflow.password}, trust_env=False
        )
        self._headers = {"Authorization": f"Bearer {token.json()['access_token']}"}
        kinds = (self._variable, self._note, self._pause, self._clear, self._trigger)
        self._threads = [threading.Thread(target=self._go, args=(kinds,))]
        self._threads += [threading.Thread(target=self._go, args=((self._read,),)) for _ in range(_READERS)]

    def __enter__(self) -> "Clicks":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _go(self, kinds: tuple[Callable[[int], tuple[str, str, Any]], ...]) -> None:
        with httpx.Client(base_url=self._site.airflow.url, headers=self._headers, timeout=ANSWER_SECONDS, trust_env=False) as client:
            for number in itertools.count():
                if self._over.wait(0.2):
                    return
                method, path, body = kinds[number % len(kinds)](number)
                started = time.monotonic()
                try:
                    answer = client.request(method, path, json=body)
                except httpx.HTTPError as error:
                    self.faults.append(f"{method} {path}: {error!r} after {time.monotonic() - started:.1f} s")
                    continue
                self.count += 1
                if answer.is_server_error or answer.status_code in (401, 403, 404, 422):
                    self.faults.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")

    def _read(self, number: int) -> tuple[str, str, Any]:
        return "GET", "/pachyderm/api/jobsets", None

    def _variable(self, number: int) -> tuple[str, str, Any]:
        return "POST", "/api/v2/variables", {"key": f"clicked_{number}", "value": str(number)}

    def _note(self, number: int) -> tuple[str, str, Any]:
        return "PATCH", f"/api/v2/dags/{PUSH}/dagRuns/{self._old_run}", {"note": f"seen {number}"}

    def _pause(self, number: int) -> tuple[str, str, Any]:
        return "PATCH", "/api/v2/dags/rotate_model", {"is_paused": bool(number % 2)}

    def _clear(self, number: int) -> tuple[str, str, Any]:
        body = {"dry_run": False, "dag_run_id": self._old_run, "task_ids": ["report"], "only_failed": False, "reset_dag_runs": True}
        return "POST", f"/api/v2/dags/{PUSH}/clearTaskInstances", body

    def _trigger(self, number: int) -> tuple[str, str, Any]:
        return "POST", "/api/v2/dags/check_stack/dagRuns", {"logical_date": None, "dag_run_id": f"clicked_{number}", "conf": {}}


@pytest.mark.slow
def test_a_person_who_clicks_meets_no_error_and_ends_no_part(site: Site, tmp_path: Path) -> None:
    old_run = site.run(PUSH, {"source": str(images(tmp_path / "old", 1, first=1000))})
    before = {name: process.pid for name, process in site.stack.processes.items()}
    run_id = site.start(PUSH, {"source": str(images(tmp_path / "in", 24, first=100)), "batch_size": 1})

    with Clicks(site, old_run=old_run) as clicks:
        site.finish(PUSH, run_id)

    assert clicks.faults == []
    assert clicks.count > 0
    assert {name: process.pid for name, process in site.stack.processes.items()} == before


@pytest.mark.slow
def test_a_backup_made_while_images_are_pushed_holds_the_same_elsewhere(site: Site, hold: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.tar.gz"
    Path(f"{hold}ed").unlink(missing_ok=True)
    hold.touch()
    run_id = site.start(PUSH, {"source": str(images(tmp_path / "in", 3, first=2000))})
    until(Path(f"{hold}ed").exists)

    here = {**os.environ, "TUSKWATCH_LOCAL": str(site.stack.layout.root)}
    laptop(here, "backup", str(file))
    kept = content(site.stack)
    hold.unlink()
    site.finish(PUSH, run_id)
    elsewhere = Layout(tmp_path / "elsewhere")
    laptop({**os.environ, "TUSKWATCH_LOCAL": str(elsewhere.root)}, "restore", str(file))

    restored = new_stack(elsewhere)
    try:
        start_stack(restored, extra={name: value for name, value in site.stack.env.items() if name.startswith("TUSKWATCH_")})
        assert content(restored) == kept
        with restored.client() as airflow:
            assert airflow.run_state(PUSH, run_id) in ("running", "success")
            for _ in airflow.watch(PUSH, run_id, timeout=240):
                pass
        assert restored.airflow.password == site.stack.airflow.password
    finally:
        restored.stop()


def content(stack: Stack) -> dict[str, list[dict[str, Any]]]:
    """Every finished commit of every repo, with its files' sizes and digests."""
    site = Site(stack, None)  # type: ignore[arg-type]
    return {repo: [commit for commit in commits if commit["finished"]] for repo, commits in history(site).items()}


def laptop(env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "laptop", *arguments], cwd=REPOSITORY, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_own_model_and_rules_outlive_a_second_start(tmp_path: Path) -> None:
    """``make up``, own rules, ``make down``, ``make up``: the same heads, and nothing is judged again."""
    stages = write_stages(tmp_path / "stages")
    own = tmp_path / "rule.json"
    shipped = json.loads((REPOSITORY / "stages" / "threat_detect" / "rule.json").read_text())
    own.write_text(json.dumps({**shipped, "threat_classes": [1]}))
    (tmp_path / "model.pb").write_bytes(DEMO_MODEL.read_bytes())
    local = Layout(tmp_path / "local")
    env = {**os.environ, "TUSKWATCH_LOCAL": str(local.root), "TUSKWATCH_STAGES": str(stages)}
    try:
        laptop(env, "up", "--model", str(tmp_path / "model.pb"), "--images", str(images(tmp_path / "in", 4, first=0)))
        with running(local) as site:
            site.run(PUSH, {"source": str(tmp_path / "in")})
            site.run("update_rules", {"source": str(own)})
            before, password = content(site.stack), site.stack.airflow.password
        laptop(env, "down")

        said = laptop(env, "up")

        with running(local) as site:
            assert content(site.stack) == before
            assert site.stack.airflow.password == password
        assert password in said
    finally:
        laptop(env, "down")


@contextlib.contextmanager
def running(layout: Layout) -> Iterator[Site]:
    """What ``make up`` has left running."""
    stack = Stack.load(layout)
    assert stack is not None
    with stack.client() as airflow:
        yield Site(stack, airflow)
