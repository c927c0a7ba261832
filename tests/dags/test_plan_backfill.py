"""What a backfill would do."""

import json
from pathlib import Path

import pytest

from dags.plan_backfill import main
from tests.dags.quick_stages import write_images


def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    status = main(["--landing", str(tmp_path / "landing"), "--results", str(tmp_path / "results"), *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_days_images_batches_and_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_images(tmp_path / "landing", "2026-11-01", "a.jpg", "b.jpg", "c.jpg")
    write_images(tmp_path / "landing", "2026-11-03", "d.jpg")

    status, out, _ = run(capsys, tmp_path, "--from-date", "2026-11-01", "--to-date", "2026-11-03", "--batch-size", "2")

    lines = [line.split() for line in out.splitlines()]
    assert status == 0
    assert [line[:2] + line[3:] for line in lines[1:4]] == [["2026-11-01", "3", "2"], ["2026-11-02", "0", "0"], ["2026-11-03", "1", "1"]]
    assert lines[4] == ["3", "days", "4", "0.0", "3"]
    assert "No report of an earlier run" in out
    assert out.splitlines()[-1].endswith("--from-date 2026-11-01 --to-date 2026-11-03T23:59 --max-active-runs 2")


def test_the_estimate_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_images(tmp_path / "landing", "2026-11-01", *(f"{number}.jpg" for number in range(100)))
    for number, seconds in enumerate((10, 20, 90)):
        folder = tmp_path / "results" / "nightly_images" / f"2026-10-{number + 1:02}"
        folder.mkdir(parents=True)
        jobs = {"validate": {"processed": 5}}
        (folder / "summary.json").write_text(json.dumps({"files": 10, "seconds": seconds, "jobs": jobs}))

    _, out, _ = run(capsys, tmp_path, "--from-date", "2026-11-01", "--to-date", "2026-11-01")

    assert "About 0:03:20 at 2.000 s per image" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-date", "2026-11-02", "--to-date", "2026-11-01"], "swap the dates"),
        (["--from-date", "2026-11-01", "--to-date", "2026-11-01"], "does not exist"),
    ],
)
def test_what_cannot_be_planned_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str) -> None:
    status, _, err = run(capsys, tmp_path, *arguments)

    assert (status, message in err) == (1, True)
