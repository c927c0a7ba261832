"""The launcher on its own: with and without a ``/pfs`` of its own, and when its server goes away."""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipachd.pfs import Pfs
from minipachd.pps import launcher
from minipachd.pps.sandbox import ProcessStartError, Sandbox, Wake
from minipachd.pps.spec import DatumId
from minipachd.pps.workdir import OutputError, WorkDir
from tests.minipachd.pps.test_runtime import alive, wait_until_dead

ENV = {"PATH": os.environ["PATH"]}


class Printed(list[bytes]):
    """Collects what commands print."""


@pytest.fixture
def printed() -> Printed:
    return Printed()


@pytest.fixture(params=[True, False], ids=["namespace", "plain"])
def sandbox(request: pytest.FixtureRequest, tmp_path: Path, printed: Printed) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path, on_lines=printed.extend, namespace=request.param)
    yield made
    made.close()


@pytest.fixture
def run(sandbox: Sandbox) -> Callable[[str], int]:
    def run(script: str) -> int:
        sandbox.start(["sh"], env=ENV, cwd=sandbox.work_dir, stdin=script.encode())
        assert sandbox.wait() is Wake.EXITED
        return sandbox.exit_status

    return run


def test_the_directory_is_where_the_sandbox_says(sandbox: Sandbox, run: Callable[[str], int], printed: Printed) -> None:
    (sandbox.pfs_root / "file").write_text("here\n")

    assert run(f"cat {sandbox.mount_point}/file pfs/file; exit 3") == 3
    assert printed == [b"here", b"here"]


def test_nothing_of_it_shows_outside(sandbox: Sandbox, run: Callable[[str], int]) -> None:
    before = Path("/proc/mounts").read_text()
    assert run("true") == 0
    assert Path("/proc/mounts").read_text() == before


def test_a_line_without_end_and_a_last_line_without_newline_arrive(run: Callable[[str], int], printed: Printed) -> None:
    run("printf 'a\\nb'; head -c 100000 /dev/zero | tr '\\0' x")
    assert printed[0] == b"a"
    assert b"".join(printed[1:]) == b"b" + b"x" * 100000


def test_a_deadline_passes_and_the_command_can_be_killed(sandbox: Sandbox) -> None:
    sandbox.start(["sleep", "1000"], env=ENV, cwd=sandbox.work_dir)
    assert sandbox.wait(deadline=time.monotonic()) is Wake.TIMED_OUT
    sandbox.kill()
    assert (sandbox.running, sandbox.exit_status) == (False, -9)
    sandbox.kill()


def test_kill_right_after_start_and_after_the_end_never_hangs(sandbox: Sandbox) -> None:
    for _ in range(50):
        sandbox.start(["true"], env=ENV, cwd=sandbox.work_dir)
        sandbox.kill()
        assert not sandbox.running


def test_what_cannot_be_started_says_so_and_the_next_command_runs(sandbox: Sandbox, run: Callable[[str], int]) -> None:
    for argv, cwd in ((["no-such-program"], sandbox.work_dir), (["true"], Path("/no/such/directory"))):
        sandbox.start(argv, env=ENV, cwd=cwd)
        with pytest.raises(ProcessStartError, match=r"no-such-program|/no/such/directory"):
            sandbox.wait()
    assert run("true") == 0


def test_processes_end_with_the_server_that_wanted_them(tmp_path: Path) -> None:
    """Its socket closes when it dies, however it dies."""
    program = f"""
import os, sys
from pathlib import Path
from minipachd.pps.sandbox import Sandbox
sandbox = Sandbox(Path({str(tmp_path)!r}), on_lines=lambda lines: (print(lines[0].decode(), flush=True)))
sandbox.start(["sh", "-c", "setsid sleep 1000 & echo $!; sleep 1000"], env={ENV!r}, cwd=Path({str(tmp_path)!r}))
sandbox.wait()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        pid = server.stdout.readline().strip()
        assert alive(pid)
        server.kill()
    wait_until_dead(pid)


def test_links_out_of_a_container_are_not_followed_into_the_machine(tmp_path: Path, store: Pfs) -> None:
    workdir = WorkDir(tmp_path, store, mount_point=Path("/pfs"), confined=True)
    for number, target in enumerate(("/etc/passwd", "../../etc/passwd")):
        (tmp_path / "out" / f"link{number}").symlink_to(target)
        with store.upload() as upload, pytest.raises(OutputError, match=r"leads out of /pfs"):
            workdir.collect(upload, DatumId("0" * 64))
        workdir.prepare({}, (), ())
    (tmp_path / "out" / "fine").symlink_to("/pfs/.env")
    with store.upload() as upload:
        assert [entry.path for entry in workdir.collect(upload, DatumId("0" * 64))] == ["/fine"]


def test_a_server_that_is_killed_while_its_launcher_starts_leaves_no_noise(tmp_path: Path) -> None:
    (tmp_path / "pfs").mkdir()
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-S", launcher.__file__, str(theirs.fileno()), "null"]
    with theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True) as process:
        theirs.close()
        select.select([ours], [], [], 30)
        ours.close()  # with its greeting unread, as a kernel closes the sockets of a killed process

        assert process.communicate(timeout=30)[1] == ""

    assert process.returncode == 0
