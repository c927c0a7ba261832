"""What user code leaves as its output, and who may read it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from minipachd.pfs import Pfs
from minipachd.pps.datum import DatumId
from minipachd.pps.workdir import OutputError, WorkDir
from minipachd.storage import DataDirectory
from tests.minipachd.pps.lab import JobState, Lab
from tests.minipachd.pps.test_hostile import descendants
from tests.minipachd.pps.test_runtime import failed, pps_duration, wait_until_dead
from tests.support import Engine

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root could mount, and become another user")


@pytest.mark.parametrize("options", [{}, {"user": "nobody"}])
@pytest.mark.parametrize(
    "target", ["/etc/shadow", "/proc/self/environ", "/proc/kmsg", "/dev/zero", "/", "../../etc/passwd", "/pfs/../etc/passwd"]
)
def test_a_link_out_of_pfs_fails_its_datum_by_name(lab: Lab, target: str, options: dict[str, str]) -> None:
    lab.repo()
    lab.pipeline("thief", f"ln -s {target} $PFS_ROOT/out/loot", datum_timeout=pps_duration(60), **options)
    failed(lab.run({"/a": "1"})["thief"], "'/loot'", "out of /pfs")


def test_links_out_of_the_directory_are_refused_where_it_is_no_mount(tmp_path: Path, store: Pfs) -> None:
    (tmp_path / "pfs").mkdir()
    workdir = WorkDir(tmp_path / "pfs", store, mount_point=tmp_path / "pfs")
    for target in ("/etc/passwd", "../../x", "/proc/self/environ"):
        (tmp_path / "x").touch()
        workdir.prepare({}, (), ())
        (workdir.root / "out" / "link").symlink_to(target)
        with store.upload() as upload, pytest.raises(OutputError, match=r"'/link' leads out of /pfs"):
            workdir.collect(upload, DatumId("0" * 64))


def test_a_file_of_four_terabytes_of_nothing_fails_its_datum_by_name(lab: Lab) -> None:
    lab.repo()
    lab.pipeline("sparse", "truncate -s 4T $PFS_ROOT/out/s")
    failed(lab.run({"/a": "1"})["sparse"], "'/s'", "holes are not stored")


def test_outputs_are_collected_under_the_datum_timeout_and_till_nobody_wants_them(lab: Lab, tmp_path: Path) -> None:
    made = tmp_path / "made"
    os.mkfifo(made)
    lab.repo()
    lab.pipeline("slow", "truncate -s 15G $PFS_ROOT/out/s", datum_timeout=pps_duration(2))
    failed(lab.run({"/a": "1"})["slow"], "datum timeout of 2 s exceeded while its output was collected")
    lab.pipeline("endless", f"truncate -s 15G $PFS_ROOT/out/s; echo >{made}")
    made.read_text()
    lab.client.delete_pipeline("endless")  # returns
    assert [info.pipeline.name for info in lab.client.list_pipeline()] == ["slow"]


@root_only
@pytest.mark.parametrize("rude", ["mount -t tmpfs none /pfs/out", "touch $PFS_ROOT/x; chattr +i $PFS_ROOT/x", "umount /pfs"])
def test_root_in_a_datum_may_neither_mount_nor_freeze(lab: Lab, rude: str) -> None:
    lab.repo()
    lab.pipeline("rude", f"if {rude} 2>/dev/null; then exit 1; fi; cp $in $PFS_ROOT/out/")
    assert lab.run({"/a": "1", "/b": "2"})["rude"].state == JobState.JOB_SUCCESS
    assert {"/a", "/b"} <= set(lab.files("rude"))


@root_only
def test_what_is_unmounted_on_the_machine_is_unmounted_for_the_workers(lab: Lab, tmp_path: Path) -> None:
    shared, disk = tmp_path / "shared", tmp_path / "shared" / "disk"
    shared.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", shared], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
        lab.repo()
        lab.pipeline("copy", "cp $in $PFS_ROOT/out/")
        lab.run({"/a": "1"})
        (launcher,) = [pid for pid in descendants(lab.engine.process.pid, named="python") if "launcher" in command(pid)]
        mounts = Path(f"/proc/{launcher}/mounts")
        assert str(disk) in mounts.read_text()
        subprocess.run(["umount", disk], check=True)
        assert str(disk) not in mounts.read_text()
    finally:
        subprocess.run(["umount", "--recursive", shared], check=True)


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def test_code_that_kills_its_launcher_leaves_no_process_behind(own_lab: Lab, tmp_path: Path) -> None:
    lab, fifo = own_lab, tmp_path / "pid"
    os.mkfifo(fifo)
    lab.repo()
    lab.pipeline("rude", f"setsid sh -c 'sleep 1000 & echo $! >{fifo}; wait' & sleep 0.2; kill -9 $PPID; sleep 1000")
    commit = lab.put({"/a": "1"})
    pid = fifo.read_text().strip()
    assert lab.settle(commit)["rude"].state == JobState.JOB_FAILURE
    wait_until_dead(pid)
    assert descendants(lab.engine.process.pid, named="sleep") == []


SECRET = b'{"metadata": {"name": "mail"}, "stringData": {"key": "hidden-value"}}'


def test_nobody_else_may_enter_the_data_directory_and_no_file_of_a_datum_holds_a_secret(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Engine(tmp_path) as engine:
            lab = Lab(engine)
            lab.client.create_secret("mail", {"key": "hidden-value"})
            lab.repo()
            script = "echo $KEY | wc -c; stat -c %a $PFS_ROOT/.env $PFS_ROOT/out; cat $PFS_ROOT/.env; sleep 0"
            lab.pipeline("mailer", script, secrets=[{"name": "mail", "env_var": "KEY", "key": "key"}])
            job = lab.run({"/a": "1"})["mailer"]
            lines = lab.logs("mailer", job.job.id)
            assert lines[:3] == ["13", "600", "700"]
            assert not any("hidden-value" in line for line in lines)
            for path in (engine.root, *(path for path in engine.root.iterdir() if path.is_dir())):
                assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
            assert stat.S_IMODE((engine.root / "lock").stat().st_mode) == 0o600
            holding = [path for path in (engine.root / "work").rglob("*") if path.is_file() and b"hidden-value" in path.read_bytes()]
            assert holding == []
    finally:
        os.umask(before)


def test_a_data_directory_that_others_could_read_is_mended_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with DataDirectory(tmp_path / "data") as directory:
        for path in (directory.root, directory.packs):
            path.chmod(0o755)
    with DataDirectory(tmp_path / "data") as directory:
        assert {stat.S_IMODE(path.stat().st_mode) for path in (directory.root, directory.packs)} == {0o700}
    assert [record.getMessage() for record in caplog.records if "could be read by other users (mode 755)" in record.getMessage()]
    caplog.clear()
    with DataDirectory(tmp_path / "data"):
        assert caplog.records == []
