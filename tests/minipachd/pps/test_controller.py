"""What happens in between: a controller at work while others change what it has just read, or while the disk is full."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minipachd.errors import StorageFullError
from minipachd.pfs import BranchKey, Pfs, RepoKey
from minipachd.pps import Pps, controller, jobs, pipelines, records
from minipachd.pps.records import Job, Pipeline
from minipachd.pps.spec import JobState, PfsInput, PipelineKey, PipelineSpec, PipelineState, Transform
from minipachd.pps.worker import Worker
from minipachd.storage import DataDirectory

KEY, REPO = PipelineKey("default", "copy"), RepoKey("default", "in")
COPY = "cp $in $PFS_ROOT/out/"


@pytest.fixture
def pps(tmp_path: Path) -> Iterator[Pps]:
    with DataDirectory(tmp_path / "data") as directory:
        pfs = Pfs(directory)
        pps = Pps(pfs, directory)
        with pfs.transaction() as txn:
            txn.create_repo(REPO)
        yield pps
        pps.stop()
        pfs.close()


def create(pps: Pps, script: str = COPY, *, update: bool = False, **options: Any) -> None:
    transform = Transform(cmd=("sh", "-e") if script else (), stdin=(script,), datum_batching=options.pop("datum_batching", False))
    leaf = PfsInput(name="in", project="default", repo="in", glob="/*")
    with pps.pfs.transaction() as txn:
        draft = PipelineSpec(pipeline=KEY, transform=transform, input=leaf, salt="", **options)
        pps.create_pipeline(txn, draft, update=update)


def put(pps: Pps, *paths: str) -> None:
    with pps.pfs.upload() as upload:
        entries = [upload.add_bytes(path, path.encode(), tag="default") for path in paths]
        upload.seal()
        with pps.pfs.transaction() as txn:
            commit = txn.start_commit(BranchKey(REPO, "master"))
            txn.write_files(commit.key, upload=upload, put=entries)
            txn.finish_commit(commit.key)


def pipeline_once(pps: Pps, wanted: Callable[[Pipeline], bool]) -> Pipeline:
    """The pipeline as soon as it is as it should be, or as it stays."""
    while True:
        seen = pps.changes.version
        with pps.pfs.database.reading() as db:
            found = records.get_pipeline(db, KEY)
        if wanted(found) or not pps.changes.wait(seen, 10):
            return found


def job_once(pps: Pps, wanted: Callable[[Job], bool]) -> Job:
    """The newest job as soon as it is as it should be."""
    while True:
        seen = pps.changes.version
        with pps.pfs.database.reading() as db:
            job = records.last_job(db, KEY)
        if job is not None and wanted(job):
            return job
        assert pps.changes.wait(seen, 20), f"it stays as it is: {job}"


def ended_job(pps: Pps) -> Job:
    return job_once(pps, lambda job: job.terminal)


def before_the_first(pps: Pps, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act when the controller has read the new pipeline and is about to give it its state."""
    master, waiting = pps.logs.master, [act]

    def told(pipeline: PipelineKey, message: str, *, job: str = "") -> None:
        if waiting:
            waiting.pop()()
        master(pipeline, message, job=job)

    monkeypatch.setattr(pps.logs, "master", told)


def test_the_fault_of_one_version_is_not_that_of_the_next(pps: Pps, monkeypatch: pytest.MonkeyPatch) -> None:
    create(pps, "")
    before_the_first(pps, monkeypatch, lambda: create(pps, update=True))
    pps.start()

    found = pipeline_once(pps, lambda found: found.version == 2 and found.state is not PipelineState.STARTING)

    assert (found.state, found.reason) == (PipelineState.RUNNING, "")
    put(pps, "/a")
    assert ended_job(pps).state is JobState.SUCCESS


def test_a_pipeline_that_is_stopped_at_its_start_stays_so(pps: Pps, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def stop() -> None:
        with pps.pfs.transaction() as txn:
            pipelines.stop(txn, KEY)
        stopped.set()

    create(pps)
    before_the_first(pps, monkeypatch, stop)
    pps.start()
    assert stopped.wait(20)
    pps.stop()  # the controller comes to the end of what it has begun

    found = pipeline_once(pps, lambda _: True)
    assert (found.state, found.stopped) == (PipelineState.PAUSED, True)


def test_what_a_failed_flush_leaves_behind_takes_no_room(pps: Pps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second datum is delivered while the results of the first cannot be written down."""
    fifo, packs = tmp_path / "go on", tmp_path / "data" / "packs"
    os.mkfifo(fifo)
    create(pps, f'echo new >>$in; {COPY}; if [ $(basename $in) = b ] && [ -p "{fifo}" ]; then cat "{fifo}"; fi', parallelism=2)
    monkeypatch.setattr(controller, "RETRY_SECONDS", 0.01)
    update = jobs.update

    def fail_once(txn: Any, job: Job) -> None:
        if job.counts.processed == 1 and fifo.exists():
            before = len(list(packs.iterdir()))
            fifo.write_text("")
            fifo.unlink()
            while len(list(packs.iterdir())) == before:
                time.sleep(0.01)
            raise StorageFullError("the disk is full")
        update(txn, job)

    monkeypatch.setattr(jobs, "update", fail_once)
    put(pps, "/a", "/b")
    pps.start()
    job = ended_job(pps)

    assert job.state is JobState.SUCCESS
    assert {path.stem for path in packs.iterdir()} == {pack.name for pack in pps.pfs.chunks.usage()}


def test_a_program_that_cannot_be_started_ahead_of_its_first_datum_costs_no_worker(pps: Pps, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_worker: Worker) -> None:
        raise OverflowError("uid is greater than maximum")  # os.chown, of a user whose number is too long

    monkeypatch.setattr(Worker, "warm_up", broken)
    create(pps, "true", datum_batching=True)
    pps.start()
    put(pps, "/a")

    job = ended_job(pps)

    assert (job.state, "no port for NextDatum" in job.reason) == (JobState.FAILURE, True)


def test_trouble_behind_the_last_datum_of_a_job_costs_no_worker(pps: Pps, monkeypatch: pytest.MonkeyPatch) -> None:
    discard, waiting = Worker._drop_output, [MemoryError("no process can be started to remove a container")]

    def troubled(worker: Worker) -> None:
        discard(worker)
        if waiting:
            raise waiting.pop()

    monkeypatch.setattr(Worker, "_drop_output", troubled)
    create(pps)
    pps.start()
    put(pps, "/a")
    first = ended_job(pps)
    put(pps, "/b")

    later = job_once(pps, lambda job: job.seq > first.seq and job.terminal)

    assert (first.state, later.state, waiting) == (JobState.SUCCESS, JobState.SUCCESS, [])


def test_a_clock_that_is_set_forward_ends_no_job_before_its_time(pps: Pps, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started, go_on = tmp_path / "started", {name: tmp_path / name for name in "ab"}
    for fifo in (started, *go_on.values()):
        os.mkfifo(fifo)
    script = f'if [ $(basename $in) = a ]; then echo >"{started}"; fi; read _ <"{tmp_path}"/$(basename $in); {COPY}'
    create(pps, script, parallelism=2, job_timeout_seconds=3600.0)
    pps.start()
    put(pps, "/a", "/b")
    started.read_text()
    ahead = SimpleNamespace(time=lambda: time.time() + 86400, monotonic=time.monotonic, time_ns=time.time_ns)
    monkeypatch.setattr(controller, "time", ahead)

    for name, wanted in (("a", lambda job: job.terminal or job.counts.processed == 1), ("b", lambda job: job.terminal)):
        fd = os.open(go_on[name], os.O_RDWR)
        os.write(fd, b"go\n")
        job = job_once(pps, wanted)
        os.close(fd)

    assert (job.state, job.reason) == (JobState.SUCCESS, "")
