"""Names, connection ids and defaults of all DAGs: the only place for them.

What differs from one installation to the next is read by :func:`load` when a task runs, never while a DAG is parsed: an Airflow Variable
first (it can be changed in the UI), then the environment, then the default here. Variables are named ``tuskwatch_model``, environment
variables ``TUSKWATCH_MODEL``, and so on for every field of :class:`Settings`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from airflow_pachyderm.connection import DEFAULT_CONN_ID

PACHYDERM_CONN_ID: Final = DEFAULT_CONN_ID
SENDGRID_CONN_ID: Final = "sendgrid_default"  # its password is the API key; without this connection no mail is sent
SENDGRID_SECRET: Final = "sendgrid"  # noqa: S105 - the name of the secret in Pachyderm

IMAGES_REPO: Final = "images"
MODEL_REPO: Final = "model"
RULES_REPO: Final = "rules"
REPOS: Final = {
    IMAGES_REPO: "camera images as they come: <device>_<unix seconds>.<jpg|jpeg|png>",
    MODEL_REPO: "the frozen graph that finds objects, and its label map",
    RULES_REPO: "what is a threat, and who is told",
}
MODEL_PATH: Final = "/frozen_inference_graph.pb"
RULES_PATH: Final = "/rule.json"

VALIDATE: Final = "validate"
OBJECT_DETECT: Final = "object-detect"
THREAT_DETECT: Final = "threat-detect"
PLOT: Final = "plot"
PIPELINES: Final = {  # upstream first; the folder of its spec below the stages
    VALIDATE: "validate",
    OBJECT_DETECT: "object_detect",
    THREAT_DETECT: "threat_detect",
    PLOT: "plot",
}

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
NIGHTLY_CRON: Final = os.environ.get("TUSKWATCH_NIGHTLY_CRON", "0 2 * * *")
TIMEZONE: Final = os.environ.get("TUSKWATCH_TIMEZONE", "UTC")
SERVER_SIDE: Final = os.environ.get("TUSKWATCH_SERVER_SIDE", "").strip().lower() in ("1", "true", "yes")  # default of the forms' field
LATE_DAYS: Final = 7
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
    """

    model: str = ""
    rules: str = str(_REPOSITORY / "stages" / "threat_detect" / "rule.json")
    stages: str = str(_REPOSITORY / "stages")
    results: str = _home("results")
    staging: str = _home("staging")
    landing: str = ""


def _variable(name: str) -> str | None:
    from airflow.sdk import Variable

    value = Variable.get(name, default=None)
    return None if value is None else str(value)


def load(*, env: Mapping[str, str] = os.environ, variable: Callable[[str], str | None] = _variable) -> Settings:
    """The settings of this installation. Only in tasks: it asks Airflow's API.

    :param env: Where ``TUSKWATCH_…`` is looked up.
    :param variable: Looks up an Airflow Variable.
    """
    found: dict[str, str] = {}
    for field in fields(Settings):
        value = variable(f"tuskwatch_{field.name}") or env.get(f"TUSKWATCH_{field.name.upper()}")
        if value:
            found[field.name] = value
    return Settings(**found)
