"""The way of one image through the four stages."""

from dataclasses import dataclass, field
from typing import Any

from airflow_pachyderm.client.protocol import pfs_pb2, pps_pb2
from airflow_pachyderm.dashboard import convert, models, threats
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.repos import newest_finished
from airflow_pachyderm.exceptions import PachydermError, PachydermNotFoundError
from stages.contract import layout
from stages.contract.names import BadNameError, ImageName
from stages.contract.pipelines import IMAGES, OBJECT_DETECT, PLOT, THREAT_DETECT, VALIDATE


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
    commit = newest_finished(gateway, THREAT_DETECT)
    if commit is None:
        raise NotThereError(f"No threat of device {device} at {timestamp} is recorded: {THREAT_DETECT} has not finished a job yet")
    record, content = threats.read_record(gateway, commit.id, device, timestamp)
    stages = _stages(device, timestamp, record.source)
    for stage in stages:
        stage.commit = commit if stage.repo == THREAT_DETECT else newest_finished(gateway, stage.repo)
    for stage in stages:
        _start(gateway, stage)
    steps = [_step(gateway, stage) for stage in stages]
    by_repo = {step.stage: step.files for step in steps}
    image = next((file for file in by_repo.get(OBJECT_DETECT, []) if file.path.endswith(".jpg")), None)
    original = next(iter(by_repo.get(IMAGES, [])), None)
    threat = threats.threat_of(device, timestamp, record, image)
    return models.ThreatDetail(**threat.model_dump(), original=original, steps=steps, record=content)


def _stages(device: str, timestamp: str, source: str) -> list[_Stage]:
    try:
        ImageName.parse(source)
        originals, passed_on = [f"/{source}"], [layout.valid(source)]
    except BadNameError:
        originals, passed_on = [], []
    return [
        _Stage(IMAGES, originals, is_input=True),
        _Stage(VALIDATE, passed_on),
        _Stage(OBJECT_DETECT, [layout.record(device, timestamp), layout.picture(device, timestamp)]),
        _Stage(THREAT_DETECT, [layout.record(device, timestamp)]),
        _Stage(PLOT, [layout.COUNTS, layout.CHART]),
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
