"""Pipelines, their jobs, datums and logs, as the page gets them from a real engine."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.airflow_pachyderm.dashboard.camera import frame, make_pipelines
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm

IMAGES = {f"/dev{number}_151189109{number}.jpg": frame(number) for number in range(4)}
PUSHED_BY = "[airflow:push_images/manual__2026-01-01T00:00:00+00:00/push.send/3#0123abcd] 4 files"


@pytest.fixture(scope="module")
def pushed(pachyderm: Pachyderm) -> str:
    """The commit set of four images that went through three pipelines."""
    make_pipelines(pachyderm)
    commit_set = pachyderm.commit("images", IMAGES, description=PUSHED_BY)
    pachyderm.wait(commit_set)
    return commit_set


def test_the_graph_has_every_repo_and_pipeline_with_states_and_counts(client: TestClient, pushed: str) -> None:
    graph = client.get("api/graph", params={"counted": True}).json()
    nodes = {node["name"]: node for node in graph["nodes"]}
    edges = {(edge["source"], edge["target"]): edge for edge in graph["edges"]}

    assert {name for name, node in nodes.items() if node["kind"] == "pipeline"} >= {"validate", "object-detect", "threat-detect"}
    assert nodes["images"]["kind"] == "repo"
    assert (nodes["validate"]["state"], nodes["validate"]["job_state"], nodes["validate"]["done"]) == ("running", "success", 4)
    assert edges["images", "validate"]["files"] == 4
    assert edges["model", "object-detect"]["glob"] == "/"
    assert edges["object-detect", "threat-detect"]["files"] == 4


def test_a_pipeline_shows_its_spec_without_the_values_of_its_environment(client: TestClient, pushed: str) -> None:
    answer = client.get("api/pipelines/object-detect")
    pipeline = answer.json()

    assert "very-secret" not in answer.text
    assert pipeline["spec"]["transform"]["env"].keys() == {"DETECT_THRESHOLD", "API_KEY"}
    assert pipeline["readers"] == ["threat-detect"]
    assert pipeline["jobs"][0]["id"] == pushed


def test_jobs_come_by_commit_set_newest_first_in_pages(client: TestClient, pushed: str) -> None:
    first = client.get("api/jobsets", params={"limit": 1}).json()
    rest = client.get("api/jobsets", params={"limit": 100, "before": first["next"]}).json()

    assert len(first["items"]) == 1
    assert first["items"][0]["id"] not in {item["id"] for item in rest["items"]}
    everything = [item["id"] for item in first["items"] + rest["items"]]
    assert pushed in everything
    assert len(set(everything)) == len(everything) == len(client.get("api/jobsets", params={"limit": 100}).json()["items"])


def test_a_commit_set_names_the_airflow_task_that_pushed_it(client: TestClient, pushed: str) -> None:
    found = client.get(f"api/jobsets/{pushed}").json()

    assert [job["pipeline"] for job in found["jobs"]] == ["validate", "object-detect", "threat-detect"]
    assert {job["state"] for job in found["jobs"]} == {"success"}
    [origin] = found["pushed"]
    assert (origin["repo"], origin["dag_id"], origin["task_id"], origin["map_index"]) == ("images", "push_images", "push.send", 3)
    assert origin["run_id"] == "manual__2026-01-01T00:00:00+00:00"


def test_datums_come_in_pages_with_inputs_outputs_and_their_own_log(client: TestClient, pushed: str) -> None:
    base = f"api/jobs/object-detect/{pushed}"
    pages: list[dict[str, Any]] = [client.get(f"{base}/datums", params={"limit": 3}).json()]
    pages.append(client.get(f"{base}/datums", params={"limit": 3, "after": pages[0]["next"]}).json())
    datums = pages[0]["items"] + pages[1]["items"]
    datum = client.get(f"{base}/datums/{datums[0]['id']}").json()
    log = client.get(f"{base}/log", params={"datum": datums[0]["id"]}).json()
    stem = next(name for name in IMAGES if f"validate:/valid{name}" in datum["inputs"]).removesuffix(".jpg")

    assert (len(pages[0]["items"]), len(pages[1]["items"]), pages[1]["next"]) == (3, 1, None)
    assert {item["state"] for item in datums} == {"success"}
    assert sorted(item["path"] for item in datum["outputs"]) == [f"{stem.replace('_', '/')}.{suffix}" for suffix in ("jpg", "json")]
    assert [line["message"] for line in log["lines"] if line["user"]] == [f"{stem[1:]}: 2 objects"]


def test_skipped_datums_can_be_told_from_new_ones(client: TestClient, pachyderm: Pachyderm, pushed: str) -> None:
    later = pachyderm.commit("images", {"/dev9_1511899999.jpg": frame(9)})
    pachyderm.wait(later)

    job = client.get(f"api/jobs/validate/{later}").json()
    new = client.get(f"api/jobs/validate/{later}/datums", params={"state": "success"}).json()

    assert (job["total"], job["processed"], job["skipped"]) == (5, 1, 4)
    assert [datum["inputs"] for datum in new["items"]] == [["images:/dev9_1511899999.jpg"]]


def test_a_failed_job_says_why(client: TestClient, pachyderm: Pachyderm) -> None:
    pachyderm.pfs.create_repo("bad-input")
    pachyderm.pipeline(
        "bad",
        transform={"cmd": ["sh"], "stdin": ["echo no camera >&2", "exit 3"]},
        input={"pfs": {"repo": "bad-input", "glob": "/*"}},
        datum_tries=1,
    )
    failed = pachyderm.commit("bad-input", {"/a": b"a"})
    pachyderm.wait(failed)

    found = client.get(f"api/jobsets/{failed}").json()
    log = client.get(f"api/jobs/bad/{failed}/log").json()

    assert found["state"] == "failure"
    assert "failed" in found["jobs"][0]["reason"]
    assert "no camera" in [line["message"] for line in log["lines"]]


@pytest.mark.parametrize(
    "route", ["api/pipelines/nothing", "api/jobsets/" + "0" * 32, "api/jobs/validate/" + "0" * 32, "api/jobs/nothing/" + "0" * 32]
)
def test_what_is_not_there_is_404(client: TestClient, pushed: str, route: str) -> None:
    answer = client.get(route)

    assert answer.status_code == 404
    assert answer.json()["kind"] == "not-found"
    assert "pachyderm_default" not in answer.text
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize(
    "route",
    [
        "api/jobsets?limit=101",
        "api/jobsets?limit=0",
        "api/jobsets?before=yesterday",
        "api/jobsets/master",
        "api/jobs/val%2Fidate/" + "0" * 32,
        "api/pipelines/a.b",
        "api/pipelines/%00",
        "api/jobs/validate/" + "0" * 32 + "/datums?state=odd",
    ],
)
def test_nonsense_is_refused_before_it_reaches_pachyderm(client: TestClient, route: str) -> None:
    assert client.get(route).status_code in {404, 422}
