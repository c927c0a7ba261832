"""An installation that stays: through stops, starts and new settings. Everything by ``make``, as a person does it."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from laptop.layout import REPOSITORY, Layout, free_port
from laptop.stack import Stack
from tests.dags.quick_stages import write_stages
from tests.e2e.harness import DEMO_MODEL, Site
from tests.e2e.test_undisturbed import history

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(3000)]  # three starts of everything

PUSH = "push_images"
OWN_MODEL = DEMO_MODEL.read_bytes() + bytes.fromhex("0a0b0a036f776e12044e6f4f70")  # the same with one more node, which does nothing
ZONE = "Asia/Kathmandu"


@dataclass
class Home:
    """An installation as a person has it: a folder, and what is set in the shell.

    :ivar hold: While this file is there, validate's job stays in the middle of its work.
    """

    root: Path
    hold: Path
    env: dict[str, str]

    @property
    def layout(self) -> Layout:
        return Layout(self.root / "local")

    def make(self, target: str, **variables: object) -> str:
        """What a target printed; fail with it where it failed."""
        command = ["make", "--no-print-directory", "-o", "setup", target, *(f"{name}={value}" for name, value in variables.items())]
        done = subprocess.run(command, cwd=REPOSITORY, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def up(self, model: Path) -> str:
        return self.make("up", MODEL=model, PORT=free_port())

    @contextlib.contextmanager
    def site(self) -> Iterator[Site]:
        stack = Stack.load(self.layout)
        assert stack is not None
        with stack.client() as airflow:
            yield Site(stack, airflow)

    def images(self, name: str, *, first: int) -> str:
        folder = self.root / name
        folder.mkdir()
        for number in range(first, first + 4):
            (folder / f"dev{number % 2}_{1511891000 + number}.jpg").write_bytes(f"image {number}".encode())
        return str(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("home")
    hold = root / "hold"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "TUSKWATCH_"))}
    stages = write_stages(root / "stages", hold=hold)
    home = Home(root, hold, {**env, "TUSKWATCH_LOCAL": str(root / "local"), "TUSKWATCH_STAGES": str(stages), "TUSKWATCH_TIMEZONE": ZONE})
    (root / "shipped.pb").write_bytes(DEMO_MODEL.read_bytes())
    (root / "other.pb").write_bytes(DEMO_MODEL.read_bytes() + OWN_MODEL[len(DEMO_MODEL.read_bytes()) :].replace(b"own", b"two"))
    (root / "own.pb").write_bytes(OWN_MODEL)
    (root / "own.json").write_text(json.dumps({"threat_classes": [1], "min_count": 2}))
    try:
        yield home
    finally:
        hold.unlink(missing_ok=True)
        home.make("down")


def commits(site: Site) -> dict[str, list[dict[str, Any]]]:
    """Every finished commit of every repo with its files' sizes and digests, but for what the runs told the dashboard."""
    found = {repo: [commit for commit in known if commit["finished"]] for repo, known in history(site).items()}
    return {repo: known for repo, known in found.items() if repo != "status"}


def test_own_rules_and_model_outlive_a_stop_and_a_start_with_the_same_and_with_another_model(home: Home) -> None:
    home.up(home.root / "shipped.pb")
    with home.site() as site:
        site.run(PUSH, {"source": home.images("first", first=0)})
        site.run("update_rules", {"source": str(home.root / "own.json")})
        site.run("rotate_model", {"source": str(home.root / "own.pb")})
        before, password = commits(site), site.stack.airflow.password
        assert site.pps.inspect_pipeline("plot").env == {"TIME_ZONE": ZONE}  # type: ignore[union-attr]

    for model in ("shipped.pb", "other.pb"):
        home.make("down")
        said = home.up(home.root / model)

        kept = "Repo model keeps its /frozen_inference_graph.pb, which is another than the setting tuskwatch_model names; to put "
        assert f"{kept}{home.root / model} in its place tick Replace the model" in said
        assert "Repo rules keeps its /rule.json, which is another than the setting tuskwatch_rules names" in said
        assert password in said
        with home.site() as site:
            assert commits(site) == before  # no commit, so no job: nothing is looked at or judged again
            assert site.pfs.read_file("model", "master", "/frozen_inference_graph.pb") == OWN_MODEL
