"""Threats: newest first over all devices, filters, pages, counts, and the way of an image through the stages."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from airflow_pachyderm.dashboard.threats import Place
from stages.contract.records import Counts
from tests.airflow_pachyderm.dashboard.camera import frame
from tests.airflow_pachyderm.dashboard.conftest import Engine
from tests.airflow_pachyderm.dashboard.pachyderm import Pachyderm

START = 1_511_891_000
COUNTS = Counts(
    total=2,
    first=None,
    last=None,
    devices={"dev1": 1, "dev2": 1},
    per_day={"2017-11-29": 1, "2017-11-28": 1},
    per_hour={},
    classes={"person": 2},
    classes_from_newest=2,
).as_json()


@pytest.fixture(scope="module")
def engine(empty_engine: Engine) -> Engine:
    return empty_engine


@pytest.fixture(scope="module")
def recorded(pachyderm: Pachyderm) -> list[tuple[str, int]]:
    """120 threats of three devices, some at the same second; the newest first, as the page should list them."""
    seen = [(f"dev{number % 3}", START + number // 2) for number in range(120)]
    files: dict[str, bytes | None] = {}
    for device, timestamp in seen:
        files |= pachyderm.threat(device, timestamp, {"person": 0.9} if timestamp % 5 else {"car": 0.7, "person": 0.6})
    pachyderm.commit("threat-detect", files)
    device, timestamp = seen[-1]
    picture = frame(1)
    pachyderm.commit("images", {f"/{device}_{timestamp}.jpg": picture})
    pachyderm.commit("validate", {f"/valid/{device}_{timestamp}.jpg": picture})
    pachyderm.commit("object-detect", {f"/{device}/{timestamp}.jpg": picture, f"/{device}/{timestamp}.json": b"{}"})
    pachyderm.commit("plot", {"/threats.json": json.dumps(COUNTS).encode()})
    return sorted(set(seen), key=lambda item: (-item[1], item[0]))


def everything(client: TestClient, **parameters: Any) -> list[tuple[str, int]]:
    """All pages of a list."""
    shown: list[tuple[str, int]] = []
    after: dict[str, str] = {}
    while True:
        page = client.get("api/threats", params={**parameters, **after}).json()
        shown += [(item["device"], int(item["timestamp"])) for item in page["items"]]
        if page["next"] is None:
            return shown
        after = {"after": page["next"]}


def test_nothing_recorded_is_an_empty_list(client: TestClient) -> None:
    # Runs first: the repo is not there yet.
    page = client.get("api/threats").json()

    assert (page["items"], page["next"]) == ([], None)
    assert client.get("api/threats/counts").json()["available"] is False


@pytest.mark.parametrize("limit", [7, 50, 100])
def test_pages_hold_every_threat_once_newest_first(client: TestClient, recorded: list[tuple[str, int]], limit: int) -> None:
    assert everything(client, limit=limit) == recorded


def test_filters(client: TestClient, recorded: list[tuple[str, int]]) -> None:
    since, until = START + 10, START + 20

    assert everything(client, device="dev1", limit=9) == [item for item in recorded if item[0] == "dev1"]
    assert everything(client, since=since, until=until, limit=9) == [item for item in recorded if since <= item[1] <= until]
    assert everything(client, label="car", limit=9) == [item for item in recorded if item[1] % 5 == 0]
    assert everything(client, device="nobody") == []


def test_a_threat_has_its_image_and_what_was_found(client: TestClient, recorded: list[tuple[str, int]]) -> None:
    page = client.get("api/threats", params={"limit": 100}).json()
    newest = next(item for item in page["items"] if item["image"])

    assert page["devices"] == ["dev0", "dev1", "dev2"]
    assert newest["objects"][0]["label"] == "person"
    assert newest["alert"] == "off"
    image = client.get("api/repos/object-detect/thumbnail", params={"ref": newest["image"]["commit"], "path": newest["image"]["path"]})
    assert image.headers["Content-Type"] == "image/webp"


def test_a_threat_leads_to_its_original_image_and_its_way_through_the_stages(
    client: TestClient, pachyderm: Pachyderm, recorded: list[tuple[str, int]]
) -> None:
    device, timestamp = "dev2", START + 59
    pachyderm.commit("images", {"/later_1511899999.jpg": frame(2)})  # the history names the commit that brought the image, not the newest

    threat = client.get(f"api/threats/{device}/{timestamp}").json()
    steps = {step["stage"]: step for step in threat["steps"]}
    original = client.get("api/repos/images/raw", params={"ref": threat["original"]["commit"], "path": threat["original"]["path"]})
    added = client.get("api/repos/images/diff", params={"commit": steps["images"]["commit"]}).json()

    assert list(steps) == ["images", "validate", "object-detect", "threat-detect", "plot"]
    assert original.content == frame(1)
    assert [item["path"] for item in added["items"]] == [f"/{device}_{timestamp}.jpg"]
    assert all(step["commit"] and step["time"] for step in steps.values())


def test_counts_are_those_of_the_plot_stage(client: TestClient, recorded: list[tuple[str, int]]) -> None:
    counts = client.get("api/threats/counts").json()

    assert counts["total"] == 2
    assert [bar["name"] for bar in counts["days"]] == ["2017-11-28", "2017-11-29"]
    assert counts["classes"] == [{"name": "person", "count": 2}]


def test_a_damaged_record_hides_no_other(client: TestClient, pachyderm: Pachyderm, recorded: list[tuple[str, int]]) -> None:
    damaged = {
        "/dev0/1600000000.json": b"{",
        "/dev0/1600000001.json": b"[]",
        "/dev0/1600000002.json": b'{"objects": 3, "alert": []}',
        "/dev0/readme.txt": b"x",
    }
    pachyderm.commit("threat-detect", damaged)
    try:
        page = client.get("api/threats", params={"limit": 10}).json()
        one = client.get("api/threats/dev0/1600000000")

        assert int(page["items"][0]["timestamp"]) == recorded[0][1]
        assert len(page["items"]) == 10
        assert "3 records" in page["note"]
        assert one.status_code == 404
    finally:
        pachyderm.commit("threat-detect", dict.fromkeys(damaged))


def test_places_sort_newest_first_and_survive_the_address() -> None:
    places = [Place.of("b", "1600000000"), Place.of("a", "1600000000"), Place.of("a-1", "1600000001")]

    assert sorted(places) == [places[2], places[1], places[0]]
    assert [Place.parse(str(place)) for place in places] == places


def test_a_png_and_a_jpeg_of_one_second_are_two_threats(client: TestClient, pachyderm: Pachyderm) -> None:
    [jpeg] = pachyderm.threat("dev7", 1600000000, {"person": 0.9}).values()
    names = ["1600000000", "1600000000_jpeg", "1600000000_png", "1600000001_png"]
    files = {f"/dev7/{name}.json": jpeg for name in names}
    pachyderm.commit("threat-detect", files)
    try:
        pages = [client.get("api/threats", params={"device": "dev7", "limit": 1}).json()]
        while pages[-1]["next"]:
            pages.append(client.get("api/threats", params={"device": "dev7", "limit": 1, "after": pages[-1]["next"]}).json())
        listed = [item["timestamp"] for page in pages for item in page["items"]]
        one = client.get("api/threats/dev7/1600000000_png").json()

        assert listed == ["1600000001_png", "1600000000_png", "1600000000_jpeg", "1600000000"]
        assert [file["path"] for step in one["steps"] if step["stage"] == "threat-detect" for file in step["files"]] == [
            "/dev7/1600000000_png.json"
        ]
    finally:
        pachyderm.commit("threat-detect", dict.fromkeys(files))
