"""What user code finds, what it may do, and what becomes of it."""

import os
from pathlib import Path

import pytest
from grpc import RpcError
from python_pachyderm.service import pps_proto

from tests.minipachd.pps.lab import DatumState, JobState, Lab, counts, cross, pfs, python


def failed(job, *words: str) -> None:
    assert job.state == JobState.JOB_FAILURE
    assert all(word in job.reason for word in words), job.reason


def test_the_environment_is_the_documented_one(lab: Lab) -> None:
    lab.repo("in")
    lab.repo("rules")
    lab.put({"/r.json": "{}"}, repo="rules")
    lab.pipeline(
        "show",
        "env >$PFS_ROOT/out/env; cp $PFS_ROOT/.env $PFS_ROOT/out/dotenv",
        reads=cross(pfs("in"), pfs("rules", "/")),
        env={"MINE": "yes"},
    )
    commit = lab.put({"/a": "1"})
    lab.settle(commit)

    files = lab.files("show")

    env = dict(line.partition("=")[::2] for line in files["/env"].decode().splitlines())
    root = env["PFS_ROOT"]
    (datum,) = lab.client.list_datum("show", commit)
    assert env["in"] == f"{root}/in/a"
    assert env["rules"] == f"{root}/rules"
    assert env["in_COMMIT"] == commit
    assert env["PACH_JOB_ID"] == env["PACH_OUTPUT_COMMIT_ID"] == commit
    assert env["PACH_DATUM_ID"] == datum.datum.id
    assert (env["PPS_PIPELINE_NAME"], env["PPS_PROJECT_NAME"], env["MINE"]) == ("show", "default", "yes")
    assert env["PATH"].split(":")[0] == str(Path(os.sys.executable).parent)
    assert f"PACH_JOB_ID={commit}" in files["/dotenv"].decode().splitlines()


def test_pfs_is_found_by_its_absolute_and_by_its_relative_name(lab: Lab) -> None:
    lab.repo()
    lab.pipeline(
        "look", "cat pfs/in/a >pfs/out/relative; if [ $PFS_ROOT = /pfs ]; then cat /pfs/in/a; else cat $PFS_ROOT/in/a; fi >pfs/out/absolute"
    )

    lab.run({"/a": "1"})

    assert lab.files("look") == {"/relative": b"1", "/absolute": b"1"}


def test_only_the_files_of_the_datum_are_there(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("list", "cd $PFS_ROOT/in; find . -type f | sort >$PFS_ROOT/out/$(basename $in)", reads=pfs("in", "/*/*"))

    lab.run({"/d/a": "1", "/d/b": "2"})

    assert lab.files("list") == {"/a": b"./d/a\n", "/b": b"./d/b\n"}


def test_writing_into_inputs_hurts_nobody_else(lab: Lab) -> None:
    lab.repo()
    lab.repo("model")
    lab.put({"/m": "model"}, repo="model")
    script = """
cat $PFS_ROOT/model/m $in >$PFS_ROOT/out/$(basename $in)
echo spoiled >$PFS_ROOT/model/m; echo spoiled >$in; echo stray >$PFS_ROOT/model/stray
ls $PFS_ROOT/model | wc -l >>$PFS_ROOT/out/$(basename $in)
"""
    lab.pipeline("rude", script, reads=cross(pfs("in"), pfs("model", "/")))
    lab.pipeline("after", "cat $PFS_ROOT/model/m $in >$PFS_ROOT/out/$(basename $in)", reads=cross(pfs("in"), pfs("model", "/")))

    lab.run({f"/{name}": name for name in "abc"})

    assert lab.files("rude") == {f"/{name}": f"model{name}2\n".encode() for name in "abc"}
    assert lab.files("after") == {f"/{name}": f"model{name}".encode() for name in "abc"}
    assert lab.files("model") == {"/m": b"model"}
    assert lab.files("in") == {f"/{name}": name.encode() for name in "abc"}


def test_a_link_to_an_input_is_stored_as_its_content(lab: Lab) -> None:
    lab.repo()
    script = """
cd $PFS_ROOT/out
ln -s $PFS_ROOT/in/d/a absolute; ln -s ../in/d/a relative; ln -s $PFS_ROOT/in/d whole; ln -s absolute twice
echo spoiled >$PFS_ROOT/in/d/b; ln -s $PFS_ROOT/in/d/b spoiled
mkdir empty; mkfifo pipe
"""
    lab.pipeline("links", script, reads=pfs("in", "/"))

    lab.run({"/d/a": "1", "/d/b": "2"})

    assert lab.files("links") == {
        "/absolute": b"1",
        "/relative": b"1",
        "/twice": b"1",
        "/whole/a": b"1",
        "/whole/b": b"spoiled\n",
        "/spoiled": b"spoiled\n",
    }


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ("ln -s nowhere $PFS_ROOT/out/x", "broken"),
        ("ln -s x $PFS_ROOT/out/x", "broken"),
        ("mkdir $PFS_ROOT/out/d; ln -s . $PFS_ROOT/out/d/x", "back into itself"),
        ("touch '$PFS_ROOT/out/a*b'; touch $PFS_ROOT/out/a*b", "globbing character"),
        (r"touch $PFS_ROOT/out/$(printf '\303\244')", "printable ASCII"),
    ],
)
def test_output_that_cannot_be_stored_fails_the_datum(lab: Lab, script: str, word: str) -> None:
    lab.repo()
    lab.pipeline("bad", "set +e\n" + script)

    failed(lab.run({"/a": "1"})["bad"], word)


def test_failing_tries_are_repeated_from_an_empty_output(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    script = f"echo x >>{tmp_path}/tries; touch $PFS_ROOT/out/try$(wc -l <{tmp_path}/tries); [ $(wc -l <{tmp_path}/tries) = 3 ]"
    lab.pipeline("third", script, datum_tries=3)

    assert lab.run({"/a": "1"})["third"].state == JobState.JOB_SUCCESS
    assert lab.files("third") == {"/try3": b""}


def test_accepted_exit_codes_are_successes(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("seven", "exit 7", accept_return_code=[7])

    assert lab.run({"/a": "1"})["seven"].state == JobState.JOB_SUCCESS


def test_err_cmd_recovers_a_datum_which_then_has_no_output(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("saved", "touch $PFS_ROOT/out/x; exit 1", err_cmd=["sh"], err_stdin=["echo saved $in"], datum_tries=3)

    job = lab.run({"/a": "1"})["saved"]

    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"recovered": 1, "total": 1})
    assert lab.files("saved") == {}
    assert [datum.state for datum in lab.client.list_datum("saved", job.job.id)] == [DatumState.RECOVERED]
    assert counts(lab.run({"/b": "1"})["saved"]) == {"recovered": 2, "total": 2}


def test_a_datum_that_takes_too_long_is_killed(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("slow", "trap '' TERM; sleep 1000", datum_timeout=pps_duration(0.2))

    failed(lab.run({"/a": "1"})["slow"], "datum timeout of 0.2 s")


def test_a_job_that_takes_too_long_is_killed(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("slow", "sleep 1000", job_timeout=pps_duration(0.3))

    job = lab.run({"/a": "1"})["slow"]

    assert job.state == JobState.JOB_KILLED
    assert "job_timeout of 0.3 s" in job.reason


def test_processes_left_behind_are_killed_with_their_datum(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    pids = tmp_path / "pids"
    escape = python(
        f"import os,time; os.fork() and os._exit(0); os.setsid(); open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(1000)"
    )
    lab.pipeline("forks", f"sleep 1000 & echo $! >>{pids}; {escape}; while [ $(wc -l <{pids}) -lt 2 ]; do sleep 0.01; done")

    assert lab.run({"/a": "1"})["forks"].state == JobState.JOB_SUCCESS

    assert [pid for pid in pids.read_text().split() if alive(pid)] == []


def test_stopping_a_job_kills_its_processes(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    lab.pipeline("slow", f"echo $$ >{fifo}; sleep 1000")
    commit = lab.put({"/a": "1"})
    pid = fifo.read_text().strip()

    lab.client.stop_job(commit, "slow", "enough")

    job = lab.settle(commit)["slow"]
    assert (job.state, job.reason) == (JobState.JOB_KILLED, "enough")
    wait_until_dead(pid)


def test_deleting_pipelines_at_any_point_of_their_jobs_returns(lab: Lab) -> None:
    for _ in range(12):
        lab.repo()
        lab.pipeline("first", "sleep 0.01; echo x")
        lab.pipeline("second", "echo x", reads=pfs("first"))
        lab.put({"/a": "1"})
        lab.client.delete_all()
    assert "Traceback" not in lab.log


def test_an_update_kills_the_running_job_and_goes_on_with_the_new_version(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    lab.pipeline("slow", f"echo $$ >{fifo}; sleep 1000")
    commit = lab.put({"/a": "1"})
    pid = fifo.read_text().strip()

    lab.pipeline("slow", update=True)

    assert lab.settle(commit)["slow"].state == JobState.JOB_KILLED
    assert lab.newest("slow").state == JobState.JOB_SUCCESS
    assert lab.files("slow") == {"/a": b"1"}
    wait_until_dead(pid)


def test_restart_datum_cuts_a_try_short(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    fifo = tmp_path / "started"
    os.mkfifo(fifo)
    lab.pipeline(
        "slow", f"if [ -e {tmp_path}/second ]; then exit 0; fi; touch {tmp_path}/second; echo $$ >{fifo}; sleep 1000", datum_tries=2
    )
    commit = lab.put({"/a": "1"})
    fifo.read_text()

    with pytest.raises(RpcError, match=rf"datum matching filter \[/other\] could not be found for job ID {commit}"):
        lab.client.restart_datum("slow", commit, ["/other"])
    lab.client.restart_datum("slow", commit, ["/a"])

    assert lab.settle(commit)["slow"].state == JobState.JOB_SUCCESS


def test_a_command_that_is_not_there_fails_with_its_name(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("missing", cmd=["no-such-program"])

    failed(lab.run({"/a": "1"})["missing"], "no-such-program")


def test_parallel_workers_have_each_a_directory_of_their_own(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    script = f"""
touch {tmp_path}/$(basename $in)
while [ $(ls {tmp_path} | wc -l) -lt 3 ]; do sleep 0.01; done
cat $PFS_ROOT/in/* >$PFS_ROOT/out/$(basename $in)
"""
    lab.pipeline("three", script, parallelism_spec=pps_proto.ParallelismSpec(constant=3))

    lab.run({f"/{name}": name for name in "abc"})

    assert lab.files("three") == {f"/{name}": name.encode() for name in "abc"}


def test_empty_files_are_placeholders_whose_links_have_the_content(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("names", "wc -c <$in >$PFS_ROOT/out/size; ln -s $in $PFS_ROOT/out/copy", reads=pfs("in", "/*", empty_files=True))

    lab.run({"/a": "content"})

    assert {path: data.strip() for path, data in lab.files("names").items()} == {"/size": b"0", "/copy": b"content"}


def pps_duration(seconds: float):
    field = pps_proto.CreatePipelineRequest.DESCRIPTOR.fields_by_name["datum_timeout"]
    message = field.message_type._concrete_class()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_dead(pid: str, seconds: float = 10) -> None:
    """The job is over before its processes are: they are killed right after."""
    fd = os.pidfd_open(int(pid)) if alive(pid) else None
    if fd is None:
        return
    import select

    ready = select.select([fd], [], [], seconds)[0]
    os.close(fd)
    assert ready, f"process {pid} still runs after {seconds} s"
