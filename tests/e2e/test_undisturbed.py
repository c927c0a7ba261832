"""Three nights, each with another part killed in the middle, leave what three quiet nights leave: commit by commit, file by file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_pachyderm.client.protocol import pfs_pb2
from dags import settings
from tests.dags.quick_stages import write_images
from tests.e2e.harness import Site, quick_site, until
from tests.e2e.site import ImageSite

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800, method="signal")]
NIGHTLY = "nightly_images"
DAYS = [f"2026-10-{day:02}" for day in range(1, 4)]
REPOS = (*settings.REPOS, *settings.PIPELINES)


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageSite]:
    """Three days of images behind HTTP, which stalls when told to. The same device sends a new image each day."""
    folder = tmp_path_factory.mktemp("landing")
    for number, day in enumerate(DAYS):
        write_images(folder, day, *(f"dev{device}_15118910{number}{device}.jpg" for device in range(8)), f"blah{number}.jpg")
    with ImageSite(folder) as site:
        yield site


@pytest.fixture(scope="module")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """While this file is there, validate's job stays in the middle of its work."""
    return tmp_path_factory.mktemp("gate") / "hold"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, landing: ImageSite, hold: Path) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("undisturbed")
    with quick_site(root, root, hold=hold, extra={"TUSKWATCH_LANDING": landing.url}) as site:
        yield site


def test_killed_parts_leave_no_trace(site: Site, landing: ImageSite, hold: Path) -> None:
    for day in DAYS:
        site.run(NIGHTLY, {"day": day})
    quiet = history(site)
    reports = [found(site, day) for day in DAYS]
    assert len(site.pfs.list_commits("images")) == 3
    assert len(quiet["images"][-1]["files"]) == 27
    site.start_afresh()

    kill_the_worker_in_a_put(site, landing, DAYS[0])
    kill_the_triggerer_in_a_wait(site, hold, DAYS[1])
    kill_minipachd_in_a_job(site, hold, DAYS[2])

    disturbed = history(site)
    for repo in REPOS:
        assert disturbed[repo] == quiet[repo], repo
    assert [found(site, day) for day in DAYS] == reports


def test_a_push_that_nobody_retries_does_not_block_the_next(site: Site, landing: ImageSite, tmp_path: Path) -> None:
    """Its run is marked failed before the retry, so that nobody comes back for the open commit."""
    landing.stall_on("dev4_1511891004.jpg")
    dead = site.start("push_images", {"source": f"{landing.url}/{DAYS[0].replace('-', '/')}"})
    assert landing.stalled.wait(120)
    site.kill_task("push_images", dead, "push")
    landing.resume()
    until(lambda: site.task("push_images", dead, "push")["state"] == "up_for_retry")
    site.call("PATCH", f"dags/push_images/dagRuns/{dead}", {"state": "failed"})
    before = site.pfs.list_commits("images")
    assert not before[0].finished
    (tmp_path / "dev1_1511892001.jpg").write_bytes(b"image")

    run_id = site.run("push_images", {"source": str(tmp_path)})

    commits = site.pfs.list_commits("images")
    assert commits[0].commit_set == site.airflow.xcom("push_images", run_id, "push", key="commit", map_index=0)
    assert commits[1:] == before[1:]


def kill_the_worker_in_a_put(site: Site, landing: ImageSite, day: str) -> None:
    landing.stall_on("dev4_1511891004.jpg")
    run_id = site.start(NIGHTLY, {"day": day})
    assert landing.stalled.wait(120)
    assert [commit.finished for commit in site.pfs.list_commits("images")] == [False]

    site.kill_task(NIGHTLY, run_id, "push")
    landing.resume()
    site.finish(NIGHTLY, run_id)

    assert site.task(NIGHTLY, run_id, "push")["try_number"] == 2


def kill_the_triggerer_in_a_wait(site: Site, hold: Path, day: str) -> None:
    hold.touch()
    run_id = site.start(NIGHTLY, {"day": day})
    until(lambda: triggerer_of(site, run_id) is not None)
    before = triggerer_of(site, run_id)

    site.kill("triggerer")
    site.stack.start_component("triggerer")
    until(lambda: triggerer_of(site, run_id) not in (None, before))
    hold.unlink()
    site.finish(NIGHTLY, run_id)

    assert site.task(NIGHTLY, run_id, "push")["try_number"] == 1


def kill_minipachd_in_a_job(site: Site, hold: Path, day: str) -> None:
    held = Path(f"{hold}ed")
    held.unlink(missing_ok=True)
    hold.touch()
    run_id = site.start(NIGHTLY, {"day": day})
    until(held.exists)
    until(lambda: triggerer_of(site, run_id) is not None)

    site.kill("minipachd")
    site.stack.start_pachd()
    hold.unlink()
    site.finish(NIGHTLY, run_id)

    assert site.task(NIGHTLY, run_id, "push")["try_number"] == 1


def triggerer_of(site: Site, run_id: str) -> int | None:
    found: int | None = (site.task(NIGHTLY, run_id, "push").get("trigger") or {}).get("triggerer_id")
    return found


def found(site: Site, day: str) -> dict[str, Any]:
    """What a night's report says about images, whoever was killed meanwhile."""
    summary = site.summary(NIGHTLY, day)
    return {name: summary[name] for name in ("files", "images", "threats", "detections", "late")}


def history(site: Site) -> dict[str, list[dict[str, Any]]]:
    """Every commit of every repo, oldest first: how it ended, and its files with sizes and digests."""
    pfs = site.pfs
    commits: dict[str, list[dict[str, Any]]] = {}
    for repo in REPOS:
        infos = pfs._call(pfs.server.stubs.pfs.ListCommit, pfs_pb2.ListCommitRequest(repo=pfs.repo_message(repo), all=True, reverse=True))
        commits[repo] = [
            {
                "branch": info.commit.branch.name,
                "batch": info.description.partition("] ")[2].partition(",")[0],
                "finished": info.HasField("finished"),
                "error": info.error,
                "files": {file.path: (file.size_bytes, file.digest) for file in pfs.glob_files(repo, info.commit.id, "/**")},
            }
            for info in infos
        ]
    return commits
