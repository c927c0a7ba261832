"""Every field of every form: a value that means nothing starts no run, or its task refuses it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from dags.bootstrap_pipelines import bootstrap_pipelines
from dags.nightly_images import nightly_images
from dags.push_images import push_images
from dags.rotate_model import dag as rotate_model
from dags.update_rules import dag as update_rules

DAGS: list[DAG] = [bootstrap_pipelines(), push_images(), nightly_images(), rotate_model, update_rules]

# Free text, which only its task can judge: the test that a value without meaning is refused there, or told.
JUDGED_BY_THE_TASK = {
    ("bootstrap_pipelines", "model"): "test_never_silent: test_bootstrap_puts_nothing_that_is_no_model",
    ("bootstrap_pipelines", "rules"): "test_runs: test_bootstrap_names_the_file_that_is_missing",
    ("push_images", "source"): "test_never_silent: test_a_typo_in_the_folder_fails_at_once_and_where_it_is",
    ("push_images", "glob"): "test_runs: test_a_folder_whose_images_lie_deeper_says_so",
    ("nightly_images", "day"): "test_nightly: test_a_day_that_has_not_come_is_refused",
    ("rotate_model", "source"): "test_runs: test_a_file_that_rolling_back_would_not_use_is_refused",
    ("update_rules", "source"): "test_runs: test_a_file_that_rolling_back_would_not_use_is_refused",
}


def meaningless(schema: dict[str, Any]) -> Iterator[Any]:
    """Values that a field cannot have, by its schema."""
    if "enum" in schema:
        yield "another"
    elif schema["type"] == "boolean":
        yield "maybe"
    elif schema["type"] == "integer":
        yield from (schema["minimum"] - 1, schema["maximum"] + 1, 1.5, "many")
    else:
        yield from (7, [])
        if schema["type"] == "string":
            yield from ("", None)
        if schema.get("format") == "date":
            yield "yesterday"


FIELDS = [(dag, name) for dag in DAGS for name in dag.params]


@pytest.mark.parametrize(("dag", "name"), FIELDS, ids=[f"{dag.dag_id}-{name}" for dag, name in FIELDS])
def test_a_value_that_means_nothing_starts_no_run(dag: DAG, name: str) -> None:
    param = dag.params.get_param(name)

    for value in meaningless(param.schema):
        with pytest.raises(ParamValidationError):
            param.resolve(value)


def test_free_text_is_judged_by_its_task() -> None:
    with_text = [(dag, name) for dag, name in FIELDS if "string" in param_types(dag, name)]
    free = {(dag.dag_id, name) for dag, name in with_text if "enum" not in dag.params.get_param(name).schema}

    assert free == JUDGED_BY_THE_TASK.keys()


def param_types(dag: DAG, name: str) -> list[str]:
    types = dag.params.get_param(name).schema["type"]
    return [types] if isinstance(types, str) else types


@pytest.mark.parametrize("test", sorted(set(JUDGED_BY_THE_TASK.values())))
def test_the_test_that_is_named_exists(test: str) -> None:
    module, _, name = test.partition(": ")
    assert f"def {name}(" in Path(__file__).with_name(f"{module}.py").read_text()
