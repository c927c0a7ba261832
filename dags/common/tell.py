"""What runs tell people beside their logs: reports in the results folder, and the same in the repo ``status`` for the dashboard."""

import json
import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from airflow_pachyderm.exceptions import PachydermNotFoundError
from airflow_pachyderm.files import Batch, SourceFile, open_filesystem
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from dags import settings
from dags.common.checks import unloaded
from dags.common.links import XCOM_REPORT
from dags.common.world import warnings_in_use, world_of

log = logging.getLogger(__name__)

_LONGEST_REASON: Final = 2000
_STATUS_SECONDS: Final = 120.0  # to wait for another run that tells something


def run_results(config: settings.Settings, dag_id: str, name: str) -> str:
    """URL of the folder for one report."""
    return f"{config.results.rstrip('/')}/{dag_id}/{_safe(name)}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def tell(context: Any, *, folder: str, state: str, facts: Mapping[str, Any], warnings: Sequence[str], report: str) -> None:
    """Put what a run has to say into the repo ``status``: the newest of each DAG, and its report.

    :param folder: URL of the run's folder in the results.
    :param state: ``success`` or ``failed``.
    :param facts: Counts and the like of the run.
    :param warnings: Of all that is in use, as they are now.
    :param report: The report for people, Markdown.
    """
    hook, ti = PachydermHook(settings.PACHYDERM_CONN_ID), context["ti"]
    now = datetime.now(tz=UTC).isoformat(timespec="seconds")
    name = _safe(folder.rpartition("/")[2])
    mail = world_of(hook).mail
    status = {
        "schema": "tuskwatch.status/1",
        "time": now,
        "warnings": list(warnings),
        "mail": {"on": bool(mail), "text": _MAIL[mail]},
        "zone": settings.TIMEZONE,
    }
    path = f"/reports/{ti.dag_id}/{name}.md"
    run = {"schema": "tuskwatch.run/1", "dag_id": ti.dag_id, "run_id": ti.run_id, "time": now, "state": state, "report": path, **facts}
    ti.xcom_push(key=XCOM_REPORT, value=path)
    _put(context, hook, {"/status.json": json.dumps(status, indent=1), _run_path(ti): json.dumps(run, indent=1), path: report})


def record_failure(context: Any) -> None:
    """Put the cause of a failed task into the repo ``status``, where the DAG's last run stands.

    The first cause of a run stays: what fails after it fails of it. A report that was told stays, too.
    """
    ti, hook = context["ti"], PachydermHook(settings.PACHYDERM_CONN_ID)
    if cause_of(context, hook):
        return
    error = context.get("exception")
    text = str(error).strip() or type(error).__name__ if error is not None else "it was ended from outside: see its log"
    reason = f"{ti.task_id}: {text}"
    reason = reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"
    now = datetime.now(tz=UTC).isoformat(timespec="seconds")
    run = {"schema": "tuskwatch.run/1", "dag_id": ti.dag_id, "run_id": ti.run_id, "time": now, "state": "failed", "reason": reason}
    # One call makes the commit and finishes it: who ends in the middle, as Airflow's DAG processor does to callbacks that take long, must
    # leave no open commit, which all later runs would wait for.
    hook.pfs.create_repo(settings.STATUS_REPO, description="what the runs told, for the dashboard")
    hook.get_conn().put_file_bytes((settings.STATUS_REPO, "master"), _run_path(ti), json.dumps(run, indent=1).encode())


def cause_of(context: Any, hook: PachydermHook) -> str:
    """Why this run has failed, as far as the repo ``status`` knows; empty where it knows of no failure since the run's start."""
    ti, started = context["ti"], context["dag_run"].start_date
    try:
        told = json.loads(hook.pfs.read_file(settings.STATUS_REPO, "master", _run_path(ti)))
        failed = told["run_id"] == ti.run_id and told["state"] == "failed"
        if failed and (started is None or datetime.fromisoformat(told["time"]) >= started.replace(microsecond=0)):
            return str(told["reason"])
    except (PachydermNotFoundError, ValueError, KeyError, TypeError):  # nothing was told yet, or something that nobody can read
        pass
    return ""


def _run_path(ti: Any) -> str:
    return f"/runs/{ti.dag_id}.json"


def _put(context: Any, hook: PachydermHook, contents: Mapping[str, str]) -> None:
    from airflow_pachyderm.operators.owner import task_push  # loads grpc, which parsing a DAG must not

    hook.pfs.create_repo(settings.STATUS_REPO, description="what the runs told, for the dashboard")
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, (target, text) in enumerate(contents.items()):
            path = Path(folder, str(number))
            path.write_text(text, encoding="utf-8")
            files.append(SourceFile(target, path.as_uri()))
        fields: dict[str, Any] = {"repo": settings.STATUS_REPO, "branch": "master", "batch": Batch(files)}
        task_push(context, hook.pfs, accept=lambda _: False, branch_timeout=_STATUS_SECONDS, **fields).run()


_MAIL = {
    True: "threats are mailed where the rules say so",
    False: f"there was no connection {settings.SENDGRID_CONN_ID} when bootstrap_pipelines ran: threats are recorded and nobody is told",
    None: f"there is no pipeline {settings.THREAT_DETECT}: run bootstrap_pipelines",
}


def report_bootstrap(context: Any, config: settings.Settings, found: Mapping[str, Any]) -> dict[str, Any]:
    """The last task of ``bootstrap_pipelines``: what was put, what was kept, and what can have no effect.

    :param found: From :func:`dags.common.bootstrap.plan_bootstrap`.
    """
    put = {what: found[what] is not None for what in (settings.MODEL_REPO, settings.RULES_REPO)}
    return _short_report(context, config, put, found["warnings"])


def report_rotation(context: Any, config: settings.Settings) -> dict[str, Any]:
    """The last task of ``rotate_model`` and ``update_rules``: what of the rules and settings now in use can have no effect."""
    warning = unloaded() if context["ti"].dag_id == "rotate_model" else ""
    return _short_report(context, config, {}, [warning] if warning else [])


def _short_report(context: Any, config: settings.Settings, put: Mapping[str, bool], more: Sequence[str]) -> dict[str, Any]:
    ti = context["ti"]
    warnings = [*more, *warnings_in_use(PachydermHook(settings.PACHYDERM_CONN_ID))]
    log_warnings(warnings)
    folder = run_results(config, ti.dag_id, ti.run_id)
    lines = [f"# {ti.dag_id}: {ti.run_id}", "", *(f"{what}: {'put' if done else 'kept'}  " for what, done in put.items()), ""]
    text = "\n".join([*lines, *warning_lines(warnings)])
    filesystem, there = open_filesystem(folder)
    filesystem.makedirs(there, exist_ok=True)
    filesystem.pipe_file(f"{there}/report.md", text.encode())
    tell(context, folder=folder, state="success", facts={"put": put}, warnings=warnings, report=text)
    return {"put": put, "warnings": warnings, "report": f"{folder}/report.md"}


def log_warnings(warnings: Sequence[str]) -> None:
    """Each on a line of the task's log."""
    for warning in warnings:
        log.warning("%s", warning)


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """Warnings as lines of a report; none where there are none."""
    return ["## Warnings", "", *(f"- {warning}" for warning in warnings), ""] if warnings else []
