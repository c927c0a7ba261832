"""Pipeline specs: what is wrong is named with its file and its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_pachyderm.client.answers import SPEC_DIGEST
from airflow_pachyderm.client.pps import pipeline_request
from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.specs import load_specs

SPEC: dict[str, Any] = {
    "pipeline": {"name": "validate"},
    "transform": {"cmd": ["python", "-m", "stages.validate"]},
    "input": {"pfs": {"repo": "images", "glob": "/*"}},
}


def test_one_many_json_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(SPEC))
    (tmp_path / "many.json").write_text(json.dumps([SPEC, SPEC]))
    (tmp_path / "many.yaml").write_text("---\npipeline: {name: a}\n---\npipeline: {name: b}\n")

    assert load_specs(tmp_path / "one.json") == [SPEC]
    assert load_specs(tmp_path / "many.json") == [SPEC, SPEC]
    assert [spec["pipeline"]["name"] for spec in load_specs(tmp_path / "many.yaml")] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", '{"pipeline": {"name": "a",}}', r"p\.json is not JSON: .* at line 1, column 2[67]"),
        ("p.yaml", "pipeline: {name: a", r"p\.yaml is not YAML: .* at line 1, column 19"),
        ("p.json", "[3]", r"p\.json holds 3 where an object is expected"),
        ("p.yaml", "", r"p\.yaml is empty"),
    ],
)
def test_a_file_that_is_no_spec_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(PachydermInvalidError, match=message):
        load_specs(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PachydermSourceError, match=r"Cannot read pipeline spec .*/none\.json"):
        load_specs(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({**SPEC, "paralelism": 3}, r"Pipeline spec p\.json: .*paralelism"),
        ({**SPEC, "transform": {"comand": []}}, r"Pipeline spec p\.json: .*comand.*transform"),
        ({**SPEC, "datum_tries": "many"}, r"Pipeline spec p\.json: .*datum_tries"),
        ({"transform": {}}, r"Pipeline spec p\.json names no pipeline"),
    ],
)
def test_a_field_that_pachyderm_does_not_know_is_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(PachydermInvalidError, match=message):
        pipeline_request(spec, name="p.json", project="default")


def test_a_request_carries_the_digest_of_its_spec_whatever_the_order_of_its_keys() -> None:
    def mark(spec: dict[str, Any]) -> str:
        return str(pipeline_request(spec, name="p", project="cams").metadata.annotations[SPEC_DIGEST])

    assert mark(SPEC) == mark(dict(reversed(SPEC.items())))
    assert mark(SPEC) != mark({**SPEC, "datum_tries": 2})


def test_the_connections_project_is_the_default() -> None:
    assert pipeline_request(SPEC, name="p", project="cams").pipeline.project.name == "cams"
    named = {**SPEC, "pipeline": {"name": "validate", "project": {"name": "own"}}}
    assert pipeline_request(named, name="p", project="cams").pipeline.project.name == "own"
