"""The way of one image through the four stages."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.dashboard import convert, models, threats
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.repos import newest_finished
from airflow_pachyderm.exceptions import PachydermError, PachydermNotFoundError

_SOURCE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass
class _Stage:
    """A repo on the way, and what it should hold for one image."""

    repo: str
    paths: list[str]
    is_input: bool = False
    commit: models.Commit | None = None
    calls: list[Any] = field(default_factory=list)
    arrival: Any = None


def read_threat(gateway: Gateway, device: str, timestamp: str) -> models.ThreatDetail:
    """A threat with the history of its image.

    :raises NotThereError: There is no such threat.
    """
    commit = newest_finished(gateway, threats.THREATS)
    if commit is None:
        raise NotThereError(f"No threat of device {device} at {timestamp} is recorded: threat-detect has not finished a job yet")
    _, record = threats.read_record(gateway, commit.id, device, timestamp)
    stages = _stages(device, timestamp, str(record.get("source", "")))
    for stage in stages:
        stage.commit = commit if stage.repo == threats.THREATS else newest_finished(gateway, stage.repo)
    for stage in stages:
        _start(gateway, stage)
    steps = [_step(gateway, stage) for stage in stages]
    by_repo = {step.stage: step.files for step in steps}
    image = next((file for file in by_repo.get(threats.DETECTIONS, []) if file.path.endswith(".jpg")), None)
    original = next(iter(by_repo.get("images", [])), None)
    threat = threats.threat_of(device, timestamp, record, image)
    return models.ThreatDetail(**threat.model_dump(), original=original, steps=steps, record=record)


def _stages(device: str, timestamp: str, source: str) -> list[_Stage]:
    stem = f"/{device}/{timestamp}"
    name = source if _SOURCE.fullmatch(source) and source not in {".", ".."} else None
    return [
        _Stage("images", [f"/{name}"] if name else [], is_input=True),
        _Stage("validate", [f"/valid/{name}"] if name else []),
        _Stage(threats.DETECTIONS, [f"{stem}.json", f"{stem}.jpg"]),
        _Stage(threats.THREATS, [f"{stem}.json"]),
        _Stage("plot", ["/threats.json", "/threats.png"]),
    ]


def _start(gateway: Gateway, stage: _Stage) -> None:
    """Ask for the files and for the commit that brought them."""
    if stage.commit is None or not stage.paths:
        return
    for path in stage.paths:
        request = pfs_pb2.InspectFileRequest(file=gateway.file(stage.repo, stage.commit.id, path))
        stage.calls.append(gateway.start(gateway.pfs.InspectFile, request, action=f"inspect {stage.repo}:{path}"))
    find = pfs_pb2.FindCommitsRequest(start=gateway.commit(stage.repo, stage.commit.id), file_path=stage.paths[0], limit=1)
    stage.arrival = gateway.stream(gateway.pfs.FindCommits, find, action=f"find the commit of {stage.repo}:{stage.paths[0]}", timeout=5.0)


def _step(gateway: Gateway, stage: _Stage) -> models.Step:
    files = []
    for call in stage.calls:
        try:
            files.append(convert.file_ref(call.result()))
        except PachydermNotFoundError:
            continue
    if not files:
        note = "The record does not name its image." if not stage.paths else "Not there: removed since, or not made yet."
        return models.Step(stage=stage.repo, files=[], commit=None, time=None, job=None, note=note)
    commit_id, note = _arrival(stage)
    try:
        commit = gateway.ask(
            gateway.pfs.InspectCommit, pfs_pb2.InspectCommitRequest(commit=gateway.commit(stage.repo, commit_id)), action="inspect commit"
        )
        job = None if stage.is_input else _job(gateway, stage.repo, commit_id)
    except PachydermNotFoundError:
        return models.Step(stage=stage.repo, files=files, commit=None, time=None, job=None, note="Its commit was removed.")
    time = convert.seconds(commit, "finished") or convert.seconds(commit, "started")
    return models.Step(stage=stage.repo, files=files, commit=commit_id, time=time, job=job, note=note)


def _arrival(stage: _Stage) -> tuple[str, str]:
    """The commit that added or last changed the files, or the newest one where the server cannot tell."""
    newest = stage.commit.id if stage.commit else ""
    try:
        for answer in stage.arrival:
            if answer.HasField("found_commit"):
                stage.arrival.cancel()
                return answer.found_commit.id, ""
    except PachydermError:
        return newest, "This server cannot say which commit brought it; shown is the newest."
    return newest, ""


def _job(gateway: Gateway, pipeline: str, commit_id: str) -> models.Job | None:
    request = pps_pb2.InspectJobRequest(job=gateway.job(pipeline, commit_id))
    try:
        return convert.job(gateway.ask(gateway.pps.InspectJob, request, action=f"inspect job {pipeline}@{commit_id}"))
    except PachydermNotFoundError:
        return None
