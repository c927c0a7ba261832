"""User code that does its worst hurts its own datum only."""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minipachd.pps.space import Space
from minipachd.pps.workdir import remove_tree
from tests.minipachd.pps.lab import JobState, Lab, counts, python
from tests.minipachd.pps.test_runtime import failed, pps_duration
from tests.support import Engine

ONE_OF_TWO = """case $in in */bad) {bad};; *) cp $in $PFS_ROOT/out/;; esac"""


def test_a_datum_that_fills_the_disk_is_stopped_and_the_others_go_on(tmp_path: Path) -> None:
    keep_mib = (shutil.disk_usage(tmp_path).free >> 20) - 200
    with Engine(tmp_path, "--keep-free", str(keep_mib)) as engine:
        lab = Lab(engine)
        lab.repo()
        bad = "head -c 600000000 /dev/zero >$PFS_ROOT/out/much; sleep 1000"
        lab.pipeline("greedy", ONE_OF_TWO.format(bad=bad), datum_timeout=pps_duration(60), datum_tries=2)
        lab.pipeline("modest", "cp $in $PFS_ROOT/out/; sleep 1.5")

        jobs = lab.run({"/bad": "1", "/good": "1"})

        failed(jobs["greedy"], "the disk is nearly full", "this datum has written most", "/bad", "after 2 tries")
        assert counts(jobs["greedy"]) == {"processed": 1, "failed": 1, "total": 2}
        assert jobs["modest"].state == JobState.JOB_SUCCESS
        assert sum(path.stat().st_size for path in (engine.root / "work").rglob("much")) == 0
        assert set(lab.files("modest")) == {"/bad", "/good"}


CHAIN = """
import fcntl, os
fcntl.flock(os.open(os.environ["LOCK"], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
os.setsid()
while True:
    os.fork() and os._exit(1)
"""


@pytest.mark.parametrize("bad", ["for number in $(seq 200); do sleep 1000 & done; exit 1", python(CHAIN)])
def test_forks_end_with_their_datum(lab: Lab, tmp_path: Path, bad: str) -> None:
    """The second one is a chain of processes that each leave a child behind, faster than one can count them."""
    lock = tmp_path / "lock"
    lab.repo()
    lab.pipeline("forks", ONE_OF_TWO.format(bad=bad), env={"LOCK": str(lock)})

    job = lab.run({"/bad": "1", "/good": "1"})["forks"]

    assert (job.state, counts(job)) == (JobState.JOB_FAILURE, {"processed": 1, "failed": 1, "total": 2})
    assert descendants(lab.engine.process.pid, named="sleep") == []
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # which whoever is left of the chain would hold


def test_a_tree_that_may_not_be_changed_is_removed_all_the_same(lab: Lab) -> None:
    lab.repo()
    script = """
cat $in >$PFS_ROOT/out/$(basename $in)
mkdir -p $PFS_ROOT/out/d/e $PFS_ROOT/in/x/y; touch $PFS_ROOT/out/d/e/$(basename $in) $PFS_ROOT/in/x/y/z
chmod 000 $PFS_ROOT/in/x/y; chmod 555 $PFS_ROOT/out/d/e $PFS_ROOT/out/d $PFS_ROOT/in/x $PFS_ROOT/in $PFS_ROOT/out $PFS_ROOT
"""
    lab.pipeline("locked", script)

    job = lab.run({"/a": "1", "/b": "2", "/c": "3"})["locked"]

    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"processed": 3, "total": 3})
    assert lab.files("locked") == {"/a": b"1", "/b": b"2", "/c": b"3", "/d/e/a": b"", "/d/e/b": b"", "/d/e/c": b""}


@pytest.mark.parametrize(
    "bad",
    [
        "rm -rf $PFS_ROOT/out",
        "rm -rf $PFS_ROOT/* $PFS_ROOT/.env; exit 1",
        "rmdir $PFS_ROOT/out; ln -s /nowhere $PFS_ROOT/out",
        "rm -r $PFS_ROOT/in; ln -s / $PFS_ROOT/in; exit 1",
        "kill -9 $PPID; sleep 1000",
    ],
)
def test_whatever_it_does_to_its_directory_or_its_parent_the_next_datum_is_well(lab: Lab, bad: str) -> None:
    lab.repo()
    lab.pipeline("rude", ONE_OF_TWO.format(bad=bad))

    job = lab.run({"/bad": "1", "/good": "1"})["rude"]

    assert (job.state, counts(job)) == (JobState.JOB_FAILURE, {"processed": 1, "failed": 1, "total": 2})
    assert lab.run(delete=["/bad"])["rude"].state == JobState.JOB_SUCCESS
    assert lab.files("rude") == {"/good": b"1"}


DEEP = """
import os, sys
os.chdir(os.environ["PFS_ROOT"] + sys.argv[1])
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
"""


def test_directories_below_directories_without_end_hurt_neither_the_next_datum_nor_the_next_start(own_lab: Lab) -> None:
    lab = own_lab
    lab.repo()
    lab.pipeline("deep", ONE_OF_TWO.format(bad=f"{python(DEEP)} /out"))

    failed(lab.run({"/bad": "1"})["deep"], "output directories are nested too deeply")
    assert lab.run({"/good": "1"}, delete=["/bad"])["deep"].state == JobState.JOB_SUCCESS, "the same worker ran it"
    lab.engine.kill()
    left = lab.engine.root / "work" / "left" / "out"
    left.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", DEEP, "/out"], env={"PFS_ROOT": str(left.parent)}, check=True)
    lab.engine.start()

    assert lab.run({"/better": "1"})["deep"].state == JobState.JOB_SUCCESS
    lab.engine.stop()
    assert list((lab.engine.root / "work").rglob("d")) == []


def test_a_job_that_is_stopped_amid_directories_without_end_leaves_the_next_one_its_worker(lab: Lab, tmp_path: Path) -> None:
    fifo = tmp_path / "deep"
    os.mkfifo(fifo)
    lab.repo()
    lab.pipeline("deep", ONE_OF_TWO.format(bad=f"{python(DEEP)} /out; echo deep >{fifo}; sleep 1000"))
    commit = lab.put({"/bad": "1"})
    fifo.read_text()
    lab.client.stop_job(commit, "deep")

    later = lab.put({"/good": "1"}, delete=["/bad"])

    deadline = time.monotonic() + 20
    while (job := next(iter(lab.client.inspect_job(later, "deep")))).state != JobState.JOB_SUCCESS:
        assert time.monotonic() < deadline, f"no worker is left: {job}"
        time.sleep(0.05)


def test_directories_without_end_beside_the_output_hurt_nobody(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("deep", f"cp $in $PFS_ROOT/out/; {python(DEEP)} /in")

    job = lab.run({"/a": "1", "/b": "2"})["deep"]

    assert (job.state, counts(job)) == (JobState.JOB_SUCCESS, {"processed": 2, "total": 2})


def test_directories_without_end_are_measured_on_a_full_disk(tmp_path: Path) -> None:
    for worker, size in (("deep", 20 << 20), ("modest", 1 << 20)):
        folder = tmp_path / "default" / worker / "v1-0"
        folder.mkdir(parents=True)
        (folder / "much").write_bytes(bytes(size))
    deep = tmp_path / "default" / "deep" / "v1-0"
    subprocess.run([sys.executable, "-c", DEEP, ""], env={"PFS_ROOT": str(deep)}, check=True)

    space = Space(tmp_path, keep_free=1 << 62)

    assert "this datum has written most: 2" in space.culprit(deep)
    assert space.culprit(tmp_path / "default" / "modest" / "v1-0") == ""
    remove_tree(deep)


def test_a_hundred_megabytes_of_output_are_cut_and_the_datum_lives(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("loud", "yes 0123456789012345678901234567890123456789 | head -c 100000000; echo end >$PFS_ROOT/out/x")

    job = lab.run({"/a": "1"})["loud"]

    assert job.state == JobState.JOB_SUCCESS
    size = sum(file.stat().st_size for file in (lab.engine.root / "logs").rglob("*.jsonl"))
    assert size < 40_000_000
    lines = [line.message for line in lab.client.get_job_logs("loud", job.job.id, tail=5)]
    assert any("were dropped" in line for line in lines)


def test_log_lines_that_cannot_be_written_are_lost_and_the_jobs_go_on(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("copy", "echo hello; cp $in $PFS_ROOT/out/")
    lab.run({"/a": "1"})
    directory = lab.engine.root / "logs" / "default" / "copy"
    shutil.rmtree(directory)
    directory.touch()

    job = lab.run({"/b": "1"})["copy"]

    assert job.state == JobState.JOB_SUCCESS
    assert "log lines of pipeline default/copy are lost" in lab.log
    directory.unlink()


def descendants(pid: int, *, named: str) -> list[int]:
    """The processes below one that have a name."""
    found = []
    for child in _children(pid):
        try:
            name = Path(f"/proc/{child}/comm").read_text().strip()
        except OSError:
            continue
        found += [child] if name == named else []
        found += descendants(child, named=named)
    return found


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []
