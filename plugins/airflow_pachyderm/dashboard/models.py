"""What the page's API answers. Times are Unix seconds, None where it has not happened; durations are seconds."""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel

from airflow_pachyderm.dashboard.texts import shown

Text = Annotated[str, AfterValidator(partial(shown, limit=4000))]
"""What somebody wrote: cut, and without what would change how the page around it looks."""
Label = Annotated[str, AfterValidator(partial(shown, limit=200))]

CommitState = Literal["open", "finishing", "finished", "failed"]
ChangeKind = Literal["added", "removed", "modified"]


class Page(BaseModel):
    """A page of a list. ``next`` goes into the next request; None on the last page."""

    next: str | None = None


# Pipelines


class Node(BaseModel):
    """A repo or a pipeline with its output repo."""

    name: str
    kind: Literal["repo", "pipeline"]
    state: str | None = None
    reason: Text = ""
    job_state: str | None = None
    total: int = 0
    done: int = 0
    failed: int = 0
    size_bytes: int = 0
    version: int = 0


class Edge(BaseModel):
    """Data that a pipeline reads; ``files`` is how much of it matches the glob now, None where that is not known yet."""

    source: str
    target: str
    branch: str
    glob: str
    kind: str
    files: int | None = None
    more: bool = False


class Graph(BaseModel):
    """All repos and pipelines of the project."""

    project: str
    nodes: list[Node]
    edges: list[Edge]


class Worker(BaseModel):
    """A worker, and what it does now."""

    id: str
    job: str
    started: float | None
    inputs: list[str]


class Job(BaseModel):
    """One job of one pipeline."""

    pipeline: str
    id: str
    state: str
    reason: Text
    version: int
    restarts: int
    created: float | None
    started: float | None
    finished: float | None
    total: int
    processed: int
    skipped: int
    failed: int
    recovered: int
    download_bytes: int
    upload_bytes: int
    download_seconds: float
    process_seconds: float
    upload_seconds: float


class Pipeline(BaseModel):
    """A pipeline with what it is made of. No value of an environment variable is in it."""

    name: str
    state: str
    reason: Text
    stopped: bool
    version: int
    created: float | None
    description: Text
    workers_requested: int
    workers_available: int
    inputs: list[Edge]
    readers: list[str]
    spec: dict[str, Any]
    jobs: list[Job]
    workers: list[Worker]


# Jobs


class JobSet(BaseModel):
    """The jobs that one commit caused."""

    id: str
    state: str
    created: float | None
    jobs: list[Job]


class JobSets(Page):
    """Newest first."""

    items: list[JobSet]


class Pushed(BaseModel):
    """A commit made from outside of Pachyderm, and the Airflow task that made it, where its description says so.

    ``branch`` is empty where the server does not say on which it was made.
    """

    repo: str
    branch: str
    description: Text
    started: float | None
    size_bytes: int
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None


class JobSetDetail(JobSet):
    """A commit set with what started it."""

    pushed: list[Pushed]


class Datum(BaseModel):
    """A datum in a list."""

    id: str
    state: str
    inputs: list[str]
    process_seconds: float
    download_bytes: int
    upload_bytes: int


class Datums(Page):
    """In the order of their ids."""

    items: list[Datum]


class FileRef(BaseModel):
    """A file that can be opened in the page."""

    repo: str
    commit: str
    path: str
    size_bytes: int
    digest: str


class DatumDetail(Datum):
    """A datum with its files."""

    files: list[FileRef]
    outputs: list[FileRef]
    outputs_note: str = ""


class LogLine(BaseModel):
    """A line of a log."""

    time: float | None
    worker: str
    datum: str
    user: bool
    message: Text


class Log(BaseModel):
    """The end of a log, oldest line first; ``cut`` when there was more before it, ``note`` where it is from or why there is none."""

    lines: list[LogLine]
    cut: bool
    note: str = ""


# Repos


class Repo(BaseModel):
    """A repo."""

    name: str
    description: Text
    created: float | None
    size_bytes: int
    branches: list[str]
    pipeline: bool


class Repos(Page):
    """By name."""

    items: list[Repo]


class Branch(BaseModel):
    """A branch with its head."""

    name: str
    head: str
    provenance: list[str]


class RepoDetail(Repo):
    """A repo with its branches."""

    heads: list[Branch]


class Commit(BaseModel):
    """A commit."""

    id: str
    state: CommitState
    origin: str
    description: Text
    error: Text
    started: float | None
    finished: float | None
    size_bytes: int
    parent: str | None


class Commits(Page):
    """Newest first."""

    items: list[Commit]


class Entry(BaseModel):
    """A file or a directory; a directory's path ends in ``/``."""

    path: str
    is_dir: bool
    size_bytes: int
    digest: str


class Files(Page):
    """One directory of one commit, in path order."""

    commit: Commit
    items: list[Entry]


class Change(BaseModel):
    """How a commit differs from its parent in one file."""

    path: str
    change: ChangeKind
    old_size_bytes: int | None
    new_size_bytes: int | None


class Diff(Page):
    """In path order."""

    commit: Commit
    items: list[Change]


# Threats


class ThreatObject(BaseModel):
    """A threatening object."""

    label: Label
    score: float


class Threat(BaseModel):
    """A threat, and the annotated image that shows it (None when it is gone).

    :ivar timestamp: Unix seconds; ``_png`` or ``_jpeg`` stands behind them where the image is called so.
    """

    device: str
    timestamp: str
    source: Label
    objects: list[ThreatObject]
    alert: Label
    image: FileRef | None


class Threats(Page):
    """Newest first. ``scanned`` threats were looked at for this page; ``note`` says what could not be read."""

    items: list[Threat]
    devices: list[str]
    scanned: int
    note: str = ""


class Bar(BaseModel):
    """A named count."""

    name: Label
    count: int


class ThreatCounts(BaseModel):
    """Counts over all threats, by device, class and day, as the plot stage wrote them; ``available`` is False when it has not run.

    :ivar time_zone: Whose days they are.
    """

    available: bool
    time_zone: str = "UTC"
    total: int = 0
    devices: list[Bar] = []
    classes: list[Bar] = []
    days: list[Bar] = []


class Step(BaseModel):
    """A stage of an image's way through the pipeline: what it left, in which commit, and the job that made it."""

    stage: str
    files: list[FileRef]
    commit: str | None
    time: float | None
    job: Job | None
    note: str = ""


class ThreatDetail(Threat):
    """A threat with the history of its image."""

    original: FileRef | None
    steps: list[Step]
    record: dict[str, Any]
