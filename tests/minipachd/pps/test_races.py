"""Changes from outside at every moment of a job, and the server going down in each of its states."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from grpc import RpcError

from tests.minipachd.pps.lab import JobState, Lab, counts, pfs
from tests.minipachd.pps.test_runtime import wait_until_dead


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> tuple[str, str]:
    """A job whose user code runs, and would for long: its id and the code's pid."""
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    lab.repo()
    lab.pipeline("slow", f"if [ -p {fifo} ]; then echo $$ >{fifo}; sleep 1000; fi; cp $in $PFS_ROOT/out/")
    lab.pipeline("below", "cp $slow $PFS_ROOT/out/", reads=pfs("slow"))
    commit = lab.put({"/a": "1"})
    pid = fifo.read_text().strip()
    fifo.unlink()
    return commit, pid


ENDINGS: dict[str, Callable[[Lab, str], object]] = {
    "job stopped": lambda lab, commit: lab.client.stop_job(commit, "slow"),
    "job deleted": lambda lab, commit: lab.client.delete_job(commit, "slow"),
    "a squash before its time": lambda lab, commit: (lab.put({"/later": "1"}), refused(lambda: lab.client.squash_commit(commit))),
    "commit set dropped": lambda lab, commit: lab.client.drop_commit(commit),
    "pipeline stopped and started": lambda lab, commit: (lab.client.stop_pipeline("slow"), lab.client.start_pipeline("slow")),
    "pipeline updated": lambda lab, commit: lab.pipeline("slow", "cp $in $PFS_ROOT/out/", update=True),
    "pipeline made anew": lambda lab, commit: (
        lab.client.delete_pipeline("below"),
        lab.client.delete_pipeline("slow"),
        lab.pipeline("slow", "cp $in $PFS_ROOT/out/"),
        lab.pipeline("below", "cp $slow $PFS_ROOT/out/", reads=pfs("slow")),
    ),
    "output commit finished by somebody else": lambda lab, commit: refused(lambda: lab.client.finish_commit(("slow", commit))),
}


NOT_POSSIBLE = ("a squash before its time", "output commit finished by somebody else")


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(RpcError):
        call()


@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_ends_a_running_job_its_code_dies_and_the_next_job_is_right(lab: Lab, running: tuple[str, str], ending: str) -> None:
    commit, pid = running

    ENDINGS[ending](lab, commit)

    if ending in NOT_POSSIBLE:
        lab.client.stop_job(commit, "slow")
    wait_until_dead(pid)
    jobs = lab.run({"/b": "1"})
    assert {name: job.state for name, job in jobs.items()} == {"slow": JobState.JOB_SUCCESS, "below": JobState.JOB_SUCCESS}
    assert lab.files("slow") == lab.files("below") == lab.files("in")
    ended = (JobState.JOB_SUCCESS, JobState.JOB_FAILURE, JobState.JOB_KILLED, JobState.JOB_UNRUNNABLE)
    assert [job for name in ("slow", "below") for job in lab.client.list_job(name) if job.state not in ended] == []
    assert "Traceback" not in lab.log


def test_a_killed_server_goes_on_with_jobs_in_every_state(own_lab: Lab, tmp_path: Path) -> None:
    """One runs, one waits for it, one waits behind it; one's pipeline is stopped, one's input commit is open."""
    lab, fifo = own_lab, tmp_path / "started"
    os.mkfifo(fifo)
    lab.repo()
    lab.repo("other")
    lab.pipeline("slow", f"if [ -p {fifo} ]; then echo $$ >{fifo}; sleep 1000; fi; cp $in $PFS_ROOT/out/")
    lab.pipeline("below", "cp $slow $PFS_ROOT/out/", reads=pfs("slow"))
    lab.pipeline("patient", "cp $other $PFS_ROOT/out/", reads=pfs("other"))
    lab.pipeline("asleep", "cp $other $PFS_ROOT/out/", reads=pfs("other"))
    lab.client.stop_pipeline("asleep")
    first, second = lab.put({"/a": "1"}), lab.put({"/b": "1"})
    held = lab.client.start_commit("other", "master")
    pid = fifo.read_text().strip()

    lab.engine.kill()
    wait_until_dead(pid)
    fifo.unlink()
    lab.engine.start()

    for commit in (first, second):
        assert {job.state for job in lab.settle(commit).values()} == {JobState.JOB_SUCCESS}
    lab.client.put_file_bytes(held, "/x", b"1")
    lab.client.finish_commit(held)
    assert lab.settle(held.id)["patient"].state == JobState.JOB_SUCCESS
    lab.client.start_pipeline("asleep")
    assert counts(lab.newest("asleep")) == {"processed": 1, "total": 1}
    assert lab.files("below") == {"/a": b"1", "/b": b"1"}
    assert lab.files("patient") == lab.files("asleep") == {"/x": b"1"}
