"""Airflow's own forms for our DAGs, as a person fills them in: the Params of a run, and a backfill."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from airflow_pachyderm.client.answers import Commit
from laptop.stack import Stack
from tests.dags.quick_stages import write_images
from tests.e2e.harness import Site, quick_site

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200, method="signal")]

NIGHTLY = "nightly_images"
DAYS = ["2024-02-28", "2024-02-29", "2024-03-01"]
IMAGES = {day: {f"/dev1_17092000{number}1.jpg", f"/dev2_17092000{number}2.jpg"} for number, day in enumerate(DAYS)}
LAST_DAY = "2024-03-05"


@pytest.fixture(scope="module")
def nights(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack whose stages are quick stand-ins, and days with two images each. Without a browser none of it starts."""
    landing = tmp_path_factory.mktemp("landing")
    for day, images in IMAGES.items():
        write_images(landing, day, *(image.removeprefix("/") for image in images))
    write_images(landing, LAST_DAY, "dev3_1709600001.jpg", "dev3_1709600002.jpg")
    with quick_site(tmp_path_factory.mktemp("forms"), landing) as site:
        site.airflow.wait_for_dag(NIGHTLY, timeout=60)
        yield site


@pytest.fixture(scope="module")
def stack(nights: Site) -> Stack:
    return nights.stack


def open_form(page: Page, site: Site, dag_id: str) -> Locator:
    """The form behind a DAG's button."""
    page.goto(f"{site.stack.airflow.url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger Dag").click()
    return page.get_by_role("dialog").filter(has=page.get_by_role("heading", name=re.compile(f" - {dag_id}$")))


def field(page: Page, form: Locator, title: str) -> Locator:
    """A field with its title, what is filled in, and its explanation."""
    return form.get_by_role("group").filter(has=page.get_by_text(re.compile(rf"^{re.escape(title)}\s*\*?$")))


def open_backfill(page: Page, site: Site, first: str, last: str) -> Locator:
    """The form for a backfill of some days; the days are all that is filled in."""
    form = open_form(page, site, NIGHTLY)
    form.get_by_text("Backfill", exact=True).click()
    for title, day in (("From", first), ("To", last)):
        field(page, form, title).get_by_test_id("datetime-input").click()
        page.get_by_role("textbox", name=title, exact=True).fill(day.replace("-", "/"))
        page.keyboard.press("Escape")
    return form


def start_backfill(page: Page, site: Site, form: Locator, *, runs: int) -> None:
    """Press the button once the form says how many runs that makes; return when the backfill is over."""
    expect(form).to_contain_text(f"{runs} run{'s' * (runs > 1)} will be triggered.")
    form.get_by_role("button", name="Run Backfill").click()
    expect(page.get_by_text("Backfill in progress")).to_be_visible()
    site.finish_backfills(NIGHTLY)


def pushes(site: Site) -> list[Commit]:
    """The commits of images, oldest first."""
    return site.pfs.list_commits("images")[::-1]


def added(site: Site, commits: list[Commit]) -> list[set[str]]:
    """The files that each commit added to those before."""
    files = [{file.path for file in site.pfs.glob_files("images", commit.commit_set, "/*")} for commit in commits]
    return [new - old for new, old in zip(files, [set(), *files], strict=False)]


def jobs(site: Site, commits: list[Commit]) -> list[Any]:
    """All jobs with what they did."""
    return [site.pps.inspect_job_set(commit.commit_set) for commit in commits]


def backfills(page: Page, site: Site, *, count: int) -> list[list[str]]:
    """The rows under the tab Backfills."""
    page.goto(f"{site.stack.airflow.url}/dags/{NIGHTLY}")
    page.get_by_role("link", name="Backfills").click()
    rows = page.get_by_role("table").locator("tbody tr").filter(has=page.locator("time"))  # not those that stand in while it loads
    expect(rows).to_have_count(count)
    return [[cell.inner_text().strip() for cell in row.get_by_role("cell").all()] for row in rows.all()]


@pytest.mark.parametrize("dag_id", ["bootstrap_pipelines", "push_images", NIGHTLY, "rotate_model", "update_rules"])
def test_the_form_of_a_run_explains_every_param(page: Page, nights: Site, dag_id: str) -> None:
    params = nights.call("GET", f"dags/{dag_id}/details")["params"]
    form = open_form(page, nights, dag_id)

    assert params
    for name, param in params.items():
        assert param["description"], name
        expect(field(page, form, param["schema"]["title"])).to_contain_text(param["description"], use_inner_text=True)
    if dag_id == "push_images":
        folder = field(page, form, "Folder")
        expect(folder).to_contain_text("*")  # the mark of what must be filled in
        folder.get_by_role("textbox").fill("/data/images")
    expect(form.get_by_role("button", name="Trigger")).to_be_enabled()


def test_a_backfill_by_the_form_does_each_day_once_however_often_it_runs(page: Page, nights: Site) -> None:
    """The form also unpauses the DAG, and takes the last day whole when no time is picked."""
    form = open_backfill(page, nights, DAYS[0], DAYS[-1])
    form.locator("input[name=max_active_runs]").fill("2")  # its label is no label to the browser
    start_backfill(page, nights, form, runs=3)

    runs, commits = nights.runs(NIGHTLY, "backfill"), pushes(nights)
    assert [(run["data_interval_start"][:10], run["state"]) for run in runs] == [(day, "success") for day in DAYS]
    assert sorted(map(sorted, added(nights, commits))) == sorted(map(sorted, IMAGES.values()))
    for day, images in IMAGES.items():
        assert nights.summary(NIGHTLY, day)["images"]["valid"] == sorted(image.removeprefix("/") for image in images)
    ((first, last, behavior, _, completed, _, at_once),) = backfills(page, nights, count=1)
    assert (first, last, behavior, at_once) == (f"{DAYS[0]} 00:00:00", f"{DAYS[-1]} 23:59:59", "Missing Runs", "2")
    assert completed

    done = jobs(nights, commits)
    form = open_backfill(page, nights, DAYS[0], DAYS[-1])
    expect(form).to_contain_text("No runs matching selected criteria.")  # all there
    expect(form.get_by_role("button", name="Run Backfill")).to_be_disabled()
    form.get_by_text("All Runs").click()
    start_backfill(page, nights, form, runs=3)

    again = nights.runs(NIGHTLY, "backfill")
    assert [(run["dag_run_id"], run["state"]) for run in again] == [(run["dag_run_id"], "success") for run in runs]
    assert all(new["start_date"] > old["end_date"] for new, old in zip(again, runs, strict=True))  # they did run
    assert pushes(nights) == commits
    assert jobs(nights, commits) == done
    assert {row[2] for row in backfills(page, nights, count=2)} == {"Missing Runs", "All Runs"}


def test_params_hold_for_a_backfill_and_each_run_keeps_its_day(page: Page, nights: Site) -> None:
    before = len(pushes(nights))
    form = open_backfill(page, nights, LAST_DAY, LAST_DAY)
    field(page, form, "Images per batch").get_by_role("spinbutton").fill("1")
    field(page, form, "Day").get_by_role("textbox").fill(DAYS[0])
    form.get_by_text("Override parameters on existing runs").click()  # else Airflow drops them, also for new runs

    start_backfill(page, nights, form, runs=1)

    run = nights.runs(NIGHTLY, "backfill")[-1]
    assert (run["state"], run["conf"]["day"], run["conf"]["batch_size"]) == ("success", DAYS[0], 1)
    commits = pushes(nights)
    assert sorted(map(sorted, added(nights, commits)[before:])) == [["/dev3_1709600001.jpg"], ["/dev3_1709600002.jpg"]]
    assert nights.summary(NIGHTLY, LAST_DAY)["images"]["valid"] == ["dev3_1709600001.jpg", "dev3_1709600002.jpg"]
