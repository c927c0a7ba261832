import pytest
from hypothesis import given, settings
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


PEOPLE_HAVE = [
    'item { id: 1 name: "a" keypoints { id: 7 label: "nose" } keypoints: < id: 8 label: "eye" > display_name: "person" }',
    '\ufeffitem { id: 1 name: "person" }',
    "item { id: 1 name: 'dog\\'s' }",
    "item { id: 1 name: 'say \\\"hi\\\"' }",
    "item { id: 1 name: \"two \" 'parts' }",
    'item { id: 1 name: "\\303\\251t\\xc3\\xa9 \\u00e9" }',
    'item { id: 1 name: "person" instance_count: 3 score: 1.5e-3 flag: true }',
    "item < id: 1 name: 'person' >",
    'item { id: 1 name: "person" ancestor_ids: ["a", "b"] descendant_ids: [] }',
    'item { id: 1; name: "person"; }\r\n# the end',
    'item { id: 1 name: "Пешеход 行人 👩‍🚒" }',
]


@pytest.mark.parametrize("text", PEOPLE_HAVE)
def test_label_maps_as_people_have_them_are_read_as_by_protobuf(tmp_path, text):
    assert read(tmp_path, text) == by_protobuf(text)


def by_protobuf(text):
    """Names by class id as protobuf's own parser reads them."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="map.proto", package="map", syntax="proto2")
    kinds = {
        "Keypoint": [("id", types.TYPE_INT32, 1), ("label", types.TYPE_STRING, 1)],
        "Item": [
            ("id", types.TYPE_INT32, 1), ("name", types.TYPE_STRING, 1), ("display_name", types.TYPE_STRING, 1),
            ("keypoints", ".map.Keypoint", 3), ("instance_count", types.TYPE_INT32, 1), ("score", types.TYPE_FLOAT, 1),
            ("flag", types.TYPE_BOOL, 1), ("ancestor_ids", types.TYPE_STRING, 3), ("descendant_ids", types.TYPE_STRING, 3),
        ],
        "Map": [("item", ".map.Item", 3)],
    }  # fmt: skip
    for name, fields in kinds.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, label) in enumerate(fields, 1):
            of_message = isinstance(kind, str)
            added = message.field.add(name=field, number=number, label=label, type=types.TYPE_MESSAGE if of_message else kind)
            if of_message:
                added.type_name = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = message_factory.GetMessageClass(pool.FindMessageTypeByName("map.Map"))()
    text_format.Parse(text.removeprefix("\ufeff"), found)
    return {item.id: item.display_name or item.name for item in found.item}


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
        ("<html>", "line 1: expected 'item', found '<'"),
        ("=", "line 1: unexpected '='"),
        ("item { keypoints { id: 1 } ", "ends inside an item"),
        ('item { id: 1 name: "a" > }', "expected the name of a field, found '>'"),
        ('item { id: 1 name: "a\\q" }', r"line 1: \\q is no escape"),
        ('item { id: 1 name: "\\xff" }', "line 1: name is no UTF-8 text"),
        ('item { id: 1 name: "\\U00110000" }', "is no character"),
        ('item { id: 1 name: "a\\nb" }', r"the name of class 1 holds U\+000A, a control character"),
        ('item { id: 1 name: "69 \u202e%69" }', r"the name of class 1 holds U\+202E"),
        (f'item {{ id: 1 name: "{"a" * 201}" }}', "the name of class 1 has more than 200 characters"),
        ("item " + "{ a " * 100_000, "more than 50 messages"),
        (b"\xff", "not UTF-8 at byte 0"),
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
        ('{"1": "a", "1": "b"}', "1: this field is there twice"),
        ('[{"id": 1, "name": "a"}, {"id": 2, "name": "b", "name": "c"}]', "1.name: this field is there twice"),
        ('{"1": "\\u202e"}', r"holds U\+202E"),
        ('{"1": "\\ud800"}', r"holds U\+D800"),
        ('[{"id": true, "name": "a"}]', "class id True"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_wrong_json(tmp_path, text, problem):
    with pytest.raises(StageError, match=rf"labels\.json: .*{problem}"):
        read(tmp_path, text, "labels.json")


@settings(deadline=None)
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
