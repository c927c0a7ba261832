"""Is everything all right: the last image of each camera, invalid images, what Tuskwatch's runs told, which parts were started again.

Runs leave what they have to say in the repo ``status``: ``/status.json`` with the warnings about rules, model and settings and whether mail
is on, ``/runs/<dag>.json`` with the last run of each DAG, ``/reports/<dag>/<run>.md``. Where one supervisor starts all parts again, as on a
laptop, the option ``[pachyderm] dashboard_restarts`` names the file in which it writes down what had ended: a line of JSON each, the oldest
first. All else is read from the output repos.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from airflow.configuration import conf
from pydantic import BaseModel, ValidationError

from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.dashboard import convert, models
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.repos import newest_finished
from airflow_pachyderm.dashboard.threats import DETECTIONS, read_json
from airflow_pachyderm.exceptions import PachydermNotFoundError
from stages.contract import layout
from stages.contract.names import seconds_of
from stages.contract.pipelines import VALIDATE

STATUS: Final = "status"
MAX_CAMERAS: Final = 200
MAX_COUNTED: Final = 1000
MAX_REASONS: Final = 20
MAX_RUNS: Final = 20
MAX_RESTARTS: Final = 20


class Camera(BaseModel):
    """A camera and its newest image that was looked at."""

    device: str
    time: int


class Invalid(BaseModel):
    """An image that validate refused."""

    name: str
    reason: str


class Run(BaseModel):
    """The last run of a DAG that came to its report, or failed before."""

    dag_id: str
    run_id: str
    time: str
    state: str
    reason: str
    report: models.FileRef | None


class Restart(BaseModel):
    """A part of the installation that ended unasked, and was started again.

    :ivar time: When it ended, in seconds since the Unix epoch.
    :ivar how: Such as ``terminated by SIGKILL``.
    :ivar log: The last lines of its log.
    """

    part: str
    time: float
    how: str
    log: list[str]


class Status(BaseModel):
    """What the page's first view shows.

    :ivar cameras: The one that has been silent for longest first.
    :ivar invalid_count: How many images are invalid, at most :data:`MAX_COUNTED`.
    :ivar told: Whether any run has told something yet; without it the warnings and the mail are not known.
    :ivar time: When the warnings were made, ISO 8601.
    :ivar mail_on: Whether threats can be mailed; None when nobody told.
    :ivar restarts: The newest first; None where no supervisor of ours writes them down, as on a cluster.
    """

    cameras: list[Camera]
    more_cameras: bool
    invalid: list[Invalid]
    invalid_count: int
    runs: list[Run]
    told: bool
    time: str
    warnings: list[str]
    mail_on: bool | None
    mail: str
    restarts: list[Restart] | None


def read_status(gateway: Gateway) -> Status:
    """The status of Tuskwatch at this server."""
    cameras = _cameras(gateway)
    count, invalid = _invalid(gateway)
    told, runs = _told(gateway)
    warnings, mail = told.get("warnings"), told.get("mail")
    on = mail.get("on") if isinstance(mail, dict) else None
    return Status(
        cameras=sorted(cameras[:MAX_CAMERAS], key=lambda camera: (camera.time, camera.device)),
        more_cameras=len(cameras) > MAX_CAMERAS,
        invalid=invalid,
        invalid_count=count,
        runs=runs,
        told=bool(told),
        time=str(told.get("time") or ""),
        warnings=[str(warning) for warning in warnings] if isinstance(warnings, list) else [],
        mail_on=on if isinstance(on, bool) else None,
        mail=str(mail.get("text") or "") if isinstance(mail, dict) else "",
        restarts=_restarts(),
    )


def _restarts() -> list[Restart] | None:
    """What was started again since the last start of everything."""
    name = str(conf.get("pachyderm", "dashboard_restarts", fallback=""))
    if not name:
        return None
    try:
        with Path(name).open(encoding="utf-8", errors="replace") as file:
            lines = deque(file, maxlen=MAX_RESTARTS)
    except OSError:  # nothing has ended yet
        return []
    found = []
    for line in reversed(lines):
        try:
            found.append(Restart.model_validate_json(line))
        except ValidationError:  # a line of another version is left out: the rest of the page is worth more
            continue
    return found


def _cameras(gateway: Gateway) -> list[Camera]:
    commit = newest_finished(gateway, DETECTIONS)
    if commit is None:
        return []
    entries = _list(gateway, DETECTIONS, commit.id, "/", MAX_CAMERAS + 1)
    devices = [info.file.path.strip("/") for info in entries if info.file_type == pfs_pb2.DIR]
    newest = [
        gateway.stream(
            gateway.pfs.ListFile,
            pfs_pb2.ListFileRequest(file=gateway.file(DETECTIONS, commit.id, f"/{device}"), number=1, reverse=True),
            action=f"look for the newest image of {device}",
        )
        for device in devices
    ]
    cameras = []
    for device, stream in zip(devices, newest, strict=True):
        for info in stream.first(1):
            stem = info.file.path.rpartition("/")[2].rpartition(".")[0]
            seconds = seconds_of(stem)
            if seconds is not None:
                cameras.append(Camera(device=device, time=seconds))
    return cameras


def _invalid(gateway: Gateway) -> tuple[int, list[Invalid]]:
    """How many images are invalid, and why some of them are."""
    commit = newest_finished(gateway, VALIDATE)
    if commit is None:
        return 0, []
    infos = _list(gateway, VALIDATE, commit.id, layout.INVALID, 2 * MAX_COUNTED)  # an image and its reason each
    files = [convert.file_ref(info) for info in infos if info.file.path.endswith(layout.REASON_SUFFIX)]
    shown = files[:MAX_REASONS]
    found = []
    for file, record in zip(shown, read_json(gateway, shown), strict=True):
        name = file.path.rpartition("/")[2].removesuffix(layout.REASON_SUFFIX)
        reason = (record or {}).get("message") or "its reason cannot be read"
        found.append(Invalid(name=str((record or {}).get("name") or name), reason=str(reason)))
    return min(len(files), MAX_COUNTED), found


def _told(gateway: Gateway) -> tuple[dict[str, Any], list[Run]]:
    """What the runs told: of all, and of the last run of each DAG, the newest first."""
    commit = newest_finished(gateway, STATUS)
    if commit is None:
        return {}, []
    top = [convert.file_ref(info) for info in _list(gateway, STATUS, commit.id, "/", MAX_RUNS) if info.file.path == "/status.json"]
    files = [convert.file_ref(info) for info in _list(gateway, STATUS, commit.id, "/runs", MAX_RUNS)]
    told, *records = read_json(gateway, [*top, *files]) if top else (None, *read_json(gateway, files))
    runs = [_run(gateway, commit.id, record) for record in records if record]
    return told or {}, sorted(runs, key=lambda run: run.time, reverse=True)


def _run(gateway: Gateway, commit_id: str, record: dict[str, Any]) -> Run:
    def text(name: str) -> str:
        return str(record.get(name) or "")

    return Run(
        dag_id=text("dag_id"),
        run_id=text("run_id"),
        time=text("time"),
        state=text("state"),
        reason=text("reason"),
        report=_file(gateway, commit_id, text("report")) if text("report").startswith("/reports/") else None,
    )


def _file(gateway: Gateway, commit_id: str, path: str) -> models.FileRef | None:
    request = pfs_pb2.InspectFileRequest(file=gateway.file(STATUS, commit_id, path))
    try:
        return convert.file_ref(gateway.ask(gateway.pfs.InspectFile, request, action=f"inspect {path}"))
    except PachydermNotFoundError:
        return None


def _list(gateway: Gateway, repo: str, commit_id: str, path: str, limit: int) -> Iterator[Any]:
    """A directory; none where there is no such one."""
    request = pfs_pb2.ListFileRequest(file=gateway.file(repo, commit_id, path), number=limit)
    try:
        yield from gateway.stream(gateway.pfs.ListFile, request, action=f"list {repo}:{path}").first(limit)
    except PachydermNotFoundError:
        return
