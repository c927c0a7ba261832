"""The demo: bootstrap the pipelines, push a folder of images through them in real Airflow, and fetch what came out."""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from laptop.airflow import Airflow
from laptop.errors import LaptopError
from laptop.layout import Layout

log = logging.getLogger(__name__)

BOOTSTRAP = "bootstrap_pipelines"
PUSH = "push_images"
_DAG_SECONDS = 120.0
_RUN_SECONDS = 3600.0


def stack_environment(layout: Layout, *, model: Path | None, sources: Sequence[Path] = ()) -> dict[str, str]:
    """The settings of the DAGs on this machine: where the model is, where reports and manifests go, and who sends mail.

    :param sources: What people may push from, beside what the environment names.
    """
    allowed = [*map(str, sources), *filter(None, [os.environ.get("TUSKWATCH_SOURCES")])]
    settings = {"TUSKWATCH_RESULTS": str(layout.results / "runs"), "TUSKWATCH_STAGING": str(layout.root / "staging")}
    settings["TUSKWATCH_SOURCES"] = ";".join(allowed)
    if model is not None:
        settings["TUSKWATCH_MODEL"] = str(model)
    if key := os.environ.get("SENDGRID_API_KEY"):
        settings["AIRFLOW_CONN_SENDGRID_DEFAULT"] = json.dumps({"conn_type": "generic", "password": key})
    return settings


def bootstrap(airflow: Airflow, *, replace_model: bool = False, check: Callable[[], None] = lambda: None) -> None:
    """Create repos and pipelines, or find them as they should be; pass on what the run says of model and rules.

    :param replace_model: Put the model also where there is another one.
    :param check: See :func:`run`.
    """
    told = run(airflow, BOOTSTRAP, {"replace_model": replace_model}, result_of="report", check=check)
    for warning in told["warnings"]:
        log.warning("%s", warning)


def push(airflow: Airflow, layout: Layout, images: Path, *, check: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Push a folder of images, wait for the report, and put it where the demo promises it.

    :return: The content of ``summary.json``.
    """
    counts = run(airflow, PUSH, {"source": str(images)}, result_of="report", check=check)
    report = Path(str(counts["summary"])).parent
    for entry in report.iterdir():
        target = layout.results / entry.name
        if entry.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(entry, target)
        else:
            shutil.copyfile(entry, target)
    path = layout.results / "summary.json"
    summary: dict[str, Any] = json.loads(path.read_text())
    summary["plot"] = str(layout.results / summary["plot"])  # the report names it beside itself; here it can be opened from anywhere
    path.write_text(json.dumps(summary, indent=1))
    return summary


def run(
    airflow: Airflow,
    dag_id: str,
    conf: Mapping[str, Any],
    *,
    result_of: str | None = None,
    check: Callable[[], None] = lambda: None,
) -> Any:
    """Start a run as the UI's button does, tell how it goes, and return when it has ended well.

    :param result_of: Task whose return value is wanted.
    :param check: Called again and again meanwhile; what it raises ends the waiting.
    :raises RunFailedError: It failed; the message holds the log's end of the tasks that did.
    """
    airflow.wait_for_dag(dag_id, timeout=_DAG_SECONDS)
    airflow.unpause(dag_id)
    started = time.monotonic()
    run_id = airflow.trigger(dag_id, conf=conf, run_id=f"demo__{time.strftime('%Y-%m-%dT%H-%M-%S')}_{time.time_ns() % 10**9:09}")
    for counts in airflow.watch(dag_id, run_id, timeout=_RUN_SECONDS, check=check):
        log.info("%s: %s", dag_id, ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    log.info("%s: done after %.1f s", dag_id, time.monotonic() - started)
    return None if result_of is None else airflow.xcom(dag_id, run_id, result_of)


def check_folder(images: Path) -> Path:
    """The folder as an absolute path.

    :raises LaptopError: It is none, cannot be read, or holds nothing.
    """
    try:
        empty = not any(images.iterdir())
    except OSError as error:
        msg = f"cannot read the images in {images}: {error.strerror}; give a folder: make demo IMAGES=path"
        raise LaptopError(msg) from error
    if empty:
        msg = f"{images} is empty; give a folder with images named like dev1_1511891098.jpg: make demo IMAGES=path"
        raise LaptopError(msg)
    return images.resolve()
