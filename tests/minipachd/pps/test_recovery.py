"""The server goes down in the middle of things."""

import os
from pathlib import Path

from tests.minipachd.pps.lab import JobState, Lab, counts, pfs
from tests.minipachd.pps.test_runtime import wait_until_dead


def test_a_job_goes_on_after_sigkill_and_keeps_what_it_had_finished(own_lab: Lab, tmp_path: Path) -> None:
    lab, ran, fifo = own_lab, tmp_path / "ran", tmp_path / "started"
    os.mkfifo(fifo)
    lab.repo()
    script = (
        f"basename $in >>{ran}; if [ $(basename $in) = z ] && [ -p {fifo} ]; then echo $$ >{fifo}; sleep 1000; fi; cp $in $PFS_ROOT/out/"
    )
    lab.pipeline("slow", script)
    lab.pipeline("below", "cp $slow $PFS_ROOT/out/", reads=pfs("slow"))
    commit = lab.put({"/a": "1", "/b": "2", "/z": "3"})
    pid = fifo.read_text().strip()
    for job in lab.client.list_job("slow"):  # the first two are written down within a flush
        while next(iter(lab.client.inspect_job(job.job.id, "slow"))).data_processed < job.data_total - 1:
            pass

    lab.engine.kill()
    wait_until_dead(pid)
    fifo.unlink()
    lab.engine.start()
    jobs = lab.settle(commit)

    assert (jobs["slow"].state, counts(jobs["slow"])) == (JobState.JOB_SUCCESS, {"processed": 3, "total": 3})
    assert jobs["slow"].restart == 1
    assert jobs["below"].state == JobState.JOB_SUCCESS
    assert sorted(ran.read_text().split()) == ["a", "b", "z", "z"]
    assert lab.files("slow") == {"/a": b"1", "/b": b"2", "/z": b"3"}


def test_sigterm_kills_user_code_and_the_job_goes_on_at_the_next_start(own_lab: Lab, tmp_path: Path) -> None:
    lab, fifo = own_lab, tmp_path / "started"
    os.mkfifo(fifo)
    lab.repo()
    lab.pipeline("slow", f"if [ -p {fifo} ]; then echo $$ >{fifo}; trap '' TERM; sleep 1000; fi; cp $in $PFS_ROOT/out/")
    commit = lab.put({"/a": "1"})
    pid = fifo.read_text().strip()

    assert lab.engine.stop() == 0

    wait_until_dead(pid, seconds=0.1)
    fifo.unlink()
    lab.engine.start()
    assert lab.settle(commit)["slow"].state == JobState.JOB_SUCCESS
    assert lab.files("slow") == {"/a": b"1"}


def test_pipelines_jobs_logs_and_secrets_are_there_after_a_restart(own_lab: Lab) -> None:
    lab = own_lab
    lab.repo()
    lab.pipeline("copy", "echo hello; cp $in $PFS_ROOT/out/")
    commit = lab.put({"/a": "1"})
    lab.settle(commit)

    lab.engine.kill()
    lab.engine.start()

    assert [info.pipeline.name for info in lab.client.list_pipeline()] == ["copy"]
    assert lab.logs("copy", commit) == ["hello"]
    assert counts(lab.run({"/b": "1"})["copy"]) == {"processed": 1, "skipped": 1, "total": 2}
