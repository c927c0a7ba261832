import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.errors import StageError
from stages.object_detect.coco import COCO_LABELS
from stages.object_detect.labels import read_label_map
from tests.support_data import COCO_MODEL, shared_data


def read(tmp_path, text, name="label_map.pbtxt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_label_map(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.pbtxt", 'item {\n  name: "/m/1"\n  id: 1\n  display_name: "person"\n}\nitem { id: 3 name: \'car\' }  # the second'),
        ("x.pbtxt", 'item: { id: 1, name: "person"; }\nitem{id:3 name:"car"}'),
        ("x.json", '{"1": "person", "3": "car"}'),
        ("x.json", '[{"id": 1, "name": "person"}, {"id": 3, "name": "/m/3", "display_name": "car"}]'),
    ],
)
def test_label_maps(tmp_path, name, text):
    assert read(tmp_path, text, name) == {1: "person", 3: "car"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no entry"),
        ("item {", "ends inside an item"),
        ("item", "ends inside an item"),
        ('item { id: 1 name: "a" }\nthing { }', "line 2: expected 'item', found 'thing'"),
        ('item { id: 1 name: "a" } }', "line 1: expected 'item'"),
        ('item { id: "one" name: "a" }', "class id 'one' is not a whole number"),
        ('item { id: -1 name: "a" }', "class id '-1'"),
        ('item { name: "a" }', "class id None"),
        ("item { id: 1 }", "class 1 has no name"),
        ('item { id: 1 name: "a" }\nitem { id: 1 name: "b" }', "line 2: class 1 occurs twice"),
        ("item { id: 1 name }", "expected ':'"),
        ("item { id: 1 name: }", "name has no value"),
        ("<html>", "line 1: unexpected '<html>'"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
    ],
)
def test_wrong_pbtxt(tmp_path, text, problem):
    with pytest.raises(StageError, match=rf"label_map\.pbtxt: .*{problem}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON: .* at line 1"),
        ("{}", "has no entry"),
        ("[1]", "a label map is"),
        ('"person"', "a label map is"),
        ('{"one": "person"}', "class id 'one'"),
        ('{"1": 1}', "class 1 has no name"),
        ('{"1": " "}', "class 1 has no name"),
        ('{"1": "a", "01": "b"}', "class 1 occurs twice"),
        ('[{"name": "a"}]', "class id None"),
        ('[{"id": true, "name": "a"}]', "class id True"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_wrong_json(tmp_path, text, problem):
    with pytest.raises(StageError, match=rf"labels\.json: .*{problem}"):
        read(tmp_path, text, "labels.json")


@given(st.text(alphabet='item{}:,; \n"#idname1', max_size=60) | st.binary(max_size=60))
def test_any_bytes_are_a_label_map_or_the_declared_error(tmp_path_factory, text):
    try:
        labels = read(tmp_path_factory.getbasetemp(), text)
    except StageError:
        return
    assert all(isinstance(key, int) and value for key, value in labels.items())


@pytest.mark.skipif(not shared_data(), reason="no shared data beside the repository")
def test_the_builtin_labels_are_coco_s():
    assert read_label_map(COCO_MODEL.parent / "mscoco_label_map.pbtxt") == COCO_LABELS
