"""Which images a night takes: its own once, and late ones with the next night."""

import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import read_manifest
from dags.common.landing import PassedOver
from dags.common.nightly import Night, day_of_run, landed, plan_night
from dags.settings import Settings
from tests.dags.quick_stages import write_images

ZONE = ZoneInfo("Europe/Berlin")
DAY, NEXT = date(2026, 11, 22), date(2026, 11, 23)


@pytest.fixture
def config(tmp_path: Path) -> Settings:
    (tmp_path / "landing").mkdir()
    return Settings(landing=str(tmp_path / "landing"), staging=str(tmp_path / "staging"))


def plan(config: Settings, day: date = DAY, *, batch_files: int = 2, late_days: int = 7) -> Night:
    return plan_night(config, day, batch_files=batch_files, late_days=late_days, zone=ZONE)


def batches(night: Night) -> list[list[str]]:
    return [[file.path.removeprefix("/") for file in read_manifest(url)] for url in night.manifests]


def land(config: Settings, day: date, *names: str) -> None:
    write_images(Path(config.landing), str(day), *names)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"run_type": "scheduled", "interval_start": datetime(2026, 11, 22, 1, tzinfo=UTC)}, date(2026, 11, 22)),
        ({"run_type": "scheduled", "interval_start": datetime(2026, 11, 21, 23, 30, tzinfo=UTC)}, date(2026, 11, 22)),  # 00:30 in Berlin
        ({"run_type": "backfill", "interval_start": datetime(2020, 2, 29, 1, tzinfo=UTC)}, date(2020, 2, 29)),
        (
            {"run_type": "manual", "interval_start": datetime(2026, 11, 20, 1, tzinfo=UTC)},
            date(2026, 11, 22),
        ),  # the form's "now" is no wish
        ({"run_type": "manual"}, date(2026, 11, 22)),
        ({"run_type": "manual", "wanted": "2026-11-01"}, date(2026, 11, 1)),
        # Airflow's form for a backfill shows the field Day too; were it heard, all runs would push that one day.
        ({"run_type": "backfill", "interval_start": datetime(2020, 2, 29, 1, tzinfo=UTC), "wanted": "2026-11-01"}, date(2020, 2, 29)),
        ({"run_type": "scheduled", "interval_start": datetime(2026, 11, 22, 1, tzinfo=UTC), "wanted": "2026-11-01"}, date(2026, 11, 22)),
    ],
)
def test_the_day_of_a_run(run: dict[str, Any], expected: date) -> None:
    fields = {"run_after": datetime(2026, 11, 23, 9, tzinfo=UTC), "interval_start": None, "wanted": None, "zone": ZONE, **run}

    assert day_of_run(**fields) == expected


def test_a_day_that_is_none_is_named() -> None:
    with pytest.raises(PachydermInvalidError, match=r"Day is '22\.11\.2026', which is no date; write it as 2026-11-22"):
        day_of_run(run_type="manual", run_after=datetime.now(tz=UTC), interval_start=None, wanted="22.11.2026", zone=ZONE)


def test_both_layouts_of_the_landing_area(config: Settings) -> None:
    land(config, DAY, "a_1511891098.jpg")
    (Path(config.landing) / "2026/11/22/sub").mkdir()
    land(config, DAY, "sub/b.jpg")
    in_day = int(datetime(2026, 11, 22, 0, 30, tzinfo=ZONE).timestamp())
    Path(config.landing, f"c_{in_day}.jpg").touch()
    Path(config.landing, f"d_{in_day - 3600}.jpg").touch()
    Path(config.landing, "blah.jpg").touch()

    found = landed(config.landing, [DAY], zone=ZONE, passed=PassedOver())

    assert [one.file.path for one in found[DAY]] == ["/a_1511891098.jpg", "/sub/b.jpg", f"/c_{in_day}.jpg"]


def test_a_day_that_cannot_be_looked_at_is_no_night_without_images(config: Settings) -> None:
    """As a folder that its camera lets nobody enter, or a share that does not answer."""
    Path(config.landing, "2026").mkdir()
    Path(config.landing, "2026/11").symlink_to("11")

    with pytest.raises(PachydermSourceError, match=r"Cannot list .*/2026/11/22: .*Too many levels of symbolic links"):
        plan(config)


def test_a_night_is_planned_once(config: Settings) -> None:
    land(config, DAY, "1.jpg", "2.jpg", "3.jpg")
    first = plan(config)

    assert batches(first) == [["1.jpg", "2.jpg"], ["3.jpg"]]
    assert plan(config) == first
    assert plan(config, batch_files=1) == first  # batches stay as they were pushed


def test_a_night_of_many_images_gets_larger_batches_and_so_does_what_came_late(config: Settings) -> None:
    land(config, DAY, *(f"{number}.jpg" for number in range(1001)))
    first = plan(config, batch_files=1)
    assert sum(map(len, batches(first))) == 1001
    assert len(first.manifests) <= 500
    land(config, DAY, *(f"late{number}.jpg" for number in range(1001)))
    land(config, NEXT, *(f"next{number}.jpg" for number in range(1001)))
    both = plan(config, NEXT, batch_files=1)
    assert sum(map(len, batches(both))) == 2002
    assert len(both.manifests) <= 500


def test_what_came_since_is_a_batch_of_its_own(config: Settings) -> None:
    land(config, DAY, "1.jpg", "3.jpg")
    plan(config)
    land(config, DAY, "2.jpg")

    assert batches(plan(config)) == [["1.jpg", "3.jpg"], ["2.jpg"]]


def test_an_image_that_changed_moves_to_a_new_batch(config: Settings) -> None:
    land(config, DAY, "1.jpg", "2.jpg", "3.jpg")
    plan(config)
    (Path(config.landing) / "2026/11/22/3.jpg").write_bytes(b"longer than before")

    night = plan(config)

    assert batches(night) == [["1.jpg", "2.jpg"], ["3.jpg"]]
    assert read_manifest(night.manifests[1])[0].size_bytes == 18


def test_an_image_that_was_cleared_away_stays_in_its_batch(config: Settings) -> None:
    land(config, DAY, "1.jpg", "2.jpg")
    first = plan(config)
    (Path(config.landing) / "2026/11/22/1.jpg").unlink()

    assert plan(config) == first


def test_late_images_come_with_the_next_night_and_again_when_it_is_repeated(config: Settings) -> None:
    land(config, DAY, "1.jpg")
    plan(config)
    land(config, DAY, "late.jpg")
    land(config, NEXT, "2.jpg")

    night = plan(config, NEXT)

    assert (batches(night), night.late) == ([["2.jpg"], ["late.jpg"]], {"2026-11-22": 1})
    assert plan(config, NEXT) == night
    assert batches(plan(config, date(2026, 11, 24))) == []
    assert batches(plan(config, DAY)) == [["1.jpg"]]


def test_late_images_of_several_days_do_not_share_the_key_of_a_push(config: Settings) -> None:
    """Of two pushes with one key each would drop the other's open commit."""
    for day in (DAY, NEXT):
        plan(config, day)
    for day in (DAY, NEXT):
        land(config, day, "late.jpg")

    night = plan(config, date(2026, 11, 24))

    assert night.late == {str(DAY): 1, str(NEXT): 1}
    assert len({PurePosixPath(url).name for url in night.manifests}) == 2


def test_a_day_that_no_run_had_is_not_late(config: Settings) -> None:
    """It waits for its backfill."""
    land(config, DAY, "1.jpg")
    land(config, NEXT, "2.jpg")

    assert batches(plan(config, NEXT)) == [["2.jpg"]]


def test_what_lands_after_an_empty_night_is_late(config: Settings) -> None:
    assert batches(plan(config)) == []
    land(config, DAY, "late.jpg")

    assert plan(config, NEXT).late == {"2026-11-22": 1}


class Bucket(MemoryFileSystem):
    """As an object store, which has no empty folders."""

    protocol = "bucket"

    def makedirs(self, path: str, exist_ok: bool = False) -> None: ...


def test_what_lands_after_an_empty_night_is_late_also_where_the_staging_area_is_a_bucket(config: Settings) -> None:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    config = replace(config, staging="bucket://staging")
    plan(config)
    land(config, DAY, "1.jpg")

    assert plan(config, NEXT).late == {"2026-11-22": 1}


def test_no_look_back(config: Settings) -> None:
    plan(config)
    land(config, DAY, "late.jpg")

    assert plan(config, NEXT, late_days=0).late == {}


def passed(night: Night) -> dict[str, tuple[int, list[str]]]:
    return {odd["why"].partition(":")[0]: (odd["count"], odd["names"]) for odd in night.passed_over}


def seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=ZONE).timestamp())


def test_of_two_images_of_one_name_one_is_pushed_and_the_other_told(config: Settings) -> None:
    for folder in ("a", "b"):
        (Path(config.landing) / "2026/11/22" / folder).mkdir(parents=True)
    land(config, DAY, "b/1.jpg", "2.jpg")
    first = plan(config)
    land(config, DAY, "a/1.jpg")  # comes later, and stands before the other

    night = plan(config)

    assert batches(night) == batches(first) == [["2.jpg", "1.jpg"]]
    (count, names) = passed(night)["another file of this name is pushed"]
    assert (count, names[0].partition(" ")[0].endswith("2026/11/22/a/1.jpg")) == (1, True)


def test_what_is_odd_in_an_earlier_day_does_not_concern_tonight(config: Settings) -> None:
    """Two of one name, byte-equal or not; and a folder that leads round in a circle."""
    land(config, DAY, "1.jpg")
    plan(config)
    for folder in ("a", "b"):
        (Path(config.landing) / "2026/11/22" / folder).mkdir(parents=True)
        (Path(config.landing) / "2026/11/22" / folder / "late.jpg").write_bytes(b"the same")
    (Path(config.landing) / "2026/11/22/round").symlink_to("round")
    land(config, NEXT, "2.jpg")

    night = plan(config, NEXT)

    assert (batches(night), night.late) == ([["2.jpg"], ["late.jpg"]], {"2026-11-22": 1})
    assert passed(night)["a link that leads round in a circle"] == (1, ["2026/11/22/round"])
    assert passed(night)["another file of this name is pushed"][0] == 1


def test_an_earlier_day_that_cannot_be_looked_at_does_not_concern_tonight(config: Settings) -> None:
    (Path(config.landing) / "2026/10").mkdir(parents=True)
    (Path(config.landing) / "2026/10/31").symlink_to("31")
    (Path(config.staging) / "nightly/2026-10-31").mkdir(parents=True)  # it had its run
    land(config, date(2026, 11, 1), "2.jpg")

    night = plan(config, date(2026, 11, 1))

    assert batches(night) == [["2.jpg"]]
    assert passed(night)["an earlier day that cannot be looked at"] == (1, ["2026/10/31/"])


def test_every_file_of_the_landing_area_is_pushed_or_told(config: Settings) -> None:
    landing = Path(config.landing)
    pushed = [f"2026/11/22/{name}" for name in ("1.jpg", "sub/2.jpg")] + [f"flat_{seconds(DAY)}.jpg"]
    odd = {
        "blah.jpg": "no day in its name, nor in a folder YYYY/MM/DD: it should be as dev1_1511891098.jpg",
        "dev1_1795345200123.jpg": "no day in its name, nor in a folder YYYY/MM/DD: ",
        "dev1_179534520012.jpg": "no day in its name, nor in a folder YYYY/MM/DD: ",
        "dev1_99999999999.jpg": "its day has not come",
        f"dev1_{seconds(date(2026, 11, 3))}.jpg": "no run has had its day",
        ".DS_Store": "its name begins with a dot",
        "cam1/3.jpg": "in a folder that is none of a day, YYYY/MM/DD",
        "2026/4.jpg": "not in the folder of a day, YYYY/MM/DD",
        "2026/11/5.jpg": "not in the folder of a day, YYYY/MM/DD",
        "2026/11/3/6.jpg": "in a folder that is none of a day, YYYY/MM/DD",
        "2026/13/01/7.jpg": "in a folder that is none of a day, YYYY/MM/DD",
        "2026/11/02/8.jpg": "no run has had its day",
        "2026/11/22/.9.jpg": "its name, or that of its folder, begins with a dot",
    }
    for name in (*pushed, *odd):
        (landing / name).parent.mkdir(parents=True, exist_ok=True)
        (landing / name).write_bytes(name.encode())

    night = plan(config, batch_files=10)

    assert sorted(batches(night)[0]) == sorted(["1.jpg", "2.jpg", f"flat_{seconds(DAY)}.jpg"])
    told = [(odd["why"], name) for odd in night.passed_over for name in odd["names"]]
    assert sum(odd["count"] for odd in night.passed_over) == len(odd)
    for name, why in odd.items():
        assert any(reason.startswith(why) and name.startswith(shown.partition(" (")[0]) for reason, shown in told), (name, told)


def test_links_are_isolated_and_told(config: Settings) -> None:
    """Some recorders name events by links to images, or keep a folder of the newest ones."""
    land(config, DAY, "1.jpg")
    folder = Path(config.landing) / "2026/11/22"
    (folder / "event.jpg").symlink_to("1.jpg")
    (folder / "lost.jpg").symlink_to("gone.jpg")
    (folder / "round.jpg").symlink_to("round.jpg")
    (folder / "all").symlink_to(".")
    (folder.parent.parent.parent.parent / "elsewhere.jpg").write_bytes(b"an image of its own")
    (folder / "other.jpg").symlink_to(folder.parent.parent.parent.parent / "elsewhere.jpg")

    night = plan(config)

    assert batches(night) == [["1.jpg"]]
    assert {why: names for why, (_, names) in passed(night).items()} == {
        "a link to an image that is pushed itself": ["2026/11/22/event.jpg"],
        "a link to nothing": ["2026/11/22/lost.jpg"],
        "a link that leads round in a circle": ["2026/11/22/round.jpg"],
        "a link to a folder that is looked through anyway": ["2026/11/22/all/"],
        "a link that leads out of the folders that may be pushed from": ["2026/11/22/other.jpg"],
    }
    assert batches(plan(replace(config, sources=str(folder.parent.parent.parent.parent)))) == [["1.jpg"], ["other.jpg"]]


def test_an_image_rewritten_with_the_same_size_is_pushed_again(config: Settings) -> None:
    land(config, DAY, "1.jpg", "2.jpg", "3.jpg")
    plan(config)
    image = Path(config.landing) / "2026/11/22/3.jpg"
    image.write_bytes(image.read_bytes()[::-1])
    os.utime(image, (1_800_000_000, 1_800_000_000))

    assert batches(plan(config)) == [["1.jpg", "2.jpg"], ["3.jpg"]]
    assert [PurePosixPath(url).name for url in plan(config).manifests] == ["0000.jsonl", "0002.jsonl"]  # a push of its own


def test_a_day_that_has_not_come_is_refused(config: Settings) -> None:
    tomorrow = datetime.now(tz=ZONE).date() + timedelta(days=1)

    with pytest.raises(PachydermInvalidError, match=f"Day is {tomorrow}, which has not come"):
        plan(config, tomorrow)


def test_a_landing_area_that_is_not_set_or_not_there_is_named(config: Settings, tmp_path: Path) -> None:
    with pytest.raises(PachydermInvalidError, match="set the Airflow Variable tuskwatch_landing"):
        plan(Settings(staging=str(tmp_path)))
    with pytest.raises(PachydermSourceError, match=r"Folder /nowhere/at/all does not exist"):
        plan(Settings(staging=str(tmp_path), landing="/nowhere/at/all"))
