"""Datum batching: one program for many datums, and for many jobs."""

import os
from pathlib import Path

import grpc
import pytest
from python_pachyderm.proto.v2.worker import worker_pb2, worker_pb2_grpc
from python_pachyderm.service import pps_proto

from tests.minipachd.pps.lab import JobState, Lab, counts

COPY = 'shutil.copy(source, root + "/out/")'


def test_ten_datums_need_one_program(lab: Lab, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    lab.repo()
    lab.batch_pipeline("copy", COPY, starts=starts)

    job = lab.run({f"/{number}": str(number) for number in range(10)})["copy"]

    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"processed": 10, "total": 10})
    assert lab.files("copy") == {f"/{number}": str(number).encode() for number in range(10)}
    assert starts.read_text() == "x"


def test_the_program_is_kept_for_the_next_job_and_not_for_the_next_version(lab: Lab, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    lab.repo()
    lab.batch_pipeline("copy", COPY, starts=starts)
    lab.run({"/a": "1"})
    lab.run({"/b": "1"})
    assert starts.read_text() == "x"

    lab.batch_pipeline("copy", COPY, starts=starts, update=True, reprocess=True)
    assert counts(lab.newest("copy")) == {"processed": 2, "total": 2}
    assert starts.read_text() == "xx"


def test_each_worker_has_a_program(lab: Lab, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    lab.repo()
    body = f"""
import pathlib, time
pathlib.Path({str(tmp_path)!r}, "datum-" + os.path.basename(source)).touch()
while len(list(pathlib.Path({str(tmp_path)!r}).glob("datum-*"))) < 2: time.sleep(0.01)
{COPY}
"""
    lab.batch_pipeline("copy", body, starts=starts, parallelism_spec=pps_proto.ParallelismSpec(constant=2))

    lab.run({"/a": "1", "/b": "2"})

    assert lab.files("copy") == {"/a": b"1", "/b": b"2"}
    assert starts.read_text() == "xx"


def test_a_reported_error_fails_the_datum_in_the_words_of_the_program(lab: Lab, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    lab.repo()
    body = f'error = "no good: " + source if "bad" in source else ""\nif not error: {COPY}'
    lab.batch_pipeline("picky", body, starts=starts, datum_tries=2)

    job = lab.run({"/a": "1", "/bad": "2", "/c": "3"})["picky"]

    assert (job.state, counts(job)) == (JobState.JOB_FAILURE, {"processed": 2, "failed": 1, "total": 3})
    assert "no good: " in job.reason
    assert starts.read_text() == "x"


def test_a_program_that_dies_costs_its_datum_a_try_and_is_started_again(lab: Lab, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    lab.repo()
    body = f'if "bad" in source: print("goodbye", flush=True); os._exit(5)\n{COPY}'
    lab.batch_pipeline("dies", body, starts=starts, datum_tries=2)

    job = lab.run({"/a": "1", "/bad": "2", "/c": "3"})["dies"]

    assert (job.state, counts(job)) == (JobState.JOB_FAILURE, {"processed": 2, "failed": 1, "total": 3})
    assert "exited prematurely: exit status 5: goodbye" in job.reason
    assert starts.read_text() == "xxx"


def test_a_program_that_never_asks_for_a_datum_fails_the_datum(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("deaf", "echo hello", datum_batching=True)

    job = lab.run({"/a": "1"})["deaf"]

    assert job.state == JobState.JOB_FAILURE
    assert "before it asked for its first datum: exit status 0: hello" in job.reason


def test_err_cmd_recovers_what_the_program_reports(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    lab.batch_pipeline("saved", 'error = "never"', starts=tmp_path / "starts", err_cmd=["true"])

    job = lab.run({"/a": "1", "/b": "1"})["saved"]

    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"recovered": 2, "total": 2})
    assert lab.files("saved") == {}


def test_a_slow_datum_is_killed_with_its_program(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    timeout = pps_proto.CreatePipelineRequest().datum_timeout
    timeout.FromMilliseconds(500)
    body = f'import time\nif "slow" in source: time.sleep(1000)\n{COPY}'
    lab.batch_pipeline("sleeps", body, starts=tmp_path / "starts", datum_timeout=timeout)

    job = lab.run({"/a": "1", "/slow": "2", "/z": "3"})["sleeps"]

    assert (job.state, counts(job)) == (JobState.JOB_FAILURE, {"processed": 2, "failed": 1, "total": 3})
    assert "datum timeout of 0.5 s" in job.reason


def test_an_input_that_did_not_change_is_not_written_again(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    lab.repo("model")
    lab.put({"/m": "model"}, repo="model")
    cross = pps_proto.Input(
        cross=[pps_proto.Input(pfs=pps_proto.PFSInput(repo=repo, glob=glob)) for repo, glob in (("in", "/*"), ("model", "/"))]
    )
    body = 'open(root + "/out/" + os.path.basename(source), "w").write(str(os.stat(root + "/model/m").st_ino))'
    lab.batch_pipeline("inode", body, starts=tmp_path / "starts", reads=cross)
    lab.run({"/a": "1", "/b": "2"})
    lab.run({"/c": "3"})

    assert len(set(lab.files("inode").values())) == 1


def test_the_program_finds_the_services_port_in_its_environment_only(lab: Lab, tmp_path: Path) -> None:
    fifo = tmp_path / "port"
    os.mkfifo(fifo)
    lab.repo()
    lab.pipeline("plain", f"echo port=$PPS_WORKER_GRPC_PORT >{fifo}")
    commit = lab.put({"/a": "1"})
    assert fifo.read_text() == "port=\n"
    lab.settle(commit)
    with grpc.insecure_channel(lab.engine.address) as channel, pytest.raises(grpc.RpcError) as caught:
        worker_pb2_grpc.WorkerStub(channel).NextDatum(worker_pb2.NextDatumRequest())
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_program_starts_with_the_pipeline_and_not_with_its_first_datum(lab: Lab, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    lab.repo()

    lab.batch_pipeline("copy", COPY, starts=started)

    assert started.read_text() == "x"  # opening it waits for the program; nothing has been put
