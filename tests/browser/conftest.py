"""Real Chromium in front of real Airflow and the real engine, after a real demo run."""

import dataclasses
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from airflow_pachyderm.client.channel import Server
from airflow_pachyderm.connection import PachydermConnection
from laptop.commands import choose_inputs
from laptop.demo import bootstrap, push, stack_environment
from laptop.layout import Layout, free_port
from laptop.processes import start, stop
from laptop.stack import Stack, new_stack, start_stack
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm
from tests.browser.site import Site

DESKTOP = {"width": 1280, "height": 860}

expect.set_options(timeout=30_000)  # a limit, not a wait: the machine may be busy with the stack


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", type=Path, help="folder for the README's pictures, such as docs/images")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium.

    Gone after these tests: Playwright keeps an event loop running in this thread, in which no other test could run one of its own.
    """
    chromium = shutil.which("chromium")
    if chromium is None:  # asked first: where there is no browser, the libraries that Playwright's own driver needs may lack too
        pytest.skip("no Chromium: apt-get install chromium")
    driver, _ = compute_driver_executable()
    if (started := subprocess.run([driver, "--version"], capture_output=True, text=True)).returncode != 0:
        pytest.skip(f"Playwright's driver does not start (apt-get install libatomic1): {started.stderr.strip()[-200:]}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The stack after the demo: pipelines made and frames pushed by their DAGs. Without a browser none of it starts."""
    layout = Layout(tmp_path_factory.mktemp("stack"))
    inputs = choose_inputs(layout, model=None, images=None)
    stack = new_stack(layout)
    # Ports of their own: another stack may be starting on the usual ones.
    stack.airflow = dataclasses.replace(stack.airflow, port=free_port())
    stack.pachd_address = f"127.0.0.1:{free_port()}"
    try:
        start_stack(stack, extra=stack_environment(layout, model=inputs.model, sources=[inputs.images]))
        with stack.client() as airflow:
            bootstrap(airflow)
            summary = push(airflow, layout, inputs.images)
        yield Site(stack, summary)
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def stack(site: Site) -> Stack:
    """The stack in front of which the browser is; a module that wants another than the demo's has a fixture of this name."""
    return site.stack


@pytest.fixture(scope="module")
def pachyderm(site: Site) -> Iterator[Pachyderm]:
    """Makes what the demo does not."""
    server = Server(connection_of(site.stack))
    yield Pachyderm(server)
    server.close()


def connection_of(stack: Stack) -> PachydermConnection:
    host, _, port = stack.pachd_address.rpartition(":")
    return PachydermConnection(conn_id="test", host=host, port=int(port), token=stack.pachd_token)


@pytest.fixture(scope="module")
def login(browser: Browser, stack: Stack) -> dict[str, object]:
    """What a browser keeps of a login on Airflow's own page."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(stack.airflow.url)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(stack.airflow.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/auth/login" not in url)
    state = context.storage_state()
    context.close()
    return dict(state)


@pytest.fixture(scope="module")
def below_a_path(site: Site) -> Iterator[str]:
    """A second API server on the same database, as behind a proxy that gives Airflow the path /airflow; its base URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/airflow"
    env = {**site.stack.env, "AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": url}
    process, _ = start(
        "api-server", [sys.executable, "-m", "airflow", "api-server"], env=env, log_file=site.stack.layout.logs / "prefixed.log"
    )
    try:
        deadline = time.monotonic() + 120
        while not _answers(f"{url}/api/v2/version"):
            assert process.alive, process.log_tail()
            assert time.monotonic() < deadline, process.log_tail()
            time.sleep(0.2)
        yield url
    finally:
        stop([process])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def open_context(browser: Browser, login: dict[str, object]) -> Iterator[Callable[..., BrowserContext]]:
    """Makes browser windows that are logged in."""
    contexts: list[BrowserContext] = []

    def make(**options: object) -> BrowserContext:
        contexts.append(browser.new_context(**{"viewport": DESKTOP, "storage_state": login, **options}))
        return contexts[-1]

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_context: Callable[..., BrowserContext]) -> Iterator[Page]:
    """A tab. The test fails when a script fails in it or the content security policy stops something."""
    page = open_context().new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None)
    yield page
    assert faults == []
