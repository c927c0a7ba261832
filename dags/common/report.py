"""What a run found, read back from Pachyderm's output repos, and the files that tell people."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermNotFoundError
from airflow_pachyderm.files import SourceFile, open_filesystem
from airflow_pachyderm.hooks.pachyderm import PachydermHook
from airflow_pachyderm.urls import shown_url
from dags.common.landing import PassedOver
from dags.common.tell import warning_lines
from dags.settings import IMAGES_REPO, OBJECT_DETECT, PLOT, THREAT_DETECT, TIMEZONE, VALIDATE
from stages.contract import layout
from stages.contract.names import ImageName
from stages.contract.records import AlertStatus, Detections, Invalid, Record, RecordError, Threat

log = logging.getLogger(__name__)
R = TypeVar("R", bound=Record)

_READERS: Final = 8
_ANNOTATED_LIMIT: Final = 200
_NAMES_IN_XCOM: Final = 20
_NAMED: Final = 3
_ALERTS_READ: Final = 1000


@dataclass(frozen=True)
class Run:
    """Which run a report is about.

    :ivar late: Files of earlier days that came late, by day.
    :ivar passed_over: What was found and not pushed, by reason: ``why``, ``count`` and some ``names``.
    :ivar pushes: The results of its pushes, as :class:`~airflow_pachyderm.operators.push.PachydermPushOperator` returned them.
    :ivar batches: How many pushes there should have been.
    """

    dag_id: str
    run_id: str
    source: str
    late: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    passed_over: Sequence[Mapping[str, Any]] = field(default=(), kw_only=True)
    pushes: Sequence[Mapping[str, Any]]
    batches: int


@dataclass
class Report:
    """What became of the images of one run.

    :ivar commit: The commit set whose outputs were read: the run's last. Empty when nothing was pushed.
    :ivar invalid: Reason by image name.
    :ivar codes: The same in a word, by image name.
    :ivar missing: Images that validate's output does not have: taken out of the repo since.
    :ivar unseen: Valid images that object-detect did not look at.
    :ivar detections: Objects by image name: class id, label, score and box, as object-detect wrote them.
    :ivar threats: Images with threats, by device.
    :ivar alerts: Threats by what became of telling people, such as ``sent`` or ``too-old``.
    :ivar jobs: By pipeline, over all batches.
    :ivar passed_over: As of the run, with what the pushes left out.
    :ivar warnings: What a person should know.
    :ivar written: When, in the installation's time zone.
    """

    run: Run
    commit: str
    files: int
    size_bytes: int
    seconds: float
    valid: list[str] = field(default_factory=list)
    invalid: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    detections: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    threats: dict[str, int] = field(default_factory=dict)
    alerts: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    passed_over: list[Mapping[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    written: datetime = field(default_factory=lambda: datetime.now(tz=ZoneInfo(TIMEZONE)))

    @property
    def classes(self) -> dict[str, int]:
        """Objects found, by label, the most frequent first."""
        return dict(Counter(found["label"] for objects in self.detections.values() for found in objects).most_common())

    def mostly_invalid(self, limit: float) -> str:
        """Why the run is no success although everything ran: a sentence, empty where enough images are valid.

        :param limit: The share of images that may be invalid.
        """
        bad = len(self.invalid) + len(self.missing)
        if bad <= limit * self.files:
            return ""
        if not self.invalid:
            return f"{bad} of {self.files} images are not in the repo {VALIDATE} any more: push them again"
        (code, count), *_ = Counter(self.codes.values()).most_common(1)
        names = [name for name, its in sorted(self.codes.items()) if its == code]
        return (
            f"{bad} of {self.files} images are invalid, more than the setting tuskwatch_max_invalid_share ({limit:g}) allows; most often "
            f"({count}): {self.invalid[names[0]]}; such as {', '.join(names[:_NAMED])}; correct what names or writes the images, or raise "
            "the setting"
        )

    def as_json(self) -> dict[str, Any]:
        """The whole report, as it stands in ``summary.json``."""
        return {
            "dag_id": self.run.dag_id,
            "run_id": self.run.run_id,
            "written": self.written.isoformat(timespec="seconds"),
            "time_zone": TIMEZONE,
            "source": shown_url(self.run.source),
            "late": dict(self.run.late),
            "commit": self.commit,
            "commits": [push["commit"] for push in self.run.pushes],
            "batches": {"total": self.run.batches, "failed": self.run.batches - len(self.run.pushes)},
            "files": self.files,
            "bytes": self.size_bytes,
            "seconds": round(self.seconds, 3),
            "images": {"valid": self.valid, "invalid": sorted(self.invalid), "reasons": self.invalid},
            "passed_over": list(self.passed_over),
            "warnings": self.warnings,
            "classes": self.classes,
            "detections": self.detections,
            "threats": self.threats,
            "alerts": self.alerts,
            "plot": layout.CHART.removeprefix("/"),
            "jobs": self.jobs,
        }

    def counts(self) -> dict[str, Any]:
        """The report without its long lists, small enough for an XCom however large the run was."""
        return {
            "commit": self.commit,
            "batches": self.run.batches,
            "failed_batches": self.run.batches - len(self.run.pushes),
            "files": self.files,
            "late": dict(self.run.late),
            "images": {"valid": len(self.valid), "invalid": len(self.invalid)},
            "invalid_names": sorted(self.invalid)[:_NAMES_IN_XCOM],
            "passed_over": sum(item["count"] for item in self.passed_over),
            "warnings": self.warnings[:_NAMES_IN_XCOM],
            "classes": self.classes,
            "threats": self.threats,
            "jobs": self.jobs,
        }


def collect(hook: PachydermHook, run: Run, images: Iterable[SourceFile]) -> Report:
    """Read what the pipelines made of a run's images.

    :param images: What the run pushed.
    :raises PachydermError: Something that should be there cannot be read.
    """
    left_out = {url: why for push in run.pushes for url, why in push.get("left_out", {}).items()}
    names = {file.path.removeprefix("/") for file in images if file.url not in left_out}
    commits = [push["commit"] for push in run.pushes if push["commit"]]
    commit = _last_commit(hook, commits) if commits else ""
    report = Report(
        run,
        commit,
        files=len(names),
        size_bytes=sum(push["bytes"] for push in run.pushes),
        seconds=sum(push["seconds"] for push in run.pushes),
        jobs=add_jobs(push["jobs"] for push in run.pushes),
        passed_over=[*run.passed_over, *_left_out(left_out)],
    )
    if not commit:
        return report
    report.valid = sorted(names & {PurePosixPath(file.path).name for file in hook.pfs.glob_files(VALIDATE, commit, layout.valid("*"))})
    invalid = sorted(names & {PurePosixPath(file.path).name for file in hook.pfs.glob_files(VALIDATE, commit, layout.invalid("*"))})
    report.missing = sorted(names - {*report.valid, *invalid})
    reasons = _read_all(hook, VALIDATE, commit, [layout.reason(name) for name in invalid], Invalid)
    report.invalid = {name: reason.message for name, reason in zip(invalid, reasons, strict=True)}
    report.codes = {name: reason.code for name, reason in zip(invalid, reasons, strict=True)}
    looked_at = {file.path for file in hook.pfs.glob_files(OBJECT_DETECT, commit, layout.record("*", "*"))}
    seen = [name for name in report.valid if _output_path(name) in looked_at]
    report.unseen = [name for name in report.valid if _output_path(name) not in looked_at]
    detected = _read_all(hook, OBJECT_DETECT, commit, [_output_path(name) for name in seen], Detections)
    report.detections = {name: _objects(record) for name, record in zip(seen, detected, strict=True)}
    threats = {file.path for file in hook.pfs.glob_files(THREAT_DETECT, commit, layout.record("*", "*"))}
    with_threats = [name for name in report.valid if _output_path(name) in threats]
    report.threats = dict(sorted(Counter(ImageName.parse(name).device for name in with_threats).items()))
    told = _read_all(hook, THREAT_DETECT, commit, [_output_path(name) for name in with_threats[:_ALERTS_READ]], Threat)
    report.alerts = dict(Counter(threat.alert.status for threat in told).most_common())
    report.warnings = _warnings(report)
    return report


def _left_out(left_out: Mapping[str, str]) -> list[dict[str, Any]]:
    passed = PassedOver()
    for url, why in left_out.items():
        passed.add(why, url)
    return passed.as_json()


def _warnings(report: Report) -> list[str]:
    """What is odd about the run itself."""
    found = []
    if report.missing:
        found.append(f"{len(report.missing)} images were taken out of the repo since: {_some(report.missing)}")
    if report.unseen:
        found.append(f"{len(report.unseen)} valid images were not looked at (DETECT_DEVICES of {OBJECT_DETECT}): {_some(report.unseen)}")
    return found


def untold(report: Report) -> list[str]:
    """A warning when there were threats and no mail about any of them went out."""
    if not report.alerts or report.alerts.get(AlertStatus.SENT.value):
        return []
    why = ", ".join(f"{count} {status}" for status, count in report.alerts.items())
    return [f"Nobody was told of the threats of {sum(report.alerts.values())} images: {why}"]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def write(hook: PachydermHook, report: Report, folder: str) -> str:
    """Write ``summary.json``, ``report.md``, the plot and, of a small run, the annotated images.

    :param folder: URL of the run's own folder; made if missing.
    :return: URL of ``summary.json``.
    """
    filesystem, path = open_filesystem(folder)
    filesystem.makedirs(path, exist_ok=True)
    if report.commit and hook.pfs.inspect_file(PLOT, report.commit, layout.CHART):
        filesystem.pipe_file(f"{path}{layout.CHART}", hook.pfs.read_file(PLOT, report.commit, layout.CHART))
    if len(report.valid) <= _ANNOTATED_LIMIT:
        for name in report.detections:
            image = layout.picture_of(ImageName.parse(name))
            filesystem.makedirs(f"{path}/annotated{image.rpartition('/')[0]}", exist_ok=True)
            filesystem.pipe_file(f"{path}/annotated{image}", hook.pfs.read_file(OBJECT_DETECT, report.commit, image))
    filesystem.pipe_file(f"{path}/report.md", markdown(report).encode())
    # Last: who finds it finds the rest too.
    filesystem.pipe_file(f"{path}/summary.json", json.dumps(report.as_json(), indent=1).encode())
    return f"{folder}/summary.json"


def markdown(report: Report) -> str:
    """The report for people."""
    run = report.run
    lines = [
        f"# {run.dag_id}: {run.run_id}",
        "",
        f"Written {report.written:%Y-%m-%d %H:%M:%S %Z}. Days and hours are those of the time zone {TIMEZONE}.",
        "",
        f"{report.files} images from {literal(shown_url(run.source))} in {run.batches} batches, {report.size_bytes} bytes sent.",
        "",
        f"{len(report.valid)} valid, {len(report.invalid)} invalid. Read at commit `{report.commit}`.",
        "",
    ]
    odd = _table(
        ("passed over", "why", "for example"),
        ((item["count"], item["why"], ", ".join(item["names"][:_NAMED])) for item in report.passed_over),
        none="Nothing was passed over.",
    )
    if not run.batches:
        nothing = f"No images in {literal(shown_url(run.source))}: nothing to do."
        return "\n".join((*lines[:4], nothing, "", *odd, *warning_lines(report.warnings)))
    lines += warning_lines(report.warnings)
    for day, count in run.late.items():
        lines += [f"{count} images of {day} came late.", ""]
    if len(run.pushes) < run.batches:
        lines += [f"**{run.batches - len(run.pushes)} of {run.batches} batches failed.** What follows is about the others.", ""]
    lines += _table(("device", "images with threats"), report.threats.items(), none="No threats.")
    lines += _table(("class", "objects"), report.classes.items(), none="Nothing detected.")
    rows = ((name, job["state"], job["processed"], job["skipped"], job["failed"], job["seconds"]) for name, job in report.jobs.items())
    lines += _table(("pipeline", "state", "processed", "skipped", "failed", "seconds"), rows, none="No jobs.")
    lines += odd
    lines += _table(("invalid image", "reason"), list(report.invalid.items())[:_ANNOTATED_LIMIT], none="No invalid images.")
    return "\n".join(lines)


def add_jobs(summaries: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Sum the jobs of several pushes by pipeline; a state that is not success wins."""
    total: dict[str, dict[str, Any]] = {}
    for summary in summaries:
        for pipeline, job in summary.items():
            known = total.setdefault(pipeline, {"state": "success", "processed": 0, "skipped": 0, "failed": 0, "seconds": 0.0})
            for key in ("processed", "skipped", "failed", "seconds"):
                known[key] = round(known[key] + job[key], 3)
            if job["state"] != "success":
                known["state"] = job["state"]
    return total


def _last_commit(hook: PachydermHook, commits: Sequence[str]) -> str:
    """The newest of the commits: its outputs hold those of the others.

    :raises PachydermNotFoundError: Somebody deleted them.
    """
    wanted = set(commits)
    found = next((commit.commit_set for commit in hook.pfs.list_commits(IMAGES_REPO) if commit.commit_set in wanted), None)
    if found is None:
        raise PachydermNotFoundError(f"{IMAGES_REPO}@master has no commit {commits[-1]} any more: it was deleted; clear the push tasks")
    return found


def _read_all(hook: PachydermHook, repo: str, commit: str, paths: Sequence[str], record: type[R]) -> list[R]:
    """Read records at once.

    :raises PachydermInvalidError: One is damaged.
    """

    def read(path: str) -> R:
        try:
            return record.read(json.loads(hook.pfs.read_file(repo, commit, path)))
        except (RecordError, ValueError) as exc:
            raise PachydermInvalidError(f"{repo}@{commit}:{path}: {exc}; correct the pipeline that wrote it, and push again") from exc

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, paths))


def _objects(record: Detections) -> list[dict[str, Any]]:
    return [{"class": found.class_id, "label": found.label, "score": found.score, "box": asdict(found.box)} for found in record.objects]


def _output_path(name: str) -> str:
    """Where object-detect and threat-detect write about an image: a PNG and a JPEG of one second have a path each."""
    return layout.record_of(ImageName.parse(name))


def literal(value: object) -> str:
    """A text as Markdown shows it: no markup of its own, on one line."""
    text = re.sub(r"\s+", " ", str(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> list[str]:
    body = ["| " + " | ".join(literal(cell) for cell in row) + " |" for row in rows]
    if not body:
        return [none, ""]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *body, ""]
