"""New rules and a new model through real Airflow: checked before they are put, for all images or only new ones, and taken back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dags import settings
from laptop.errors import RunFailedError
from tests.e2e.harness import Site, quick_site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200, method="signal")]
ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "stages" / "object_detect" / "demo_model" / "frozen_inference_graph.pb"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A stack of its own, with two images pushed."""
    root = tmp_path_factory.mktemp("rotation")
    with quick_site(root, root) as site:
        push(site, root / "first", "dev1_1511892001.jpg", "dev2_1511892002.jpg")
        yield site


def push(site: Site, folder: Path, *names: str) -> None:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode())
    site.run("push_images", {"source": str(folder)})


def rotate(site: Site, dag_id: str, **conf: Any) -> dict[str, Any]:
    """One run; what its push returned."""
    run_id = site.run(dag_id, conf)
    found: dict[str, Any] = site.airflow.xcom(dag_id, run_id, "put")
    return found


def rules(site: Site) -> bytes:
    return site.pfs.read_file("rules", "master", settings.RULES_PATH)


def test_rules_are_put_for_all_images_and_taken_back(site: Site, tmp_path: Path) -> None:
    before = rules(site)
    (tmp_path / "rule.json").write_text(json.dumps({"threat_classes": [3]}))

    put = rotate(site, "update_rules", source=str(tmp_path / "rule.json"), reprocess="all images")

    assert json.loads(rules(site)) == {"threat_classes": [3]}
    assert (put["jobs"]["threat-detect"]["state"], put["jobs"]["threat-detect"]["processed"]) == ("success", 2)

    back = rotate(site, "update_rules", action="roll back")

    assert rules(site) == before
    assert back["jobs"]["threat-detect"]["state"] == "success"


@pytest.mark.parametrize(("dag_id", "repo"), [("update_rules", "rules"), ("rotate_model", "model")])
def test_a_bad_file_is_refused_before_anything_is_committed(site: Site, tmp_path: Path, dag_id: str, repo: str) -> None:
    (tmp_path / "bad").write_text('{"threat_clases": [1]}')
    before = site.pfs.list_commits(repo), site.pfs.list_commits("images")

    run_id = site.start(dag_id, {"source": str(tmp_path / "bad"), "reprocess": "only new images"})
    with pytest.raises(RunFailedError, match="is not put: "):
        site.finish(dag_id, run_id)

    assert site.task(dag_id, run_id, "check")["try_number"] == 1  # trying again would not help
    assert (site.pfs.list_commits(repo), site.pfs.list_commits("images")) == before


def test_a_model_for_new_images_only_sets_the_others_aside(site: Site, tmp_path: Path) -> None:
    run_id = site.run("rotate_model", {"source": str(MODEL), "reprocess": "only new images"})
    branch = site.airflow.xcom("rotate_model", run_id, "set_aside")

    assert site.pfs.read_file("model", "master", settings.MODEL_PATH) == MODEL.read_bytes()
    assert site.airflow.xcom("rotate_model", run_id, "put")["jobs"]["object-detect"]["processed"] == 0
    assert len(site.pfs.glob_files("images", branch, "/*.jpg")) == 2

    push(site, tmp_path / "later", "dev3_1511892003.jpg")

    threats = site.pfs.glob_files("threat-detect", "master", "/*/*.json")
    assert [file.path for file in threats] == ["/dev3/1511892003.json"]
