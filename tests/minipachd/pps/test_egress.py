"""A job's output on its way to a URL."""

from collections.abc import Callable
from pathlib import Path

from python_pachyderm.service import pps_proto

from tests.minipachd.pps.lab import JobState, Lab


def egress(folder: Path) -> dict[str, object]:
    return {"egress": pps_proto.Egress(URL=f"file://{folder}")}


def state(lab: Lab, commit: str) -> int:
    return next(iter(lab.client.inspect_job(commit, "copy"))).state


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_files_of_every_output_are_at_the_url_when_the_job_has_ended(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    script = "mkdir $PFS_ROOT/out/d; cp $PFS_ROOT/in/* $PFS_ROOT/out/d/; yes 0123456789abcde | head -c 3200000 >$PFS_ROOT/out/large"
    lab.pipeline("copy", script, **egress(tmp_path / "to"))
    lab.run({"/a": "1"})
    assert found(tmp_path / "to") == {"d/a": b"1", "large": b"0123456789abcde\n" * 200_000}

    (tmp_path / "to" / "mine").write_bytes(b"stays")
    job = lab.run({"/a": "2"})["copy"]

    assert job.state == JobState.JOB_SUCCESS
    assert found(tmp_path / "to") == {"d/a": b"2", "large": b"0123456789abcde\n" * 200_000, "mine": b"stays"}
    (info,) = lab.client.inspect_pipeline("copy", details=True)
    assert Path(info.details.egress.URL.removeprefix("file://")) == tmp_path / "to"
    assert any("egress: 2 files" in line for line in lab.logs("copy", master=True))
    assert list((lab.engine.root / "work").glob("egress-*")) == []


def test_a_url_that_cannot_be_written_is_tried_again_until_it_can(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    obstacle = tmp_path / "to"
    obstacle.write_text("a file where a directory belongs")
    lab.pipeline("copy", **egress(obstacle))
    commit = lab.put({"/a": "1"})

    until(lambda: any("next try in" in line for line in lab.logs("copy", master=True)))
    assert state(lab, commit) == JobState.JOB_EGRESSING
    obstacle.unlink()

    assert lab.settle(commit)["copy"].state == JobState.JOB_SUCCESS
    assert found(obstacle) == {"a": b"1"}


def test_a_job_can_be_stopped_while_it_waits_for_its_url(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    obstacle = tmp_path / "to"
    obstacle.touch()
    lab.pipeline("copy", **egress(obstacle))
    commit = lab.put({"/a": "1"})
    until(lambda: state(lab, commit) == JobState.JOB_EGRESSING)

    lab.client.stop_job(commit, "copy", "enough")
    obstacle.unlink()

    job = lab.settle(commit)["copy"]
    assert (job.state, job.reason) == (JobState.JOB_KILLED, "enough")
    assert lab.run({"/b": "1"})["copy"].state == JobState.JOB_SUCCESS
    assert found(obstacle) == {"a": b"1", "b": b"1"}


def test_a_job_timeout_ends_it_too(lab: Lab, tmp_path: Path) -> None:
    lab.repo()
    (tmp_path / "to").touch()
    lab.pipeline("copy", job_timeout={"seconds": 3}, **egress(tmp_path / "to"))

    job = lab.run({"/a": "1"})["copy"]

    assert job.state == JobState.JOB_KILLED
    assert "job timed out" in job.reason
    assert str(tmp_path / "to") in job.reason


def test_it_goes_on_after_sigkill(own_lab: Lab, tmp_path: Path) -> None:
    lab = own_lab
    lab.repo()
    obstacle = tmp_path / "to"
    obstacle.touch()
    lab.pipeline("copy", f"echo x >>{tmp_path}/ran; cp $in $PFS_ROOT/out/", **egress(obstacle))
    commit = lab.put({"/a": "1"})
    until(lambda: state(lab, commit) == JobState.JOB_EGRESSING)

    lab.engine.kill()
    obstacle.unlink()
    lab.engine.start()

    job = lab.settle(commit)["copy"]
    assert (job.state, job.restart) == (JobState.JOB_SUCCESS, 1)
    assert found(obstacle) == {"a": b"1"}
    assert (tmp_path / "ran").read_text() == "x\n"
