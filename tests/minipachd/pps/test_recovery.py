"""The server goes down in the middle of things."""

import os
import random
import threading
from pathlib import Path

import pytest
from grpc import RpcError

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


@pytest.mark.parametrize("seed", [1])
def test_whatever_moment_the_server_is_killed_at_the_output_is_right_in_the_end(own_lab: Lab, tmp_path: Path, seed: int) -> None:
    lab, chance = own_lab, random.Random(seed)
    lab.repo()
    lab.batch_pipeline(
        "upper", 'open(root + "/out/" + os.path.basename(source), "w").write(open(source).read().upper())', starts=tmp_path / "x"
    )
    lab.pipeline("sum", "cat $PFS_ROOT/upper/* >$PFS_ROOT/out/all", reads=pfs("upper", "/"))
    expected: dict[str, str] = {}
    for attempt in range(5):
        killer = threading.Timer(chance.uniform(0.02, 0.8), lab.engine.process.kill)
        killer.start()
        try:
            for step in range(50):
                path, text = f"/f{chance.randrange(12):02d}", f"text {attempt} {step}\n"
                lab.put({path: text})
        except (RpcError, ConnectionError):  # the client says the latter where nobody listens any more
            killer.join()
        killer.cancel()
        lab.engine.kill()
        lab.engine.start()
        expected = {path: data.decode() for path, data in lab.files("in").items()}

    jobs = lab.settle(lab.put({"/last": "last\n"}))

    expected["/last"] = "last\n"
    assert {name: job.state for name, job in jobs.items()} == {"upper": JobState.JOB_SUCCESS, "sum": JobState.JOB_SUCCESS}
    assert {path: data.decode() for path, data in lab.files("upper").items()} == {path: text.upper() for path, text in expected.items()}
    assert lab.files("sum")["/all"].decode() == "".join(expected[path].upper() for path in sorted(expected))
    assert {job.state for job in lab.client.list_job("upper")} == {JobState.JOB_SUCCESS}
    assert "Traceback" not in lab.log
