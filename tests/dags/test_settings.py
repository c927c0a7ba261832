"""Where settings come from, and what DAG files do while they are parsed."""

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from dags import settings
from dags.common.sources import bootstrap_sources

REPOSITORY = Path(__file__).resolve().parents[2]


def load(*, env: dict[str, str] | None = None, variables: dict[str, str] | None = None) -> settings.Settings:
    return settings.load(env=env or {}, variable=(variables or {}).get)


def test_a_variable_wins_over_the_environment_and_that_over_the_default() -> None:
    env = {"TUSKWATCH_RESULTS": "gs://b/env", "TUSKWATCH_STAGING": "gs://b/staging"}

    found = load(env=env, variables={"tuskwatch_results": "gs://b/variable"})

    assert (found.results, found.staging) == ("gs://b/variable", "gs://b/staging")
    assert Path(found.rules).is_file()


def test_an_empty_value_is_none() -> None:
    assert load(env={"TUSKWATCH_RULES": ""}).rules == settings.Settings().rules


def test_bootstrap_without_a_model_says_where_to_name_one() -> None:
    with pytest.raises(PachydermSourceError, match="fill in Model in the trigger form, or set the Airflow Variable tuskwatch_model"):
        bootstrap_sources(load(), model=None, rules=None)


def test_bootstrap_names_the_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "model.pb").touch()

    with pytest.raises(PachydermSourceError, match=r"The rules should come from .*/none\.json, which is no file"):
        bootstrap_sources(load(), model=str(tmp_path / "model.pb"), rules=str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    ("text", "said"), [("{", "JSON"), ('{"threat_classes": [1], "colour": "red"}', "colour")], ids=["no JSON", "unknown key"]
)
def test_bootstrap_refuses_bad_rules_before_it_touches_anything(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "model.pb").touch()
    (tmp_path / "rule.json").write_text(text)

    with pytest.raises(PachydermInvalidError, match=rf"rule file .*rule\.json is not put: .*{said}"):
        bootstrap_sources(load(), model=str(tmp_path / "model.pb"), rules=str(tmp_path / "rule.json"))


def test_parsing_asks_nobody_and_loads_nothing_heavy() -> None:
    """In a process whose sockets do not connect and whose Variables raise."""
    code = """
import socket, sys
import airflow.sdk, airflow_pachyderm.operators.push, airflow_pachyderm.operators.pipeline, airflow_pachyderm.operators.file
import airflow.sdk.definitions.variable as variable
def refuse(*args, **kwargs): raise AssertionError("asked while parsing")
socket.socket.connect = refuse
variable.Variable.get = refuse

import dags.bootstrap_pipelines, dags.push_images, dags.nightly_images, dags.rotate_model, dags.update_rules
print(sorted(name for name in sys.modules if name in ("grpc", "tensorflow", "python_pachyderm")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]")
