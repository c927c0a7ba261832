"""Images in, threats out, through real Airflow and the real engine; also when a part of it is killed in the middle."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from laptop.stack import Stack
from tests.e2e.harness import Site
from tests.e2e.site import ImageSite
from tests.support_data import Material

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600, method="signal")]
PUSH = "push_images"
STALL_SECONDS = 120


@pytest.fixture
def source(material: Material) -> Iterator[ImageSite]:
    """The images behind HTTP, stalling when told to."""
    with ImageSite(material.images) as site:
        yield site


def summary_of(site: Site, run_id: str) -> dict[str, Any]:
    counts = site.airflow.xcom(PUSH, run_id, "report")
    summary: dict[str, Any] = json.loads(Path(counts["summary"]).read_text())
    return summary


def assert_as_expected(summary: dict[str, Any], material: Material) -> None:
    assert summary["images"]["valid"] == list(material.valid)
    assert summary["images"]["invalid"] == list(material.invalid)
    assert summary["threats"] == {device: count or summary["threats"].get(device) for device, count in material.threats.items()}


def image_commits(site: Site) -> list[tuple[str, bool]]:
    """Id and whether it is finished, of every commit that was pushed to the images repo."""
    return [(commit.commit_set, commit.finished) for commit in site.pfs.list_commits("images")]


def test_the_images_go_through_all_stages_and_a_second_push_processes_nothing_again(site: Site, material: Material) -> None:
    first = summary_of(site, site.run(PUSH, {"source": str(material.images)}))
    again = summary_of(site, site.run(PUSH, {"source": str(material.images)}))

    assert_as_expected(first, material)
    assert {job["state"] for job in first["jobs"].values()} == {"success"}
    assert_as_expected(again, material)
    assert {name: job["processed"] for name, job in again["jobs"].items()} == dict.fromkeys(first["jobs"], 0)


def test_minipachd_is_killed_during_a_push(site: Site, source: ImageSite, material: Material) -> None:
    before = image_commits(site)
    source.stall_on(material.valid[4])
    run_id = site.start(PUSH, {"source": source.url})
    assert source.stalled.wait(STALL_SECONDS)

    site.kill("minipachd")
    source.resume()
    site.stack.start_pachd()
    site.finish(PUSH, run_id)

    assert_as_expected(summary_of(site, run_id), material)
    assert_one_more_commit(before, image_commits(site))


def test_the_push_task_is_killed_and_its_retry_makes_no_second_commit(site: Site, source: ImageSite, material: Material) -> None:
    before = image_commits(site)
    source.stall_on(material.valid[4])
    run_id = site.start(PUSH, {"source": source.url})
    assert source.stalled.wait(STALL_SECONDS)

    site.kill_task(PUSH, run_id, "push")
    source.resume()
    site.finish(PUSH, run_id)

    assert_as_expected(summary_of(site, run_id), material)
    assert_one_more_commit(before, image_commits(site))
    assert site.task(PUSH, run_id, "push")["try_number"] > 1


def assert_one_more_commit(before: list[tuple[str, bool]], after: list[tuple[str, bool]]) -> None:
    assert len(after) == len(before) + 1
    assert all(finished for _, finished in after)


def test_the_stack_listens_on_loopback_only(site: Site) -> None:
    assert not listening_elsewhere(site.stack)


def listening_elsewhere(stack: Stack) -> list[str]:
    """What any process of the stack listens on beyond loopback."""
    found = []
    for root in [psutil.Process(component.pid) for component in stack.processes.values()]:
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # they come and go; some may not be looked into
                found += [socket.laddr for socket in process.net_connections("inet") if socket.status == psutil.CONN_LISTEN]
    assert found
    return [str(address) for address in found if address.ip.removeprefix("::ffff:") not in {"127.0.0.1", "::1"}]
