"""The contract: pipelines from their folders, records as types and as JSON schemas that say the same, and nothing written twice."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from stages.contract import layout, pipelines
from stages.contract.names import ImageName
from stages.contract.pipelines import SpecError
from stages.contract.records import RECORDS, Alert, Box, Counts, Detections, Found, Invalid, ModelUsed, Record, RecordError, Size, Threat
from tests.support_data import REPOSITORY

SCHEMAS = REPOSITORY / "stages" / "contract" / "schemas"
PERSON = Found(class_id=1, label="person", score=0.9, box=Box(left=1, top=2, right=3, bottom=4))
IMAGE: dict[str, Any] = {"device": "dev1", "timestamp": 1511891098, "time": "2017-11-28T17:44:58+00:00", "source": "dev1_1511891098.jpg"}
EXAMPLES: dict[type[Record], Record] = {
    Invalid: Invalid(name="blah.jpg", code="bad-name", message="blah.jpg: the name is none"),
    Detections: Detections(
        **IMAGE,
        annotated="dev1/1511891098.jpg",
        image=Size(width=10, height=20),
        model=ModelUsed(digest="sha256:0", labels="coco"),
        preprocessing="none",
        threshold=0.5,
        objects=(PERSON,),
    ),
    Threat: Threat(**IMAGE, objects=(PERSON, PERSON), alert=Alert(id="0" * 32, status="off", reason="no key")),
    Counts: Counts(
        total=1,
        first=IMAGE["time"],
        last=None,
        devices={"dev1": 1},
        per_day={"2017-11-28": 1},
        per_hour={"17": 1},
        classes={"person": 2},
        classes_from_newest=1,
    ),
}
by_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.schema)


@by_record
def test_what_a_record_writes_it_reads_and_its_schema_takes(record: type[Record]) -> None:
    value = json.loads(json.dumps(EXAMPLES[record].as_json()))

    assert record.read(value) == EXAMPLES[record]
    assert next(iter(value)) == "schema"
    jsonschema.Draft202012Validator.check_schema(record.json_schema())
    jsonschema.Draft202012Validator(record.json_schema()).validate(value)


@by_record
def test_the_schema_file_is_that_of_the_type(record: type[Record]) -> None:
    path = SCHEMAS / f"{record.schema.replace('/', '-')}.json"

    assert json.loads(path.read_text()) == record.json_schema(), "run python -m stages.contract schemas"


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """The value with one part removed or replaced, for every part of it."""
    if isinstance(value, dict):
        for key in value:
            yield f"without {key}", {name: part for name, part in value.items() if name != key}
            yield from ((f"{key}: {what}", {**value, key: part}) for what, part in changed(value[key]))
    if isinstance(value, list) and value:
        yield from ((f"[0]: {what}", [part, *value[1:]]) for what, part in changed(value[0]))
    yield from ((repr(other), other) for other in (None, "", "../x", -1, 0.5, [], {}, [3]))


@by_record
def test_a_damaged_record_is_refused_by_type_and_schema_alike(record: type[Record]) -> None:
    schema = jsonschema.Draft202012Validator(record.json_schema())
    outcomes = set()
    for what, value in changed(json.loads(json.dumps(EXAMPLES[record].as_json() | {"later": 1}))):
        try:
            record.read(value)
            taken = True
        except RecordError:
            taken = False
        assert taken is schema.is_valid(value), what
        outcomes.add(taken)
    assert outcomes == {True, False}


def test_the_error_names_the_place() -> None:
    value = EXAMPLES[Detections].as_json()
    value["objects"][0]["box"]["left"] = "9"

    with pytest.raises(RecordError, match=r"^damaged tuskwatch\.detections/1 file: \$\.objects\[0\]\.box\.left: '9', not a JSON integer$"):
        Detections.read(value)


def test_the_pipelines_that_others_read_are_there_in_order() -> None:
    names = [pipeline.name for pipeline in pipelines.pipelines()]

    assert names == [pipelines.VALIDATE, pipelines.OBJECT_DETECT, pipelines.THREAT_DETECT, pipelines.PLOT]
    assert list(layout.WRITES) == names
    assert [source.repo for source in pipelines.pipeline(pipelines.THREAT_DETECT).reads] == [pipelines.OBJECT_DETECT, pipelines.RULES]
    assert {kind for written in layout.WRITES.values() for kind in written.values() if isinstance(kind, type)} == set(RECORDS)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"pipeline": {"name": "a"}}', "KeyError: 'transform'"),
        ('{"pipeline": {"name": "a"}, "transform": {}, "input": {"pfs": {"repo": "a", "glob": "/"}}}', "circle: a -> a"),
    ],
)
def test_a_damaged_spec_is_named(tmp_path: Path, spec: str, why: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "pipeline.json").write_text(spec)

    with pytest.raises(SpecError, match=re.escape(why)) as caught:
        pipelines.pipelines(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_paths_of_an_image() -> None:
    image = ImageName.parse("front_door_1511891098.png")

    assert layout.record_of(image) == "/front_door/1511891098_png.json"
    assert layout.picture_of(image) == "/front_door/1511891098_png.jpg"
    assert layout.output_name_of(layout.record_of(image)) == image.output_name
    assert layout.output_name_of(layout.picture_of(image)) is None
    assert layout.output_name_of("/front_door/notes.json") is None
    assert layout.reason("a/blah.jpg") == "/invalid/a/blah.jpg.reason.json"
    assert len(layout.reason("b" * 250).rpartition("/")[2]) == 255
    assert layout.record("d", "1511891098_png") < layout.last_of_second("d", 1511891098) < layout.record("d", "1511891099")


def test_the_contract_needs_the_standard_library_alone() -> None:
    names = [f"stages.contract.{path.stem}" for path in sorted(SCHEMAS.parent.glob("[!_]*.py"))]
    others = "{name.partition('.')[0] for name in sys.modules} - {*sys.stdlib_module_names, '__main__'}"
    code = f"import sys, {', '.join(names)}; print({others})"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=REPOSITORY)

    assert done.stdout.strip() == "{'stages'}", done.stdout + done.stderr
