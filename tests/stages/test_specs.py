"""The pipeline specs say what the design says, and real Pachyderm takes them."""

import importlib
import json
import re
import tomllib

import jsonschema
import pytest

from stages.contract.pipelines import pipelines
from tests.support_data import REPOSITORY, SHARED

SCHEMA = SHARED / "reference" / "schemas" / "CreatePipelineRequest.schema.json"
# Written out: a pipeline whose inputs or command differ processes everything again, in every installation.
STAGES = {
    "validate": ["images:/*"],
    "object-detect": ["validate:/valid/*", "model:/"],
    "threat-detect": ["object-detect:/(*)/(*).* by $1/$2", "rules:/"],  # an image's findings and its annotated picture make one datum
    "plot": ["threat-detect:/"],
}
COMMANDS = {
    "validate": ["python3", "-m", "stages.validate"],
    "object-detect": ["python3", "-m", "stages.object_detect"],
    "threat-detect": ["python3", "-m", "stages.threat_detect"],
    "plot": ["python3", "-m", "stages.plot"],
}


def test_these_are_all_the_pipelines():
    assert [pipeline.name for pipeline in pipelines()] == list(STAGES) == list(COMMANDS)


def leaves(node: dict) -> list[dict]:
    """The pfs inputs of an input."""
    if "pfs" in node:
        return [node["pfs"]]
    return [leaf for combined in ("cross", "group") for child in node.get(combined, []) for leaf in leaves(child)]


def described(leaf: dict) -> str:
    return f"{leaf['repo']}:{leaf['glob']}" + (f" by {leaf['groupBy']}" if "groupBy" in leaf else "")


def spec_of(pipeline: str) -> dict:
    return json.loads((REPOSITORY / "stages" / pipeline.replace("-", "_") / "pipeline.json").read_text())


@pytest.mark.parametrize("pipeline", STAGES)
def test_names_inputs_and_program(pipeline):
    spec = spec_of(pipeline)
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert spec["pipeline"] == {"name": pipeline}
    assert spec["transform"]["image"] == f"tuskwatch/{pipeline}:{version}"
    assert spec["transform"]["cmd"] == COMMANDS[pipeline]
    assert [described(leaf) for leaf in leaves(spec["input"])] == STAGES[pipeline]


@pytest.mark.parametrize("pipeline", STAGES)
def test_one_process_for_many_datums(pipeline):
    spec = spec_of(pipeline)
    assert spec["transform"]["datumBatching"] is True
    assert spec["transform"]["env"]["DATUM_BATCHING"] == "true"
    assert spec["datumSetSpec"] == {"perWorker": 1}


@pytest.mark.parametrize("pipeline", STAGES)
def test_the_stage_reads_the_inputs_of_its_spec(pipeline):
    spec = spec_of(pipeline)
    module = importlib.import_module(f"stages.{pipeline.replace('-', '_')}.stage")
    (stage,) = (value for name, value in vars(module).items() if name.endswith("Stage") and value.__module__ == module.__name__)
    assert stage.name == pipeline
    assert list(stage.inputs) == [leaf.get("name", leaf["repo"]) for leaf in leaves(spec["input"])]


@pytest.mark.skipif(not SCHEMA.is_file(), reason="no shared data beside the repository")
@pytest.mark.parametrize("pipeline", STAGES)
def test_pachyderm_s_schema(pipeline):
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(spec_of(pipeline))


@pytest.mark.parametrize("pipeline", STAGES)
def test_pinned_requirements_are_those_of_the_lock(pipeline):
    """What the tests ran with is what the images get."""
    locked = set(re.findall(r"^([\w.-]+==[^ ;]+)", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE))
    lines = (REPOSITORY / "stages" / pipeline.replace("-", "_") / "requirements.txt").read_text().splitlines()
    pinned = {line for line in lines if line and not line.startswith("#")}
    assert pinned
    assert pinned <= locked
