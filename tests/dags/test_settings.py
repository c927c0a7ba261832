"""Where settings come from, and what DAG files do while they are parsed."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_pachyderm.exceptions import PachydermInvalidError
from dags import settings

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


@pytest.mark.parametrize("text", ["half", "1.5", "-0.1", "nan"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PachydermInvalidError, match=f"tuskwatch_max_invalid_share is '{text}'; give a share from 0 to 1"):
        load(variables={"tuskwatch_max_invalid_share": text})
    assert load(env={"TUSKWATCH_MAX_INVALID_SHARE": "0.9"}).max_invalid_share == 0.9


@pytest.mark.parametrize("field", [*dataclasses.fields(settings.Settings)], ids=lambda field: field.name)
def test_a_misspelt_setting_is_said(field: dataclasses.Field[Any]) -> None:
    name = f"TUSKWATCH_{field.name.upper()}"
    misspelt = name[:-2] + name[-1] + name[-2]

    assert settings.unknown_names({name: "x", "HOME": "x"}) == []
    assert settings.unknown_names({misspelt: "x"}) == [f"{misspelt} is no setting and has no effect; did you mean {name}?"]


def test_a_time_zone_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSKWATCH_TIMEZONE", "Europe/Berlim")
    with pytest.raises(ValueError, match=r"TUSKWATCH_TIMEZONE: 'Europe/Berlim' is not a time zone; did you mean Europe/Berlin\?"):
        settings._zone("TUSKWATCH_TIMEZONE")


def test_every_setting_that_the_repository_reads_is_known() -> None:
    tracked = subprocess.run(
        ["git", "grep", "-hoE", "TUSKWATCH_[A-Z_]+[A-Z]", "--", "*.py", "docker", "docs"], capture_output=True, text=True
    )
    names = {name for name in tracked.stdout.split() if name != "TUSKWATCH_MODLE"}

    assert names, tracked.stderr
    assert settings.unknown_names(dict.fromkeys(names, "x")) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("SERVER_SIDE", "ture"), ("RETRIES", "two"), ("RETRY_SECONDS", "soon"), ("NIGHTLY_CRON", "0 2 30 2 *"), ("TIMEZONE", "Berlin")],
)
def test_a_value_that_means_nothing_is_an_import_error(name: str, value: str) -> None:
    """Which everybody sees on Airflow's first page."""
    env = {**os.environ, f"TUSKWATCH_{name}": value}
    done = subprocess.run([sys.executable, "-c", "import dags.nightly_images"], capture_output=True, text=True, cwd=REPOSITORY, env=env)

    assert done.returncode != 0
    assert value in done.stderr


def test_the_folder_to_push_is_required() -> None:
    """Airflow's form marks a field that takes no null and has no default, and starts no run without it."""
    from dags.push_images import push_images

    folder = push_images().params.get_param("source")

    assert (folder.schema["type"], folder.has_value) == ("string", False)


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
