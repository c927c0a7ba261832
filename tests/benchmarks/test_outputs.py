"""When do two peers count as having made the same files?"""

import json
from pathlib import Path

import pytest

from benchmarks.peers.outputs import differences
from benchmarks.peers.world import Step, World
from benchmarks.site import DEMO_MODEL, changed_model

THREAT = {"device": "dev1", "alert": {"status": "too-old", "reason": "the image is 5 hours old"}}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    pair = tmp_path / "expected", tmp_path / "found"
    for folder in pair:
        write(folder, "plot/threats.png", b"png")
        write(folder, "object-detect/dev1/1.json", json.dumps({"alert": {"reason": "1"}}).encode())
        write(folder, "threat-detect/dev1/1.json", json.dumps(THREAT).encode())
    return pair


def write(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_the_same_files_do_not_differ(folders: tuple[Path, Path]) -> None:
    assert differences(*folders) == []


def test_a_missing_an_extra_and_another_file_are_named(folders: tuple[Path, Path]) -> None:
    expected, found = folders
    write(found, "plot/threats.png", b"other")
    write(found, "plot/more.json", b"{}")
    (found / "object-detect/dev1/1.json").unlink()

    assert differences(expected, found) == [
        "object-detect/dev1/1.json is missing",
        "plot/more.json is too much",
        "plot/threats.png differs",
    ]


def test_the_hours_in_an_alerts_reason_may_differ_and_nothing_else_of_it(folders: tuple[Path, Path]) -> None:
    expected, found = folders
    later = THREAT | {"alert": {"status": "too-old", "reason": "the image is 6 hours old"}}
    write(found, "threat-detect/dev1/1.json", json.dumps(later).encode())
    assert differences(expected, found) == []

    write(found, "threat-detect/dev1/1.json", json.dumps(THREAT | {"alert": {"status": "sent", "reason": ""}}).encode())
    assert differences(expected, found) == ["threat-detect/dev1/1.json differs"]


def test_a_field_is_ignored_in_its_own_folder_alone(folders: tuple[Path, Path]) -> None:
    expected, found = folders
    write(found, "object-detect/dev1/1.json", json.dumps({"alert": {"reason": "2"}}).encode())

    assert differences(expected, found) == ["object-detect/dev1/1.json differs"]


def test_a_world_changes_step_by_step(tmp_path: Path) -> None:
    image = tmp_path / "dev1_1600000000.jpg"
    image.write_bytes(b"image")
    world = World.make(tmp_path / "world", DEMO_MODEL)
    rules, graph = world.rules.read_bytes(), world.graph.read_bytes()

    world.happen(Step.FIRST, [image])
    assert [path.name for path in world.images.iterdir()] == [path.name for path in world.delivery(Step.FIRST).iterdir()] == [image.name]
    world.happen(Step.RULES, [])
    assert world.rules.read_bytes() != rules
    world.happen(Step.MODEL, [])
    assert world.graph.read_bytes() != graph
    assert [path.name for path in world.model.iterdir()] == [world.graph.name]


def test_a_changed_model_is_the_same_graph_as_other_bytes(tmp_path: Path) -> None:
    changed = changed_model(DEMO_MODEL, tmp_path / "graph.pb").read_bytes()
    original = DEMO_MODEL.read_bytes()

    assert changed.startswith(original)
    assert changed != original
    key, rest = _varint(changed[len(original) :])
    size, rest = _varint(rest)
    assert (key >> 3 > 1000, key & 7, len(rest)) == (True, 2, size), "a field of bytes, with a number that GraphDef does not use"


def _varint(data: bytes) -> tuple[int, bytes]:
    value = 0
    for place, byte in enumerate(data):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, data[place + 1 :]
    raise AssertionError(data)
