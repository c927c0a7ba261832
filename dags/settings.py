"""Names, connection ids and defaults of all DAGs: the only place for them.

What differs from one installation to the next is read by :func:`load` when a task runs, never while a DAG is parsed: an Airflow Variable
first (it can be changed in the UI), then the environment, then the default here. Variables are named ``tuskwatch_model``, environment
variables ``TUSKWATCH_MODEL``, and so on for every field of :class:`Settings`.
"""

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from airflow_pachyderm.connection import DEFAULT_CONN_ID
from airflow_pachyderm.exceptions import PachydermInvalidError
from stages.common.errors import StageError
from stages.common.zones import zone_of
from stages.contract import layout, names
from stages.contract import pipelines as contract


def _cron(name: str, default: str) -> str:
    """A schedule from the environment; one that never comes, such as on the 30th of February, must not look like one that does."""
    from croniter import croniter

    cron = os.environ.get(name) or default
    try:
        croniter(cron).get_next()
    except ValueError as exc:
        raise ValueError(f"{name} is {cron!r}, which never comes or is no cron expression: {exc}; write one such as {default!r}") from exc
    return cron


def _zone(name: str) -> str:
    """The name of a time zone from the environment."""
    text = os.environ.get(name, "").strip() or "UTC"
    try:
        return zone_of(text).key
    except StageError as exc:
        raise ValueError(f"{name}: {exc}") from exc


def _flag(name: str) -> bool:
    """A switch from the environment; another word than those for on and off must not be taken for one of them."""
    text = os.environ.get(name, "").strip().lower()
    if text not in ("", "0", "1", "false", "no", "true", "yes"):
        raise ValueError(f"{name} is {text!r}; write true or false")
    return text in ("1", "true", "yes")


PACHYDERM_CONN_ID: Final = DEFAULT_CONN_ID
SENDGRID_CONN_ID: Final = "sendgrid_default"  # its password is the API key; without this connection no mail is sent
SENDGRID_SECRET: Final = "sendgrid"  # noqa: S105 - the name of the secret in Pachyderm

IMAGES_REPO: Final = contract.IMAGES
MODEL_REPO: Final = contract.MODEL
RULES_REPO: Final = contract.RULES
REPOS: Final = {
    IMAGES_REPO: f"camera images as they come: {names.FORM}",
    MODEL_REPO: "the frozen graph that finds objects, and its label map",
    RULES_REPO: "what is a threat, and who is told",
}
STATUS_REPO: Final = "status"  # what the runs told, for the dashboard: made with the first report, read by no pipeline
MODEL_PATH: Final = layout.MODEL_PATH
RULES_PATH: Final = layout.RULES_PATH

VALIDATE: Final = contract.VALIDATE
OBJECT_DETECT: Final = contract.OBJECT_DETECT
THREAT_DETECT: Final = contract.THREAT_DETECT
PLOT: Final = contract.PLOT
PIPELINES: Final = {pipeline.name: pipeline.folder for pipeline in contract.pipelines()}  # upstream first
ZONED: Final = (THREAT_DETECT, PLOT)  # those to which the time zone makes a difference

TAGS: Final = ("tuskwatch",)
RETRIES: Final = int(os.environ.get("TUSKWATCH_RETRIES", "2"))  # part of the DAGs' definition, as NIGHTLY_CRON; so is the next
RETRY_SECONDS: Final = float(os.environ.get("TUSKWATCH_RETRY_SECONDS", "10"))
# One commit at a time can be open on a branch, so more pushes at once only wait for each other; the waits for their jobs hold no slot.
PARALLEL_PUSHES: Final = 4
# Batches travel as a list of manifest URLs, which has to stay a small XCom; a larger archive gets larger batches.
MAX_BATCHES: Final = 500
MAX_XCOM_BYTES: Final = 40_000
BATCH_FILES: Final = 500
BATCH_BYTES: Final = 256 << 20

# Part of a DAG's definition, so only from the environment: it is read where the DAG is parsed.
NIGHTLY_CRON: Final = _cron("TUSKWATCH_NIGHTLY_CRON", "0 2 * * *")
TIMEZONE: Final = _zone("TUSKWATCH_TIMEZONE")  # of a day, of rules' hours, of every time that people see; see docs/airflow.md
SERVER_SIDE: Final = _flag("TUSKWATCH_SERVER_SIDE")  # default of the forms' field
LATE_DAYS: Final = 7
# What else begins with TUSKWATCH_ and is read elsewhere: the laptop's commands, provisioning, tests.
OTHER_ENVIRONMENT: Final = frozenset({"LOCAL", "POLL_SECONDS", "SHARED", "DATA", "DATABASE", "LAN", "LAN_PORT", "LAN_BIND", "TLS"})
PART_OF_DAGS: Final = frozenset({"NIGHTLY_CRON", "TIMEZONE", "RETRIES", "RETRY_SECONDS", "SERVER_SIDE"})
IMAGES_ALIAS: Final = "tuskwatch-images"  # asset alias of new commits of images, for DAGs that follow

_REPOSITORY: Final = Path(__file__).resolve().parent.parent


def _home(name: str) -> str:
    return str(Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "tuskwatch" / name)


@dataclass(frozen=True)
class Settings:
    """What differs between installations.

    :ivar model: URL of the frozen graph that ``bootstrap_pipelines`` puts; no default.
    :ivar rules: URL of the rule file.
    :ivar stages: URL of the folder with the stages' pipeline specs.
    :ivar results: URL of the folder that reports go to.
    :ivar staging: URL of the folder for manifests, which all workers can read and write.
    :ivar landing: URL of the folder that cameras write to, which ``nightly_images`` reads; no default.
    :ivar sources: Folders and URLs that people may push from, separated by ``;``: a run that names another one fails. The landing area is
        one of them.
    :ivar max_invalid_share: A run fails when more than this share of its images is invalid, from 0 to 1.
    """

    model: str = ""
    rules: str = str(_REPOSITORY / "stages" / "threat_detect" / "rule.json")
    stages: str = str(_REPOSITORY / "stages")
    results: str = _home("results")
    staging: str = _home("staging")
    landing: str = ""
    sources: str = ""
    max_invalid_share: float = 0.5


def _variable(name: str) -> str | None:
    from airflow.sdk import Variable

    value = Variable.get(name, default=None)
    return None if value is None else str(value)


def load(*, env: Mapping[str, str] = os.environ, variable: Callable[[str], str | None] = _variable) -> Settings:
    """The settings of this installation. Only in tasks: it asks Airflow's API.

    :param env: Where ``TUSKWATCH_…`` is looked up.
    :param variable: Looks up an Airflow Variable.
    :raises PachydermInvalidError: One of them has a value that it cannot have.
    """
    found: dict[str, Any] = {}
    for field in fields(Settings):
        value = variable(f"tuskwatch_{field.name}") or env.get(f"TUSKWATCH_{field.name.upper()}")
        if value:
            found[field.name] = _share(field.name, value) if field.type is float else value
    return Settings(**found)


def _share(name: str, text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:  # nor "nan"
        raise PachydermInvalidError(f"Setting tuskwatch_{name} is {text!r}; give a share from 0 to 1, such as 0.5")
    return share


def unknown_names(env: Mapping[str, str] = os.environ) -> list[str]:
    """Environment variables that look like settings and are none: what they say is never read.

    :return: A sentence for each, with the setting that was perhaps meant.
    """
    known = {f"TUSKWATCH_{name}" for name in (*PART_OF_DAGS, *OTHER_ENVIRONMENT, *(field.name.upper() for field in fields(Settings)))}
    meant = {
        name: difflib.get_close_matches(name, known, n=1, cutoff=0.8) for name in env if name.startswith("TUSKWATCH_") and name not in known
    }
    return [f"{name} is no setting and has no effect; did you mean {close[0]}?" for name, close in sorted(meant.items()) if close]
