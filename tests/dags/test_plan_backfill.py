"""What a backfill would do."""

import json
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from airflow._shared.timezones import timezone
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable

from dags import settings
from dags.common.nightly import day_of_run
from dags.plan_backfill import instants, main
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
    assert out.splitlines()[-1].endswith("--from-date 2026-11-01T00:00+00:00 --to-date 2026-11-03T23:59+00:00 --max-active-runs 2")


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


# From eleven hours behind UTC to fourteen before it, with days on which clocks are changed.
@pytest.mark.parametrize(
    "zone", [*(f"Etc/GMT{-hours:+d}" for hours in range(-11, 15)), "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]
)
@pytest.mark.parametrize(("first", "last"), [(date(2026, 3, 27), date(2026, 3, 30)), (date(2026, 10, 24), date(2026, 11, 2))])
def test_the_printed_backfill_has_the_planned_days_in_every_zone(
    zone: str, first: date, last: date, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Airflow reads the dates and makes the runs, each of which takes the day that its interval begins on."""
    monkeypatch.setattr(settings, "TIMEZONE", zone)
    begin, end = instants(first, last)
    timetable = CronDataIntervalTimetable("0 2 * * *", timezone=zone)
    dag = SimpleNamespace(timetable=timetable, _time_restriction=TimeRestriction(earliest=None, latest=None, catchup=True))

    infos = SerializedDAG.iter_dagrun_infos_between(dag, timezone.parse(begin), timezone.parse(end))  # type: ignore[arg-type]
    days = [
        day_of_run(run_type="backfill", run_after=info.run_after, interval_start=info.data_interval.start, wanted=None, zone=ZoneInfo(zone))
        for info in infos
        if info.data_interval
    ]

    assert days == [first + timedelta(days=number) for number in range((last - first).days + 1)]
