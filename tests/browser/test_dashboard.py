"""What a person on call does with the page."""

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import BrowserContext, FrameLocator, Locator, Page, expect

from airflow_pachyderm.dashboard.links import commit_set_url
from stages.contract.pipelines import pipelines
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm
from tests.airflow_pachyderm.dashboard.test_access import ROUTES
from tests.browser.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.timeout(600, method="signal")]

STAGES = tuple(pipeline.name for pipeline in pipelines())
LONGEST_PAUSE_MS = 8000  # between two looks at the jobs


def newest_set(site: Site) -> str:
    return str(site.summary["commit"])


def framed(page: Page) -> FrameLocator:
    """The page inside of Airflow's."""
    return page.frame_locator("iframe[title='Pachyderm']")


VIEWS = {
    "status": {"view": "status"},
    "pipelines": {"view": "pipelines", "pipeline": "object-detect"},
    "jobs": {"view": "jobs"},
    "repos": {"view": "repos", "repo": "images"},
    "threats": {"view": "threats"},
}


def settled(page: Page) -> None:
    """Return when the view has all that it loads."""
    expect(page.locator("[role=status]")).to_have_count(0)
    page.wait_for_function("[...document.images].every(image => image.complete || image.loading === 'lazy')")


# First, while there is nothing but the demo to be seen. The tests below look at the same views.
@pytest.mark.thorough
@pytest.mark.parametrize("name", VIEWS)
def test_pictures_for_the_readme(
    open_context: Callable[..., BrowserContext], site: Site, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    folder = request.config.getoption("--screenshots", default=None) or tmp_path
    page = open_context(color_scheme="dark" if name == "jobs" else "light").new_page()
    page.goto(site.dashboard(**VIEWS[name]))
    settled(page)
    page.wait_for_load_state("networkidle")

    picture = folder / f"dashboard-{name}.png"
    content = page.screenshot(path=picture)
    if len(content) > 200_000:  # photographs: a third of the bytes, and nobody sees it
        with Image.open(io.BytesIO(content)) as shot:
            shot.convert("RGB").quantize(256).save(picture, optimize=True)

    assert 10_000 < picture.stat().st_size < 500_000


def test_it_is_in_airflows_navigation_and_shows_the_pipeline(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.get_by_role("button", name="Browse").click()
    page.get_by_role("menuitem", name="Pachyderm").click()

    expect(framed(page).get_by_role("heading", name="Is everything all right?")).to_be_visible()
    framed(page).get_by_role("link", name="Pipelines", exact=True).click()
    for stage in STAGES:
        expect(framed(page).get_by_role("link", name=re.compile(f"^Pipeline {stage}: Succeeded"))).to_be_visible()
    expect(framed(page).get_by_role("link", name=re.compile("^Repo images"))).to_be_visible()
    expect(framed(page).get_by_text(re.compile(r"^/\* · \d+ files$"))).to_be_visible()


def test_a_pipeline_opens_with_its_spec_and_jobs(page: Page, site: Site) -> None:
    page.goto(site.dashboard(view="pipelines"))
    page.get_by_role("link", name=re.compile("^Pipeline object-detect")).click()

    detail = page.get_by_role("region", name="Pipeline")
    expect(detail.get_by_role("heading", name="object-detect")).to_be_visible()
    detail.get_by_text("Spec", exact=True).click()
    expect(detail.locator("pre")).to_contain_text('"cross"')
    detail.get_by_role("table").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Job of object-detect")).to_be_visible()
    expect(page.get_by_role("region", name="Log", exact=True)).to_contain_text("objects")


def test_from_the_newest_job_to_a_datums_inputs_outputs_and_log(page: Page, site: Site) -> None:
    page.goto(site.dashboard(view="jobs"))
    page.get_by_role("link", name=re.compile("validate")).first.click()
    page.get_by_role("region", name="Datums").get_by_role("link").first.click()

    expect(page.get_by_role("heading", name="Datum of validate")).to_be_visible()
    expect(page.locator("section", has=page.get_by_role("heading", name="Inputs")).get_by_role("link")).to_contain_text("images:/")
    expect(page.locator("section", has=page.get_by_role("heading", name="Outputs")).get_by_role("link").first).to_contain_text("valid")


def test_a_commit_leads_to_the_task_that_pushed_it_and_the_task_back(page: Page, site: Site) -> None:
    page.goto(commit_set_url(newest_set(site), base_url=site.url))
    task = framed(page).get_by_role("link", name=re.compile("push_images"))
    expect(task).to_be_visible()
    task.click()

    page.wait_for_url(re.compile(r"/dags/push_images/runs/.+/tasks/.+"))
    expect(page.locator("iframe[title='Pachyderm']")).to_have_count(0)
    page.get_by_text("Details", exact=True).click()
    page.get_by_text("Pachyderm commit").click()
    page.wait_for_url(re.compile("/plugin/pachyderm/"))
    expect(framed(page).get_by_role("heading", name=re.compile("^Commit"))).to_be_visible()


def test_the_address_bar_follows_and_a_reload_shows_the_same(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/plugin/pachyderm")
    framed(page).get_by_role("link", name="Repos", exact=True).click()
    framed(page).get_by_role("link", name="images", exact=True).click()
    expect(framed(page).get_by_role("region", name="Files", exact=True)).to_contain_text(".jpg")
    page.wait_for_url(re.compile(r"/plugin/pachyderm/pachyderm/\?view=repos&repo=images"))

    page.reload()

    expect(framed(page).get_by_role("heading", name="images")).to_be_visible()


def test_a_repo_its_files_and_what_a_commit_changed(page: Page, site: Site) -> None:
    page.goto(site.dashboard(view="repos", repo="images"))
    page.get_by_role("link", name="Commits", exact=True).click()
    page.get_by_role("region", name="Commits", exact=True).get_by_role("link").first.click()
    expect(page.get_by_text("+ added").first).to_be_visible()

    page.get_by_role("link", name=re.compile(r"\.jpg$")).first.click()

    picture = page.locator("img.large")
    expect(picture).to_be_visible()
    assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    expect(page.get_by_role("link", name="Download")).to_have_attribute("href", re.compile("download=true"))


def test_a_threat_leads_to_its_original_image_and_history(page: Page, site: Site) -> None:
    page.goto(site.dashboard(view="threats"))
    cards = page.locator("li.threat")
    expect(cards).to_have_count(sum(site.summary["threats"].values()))
    thumbnail = cards.first.locator("img")
    assert thumbnail.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    device = cards.first.locator("strong").inner_text()

    cards.first.get_by_role("link", name="Original image").click()
    expect(page.get_by_role("heading", name=re.compile(f"^{device}_[0-9]+"))).to_be_visible()
    expect(page.locator("img.large")).to_be_visible()
    page.go_back()
    cards.first.get_by_role("link", name="History").click()

    steps = page.locator(".timeline > li")
    expect(steps).to_have_count(5)
    for stage in STAGES:
        expect(steps.filter(has=page.get_by_text(stage, exact=True)).locator(".badge")).to_have_text("Succeeded")


def test_threats_are_filtered_by_device(page: Page, site: Site) -> None:
    device, count = next(iter((name, number) for name, number in site.summary["threats"].items() if number))
    page.goto(site.dashboard(view="threats"))
    expect(page.locator("li.threat")).not_to_have_count(0)

    page.get_by_role("combobox", name="Device").select_option(device)

    expect(page.locator("li.threat")).to_have_count(count)
    assert f"device={device}" in page.url
    expect(page.get_by_role("img", name=re.compile("^Threats by device: "))).to_be_visible()


def test_a_running_job_goes_on_without_a_reload(page: Page, site: Site, pachyderm: Pachyderm) -> None:
    pachyderm.pfs.create_repo("slow-input")
    pachyderm.pipeline("slow", transform={"cmd": ["sh"], "stdin": ["sleep 1.5"]}, input={"pfs": {"repo": "slow-input", "glob": "/*"}})
    page.goto(site.dashboard(view="jobs"))  # a browser's first look may take longer than the job
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    commit_set = pachyderm.commit("slow-input", {f"/{number}": b"x" for number in range(6)})
    page.goto(site.dashboard(view="jobs", set=commit_set))
    page.evaluate("window.notReloaded = true")
    cell = page.get_by_role("table").locator("tbody tr")

    expect(cell).to_contain_text("Running")
    seen = set()
    while "Succeeded" not in (text := cell.inner_text()):
        seen |= set(re.findall(r"(\d+) of 6", text))
        page.wait_for_timeout(100)

    assert len(seen) > 2
    assert page.evaluate("window.notReloaded")
    expect(cell).to_contain_text("6 of 6")


def test_nothing_is_asked_for_while_the_tab_is_hidden(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.clock.install()
    page.goto(site.dashboard(view="jobs"))
    expect(page.locator("li.row").first).to_be_visible()
    with page.expect_request(re.compile("api/jobsets")):
        page.clock.run_for(LONGEST_PAUSE_MS)  # so it does while the tab is seen
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", {get: () => window.away, configurable: true});
        window.away = true;
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.wait_for_load_state("networkidle")
    page.on("request", lambda request: asked.append(request.url))

    page.clock.run_for(10 * LONGEST_PAUSE_MS)
    assert asked == []

    with page.expect_request(re.compile("api/jobsets")):
        page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")


def test_it_says_when_pachyderm_is_away_and_goes_on_when_it_is_back(page: Page, site: Site) -> None:
    page.goto(site.dashboard(view="repos"))
    expect(page.get_by_role("link", name="images", exact=True)).to_be_visible()
    page.evaluate("window.notReloaded = true")

    site.stack.stop_part("minipachd")
    try:
        page.get_by_role("link", name="Jobs", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("Pachyderm does not answer", timeout=20_000)
        expect(page.get_by_role("alert")).to_contain_text("make up")
    finally:
        site.stack.start_pachd()

    expect(page.get_by_role("alert")).to_be_empty(timeout=30_000)
    expect(page.locator("li.row").first).to_be_visible()
    assert page.evaluate("window.notReloaded")


def test_a_file_of_a_repo_does_not_run(page: Page, site: Site, pachyderm: Pachyderm) -> None:
    script = "<script>document.title = 'owned'; parent.owned = true</script>"
    pachyderm.commit(
        "hostile",
        {
            "/page.html": f"<title>harmless</title>{script}".encode(),
            "/x.svg": f"<svg xmlns='http://www.w3.org/2000/svg'>{script}</svg>".encode(),
        },
    )

    for path in ("/page.html", "/x.svg"):
        page.goto(f"{site.url}/pachyderm/api/repos/hostile/raw?path={path}")
        assert page.title() != "owned"
        assert page.evaluate("window.owned") is None
        expect(page.locator("body")).to_contain_text("<script>")
        page.goto(site.dashboard(view="repos", repo="hostile", ref="master", file=path))
        expect(page.locator("pre")).to_contain_text("<script>")
        assert page.evaluate("window.owned") is None


def test_names_and_texts_from_pachyderm_are_never_markup(page: Page, site: Site, pachyderm: Pachyderm) -> None:
    markup = "<img src=x onerror='window.owned = true'>"
    pachyderm.pfs.create_repo("described", description=markup)
    pachyderm.commit("described", {"/a": markup.encode()}, description=markup)

    for query in ({"repo": "described"}, {"repo": "described", "tab": "commits"}, {"repo": "described", "file": "/a"}, {}):
        page.goto(site.dashboard(view="repos", **query))
        expect(page.get_by_text("onerror").first).to_be_visible()
    assert page.evaluate("window.owned") is None


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 390),
        pytest.param("light", 390, marks=pytest.mark.thorough),
        pytest.param("dark", 1280, marks=pytest.mark.thorough),
    ],
)
def test_no_serious_accessibility_fault(open_context: Callable[..., BrowserContext], site: Site, scheme: str, width: int) -> None:
    page = open_context(viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True).new_page()
    views = VIEWS | {"commit": {"view": "jobs", "set": newest_set(site)}, "commits": {"view": "repos", "repo": "images", "tab": "commits"}}

    for query in views.values():
        page.goto(site.dashboard(**query))
        settled(page)
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [(fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in {"serious", "critical"}]
        assert serious == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{query} is wider than the window"


def test_the_first_view_says_whether_everything_is_all_right(page: Page, site: Site) -> None:
    page.goto(site.dashboard())
    settled(page)

    def card(name: str) -> Locator:
        return page.get_by_role("region", name=name)

    expect(card("Summary")).to_contain_text("Nothing is wrong that anybody knows of.")
    expect(card("Summary")).to_contain_text(re.compile("Mail\\s*off"))
    expect(card("Cameras").get_by_role("row")).not_to_have_count(1)  # more than the head
    expect(card("Invalid images").get_by_role("row")).not_to_have_count(1)
    row = card("Last runs").get_by_role("row").filter(has_text="push_images")
    expect(row).to_contain_text("success")
    row.get_by_role("link", name="report").click()
    expect(page.get_by_text("# push_images:").first).to_be_visible()


def test_a_part_that_was_started_again_is_named(page: Page, site: Site) -> None:
    ended = {"part": "scheduler", "time": time.time(), "how": "terminated by SIGKILL", "log": ["out of memory"]}
    site.stack.layout.restarts.write_text(json.dumps(ended) + "\n")
    try:
        page.goto(site.dashboard())
        card = page.get_by_role("region", name="Started again")
        expect(card.get_by_role("row").filter(has_text="scheduler")).to_contain_text("terminated by SIGKILL")
        expect(page.get_by_role("region", name="Summary")).to_contain_text("scheduler: ended by itself and was started again")
        card.get_by_text("show").click()
        expect(card.get_by_text("out of memory")).to_be_visible()
    finally:
        site.stack.layout.restarts.unlink()


def test_everything_can_be_reached_by_keyboard(page: Page, site: Site) -> None:
    page.goto(site.dashboard(view="threats"))
    settled(page)

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for name in ("Status", "Pipelines", "Jobs"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name, exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Jobs", level=1)).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "main"


# The server's part of it: tests/airflow_pachyderm/dashboard/test_access.py
@pytest.mark.thorough
def test_it_works_below_a_path(page: Page, site: Site, below_a_path: str) -> None:
    page.goto(f"{below_a_path}/plugin/pachyderm")
    framed(page).get_by_role("link", name="Pipelines", exact=True).click()
    expect(framed(page).get_by_role("link", name=re.compile("^Pipeline validate"))).to_be_visible()
    framed(page).get_by_role("link", name="Threats", exact=True).click()
    expect(framed(page).locator("li.threat img").first).to_be_visible()

    page.goto(commit_set_url(newest_set(site), base_url=below_a_path))
    expect(framed(page).get_by_role("heading", name=re.compile("^Commit"))).to_be_visible()
    framed(page).get_by_role("link", name=re.compile("push_images")).click()
    page.wait_for_url(re.compile(r"/airflow/dags/push_images/runs/"))


def test_nobody_reads_without_a_login_on_the_real_server(site: Site) -> None:
    with httpx.Client(base_url=f"{site.url}/pachyderm/", trust_env=False) as client:
        refused = {route: client.get(route).status_code for route in ROUTES}

    assert set(refused.values()) == {401}


def test_the_first_page_of_a_large_repo_is_fast_enough_to_be_shown(page: Page, site: Site, pachyderm: Pachyderm) -> None:
    pachyderm.commit("large", {f"/{number:06}.jpg": b"" for number in range(5000)})
    page.goto(site.dashboard(view="repos", repo="large"))

    expect(page.get_by_role("region", name="Files").locator("tbody tr")).to_have_count(100)
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="000100.jpg")).to_be_visible()
