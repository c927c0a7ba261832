import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from PIL import Image

from stages.common.errors import StageError
from stages.common.runner import Datum
from stages.plot.counts import count_threats
from stages.plot.stage import PlotStage
from tests.records import threat

DAY = 86400
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


@pytest.fixture
def threats(tmp_path):
    """Puts threat files into a folder and returns it."""

    def put(*times: tuple[str, int], labels: tuple[str, ...] = ("person",)):
        root = tmp_path / "threat-detect"
        root.mkdir(exist_ok=True)
        for device, seconds in times:
            path = root / device / f"{seconds}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(threat(device, seconds, labels).as_json()))
        return root

    return put


def plot(root, out, **env):
    PlotStage().process(Datum({"threat-detect": root}, out, env))
    with Image.open(out / "threats.png") as image:
        image.load()
        assert image.size == (1200, 800)
        return json.loads((out / "threats.json").read_text()), image.convert("L").getcolors(1 << 20)


def test_counts_by_device_day_hour_and_class(threats, tmp_path):
    root = threats(("dev2", START), ("dev1", START + 3600), ("dev1", START + 2 * DAY), labels=("car", "person", "car"))
    counts, _ = plot(root, tmp_path / "out")
    assert counts == {
        "schema": "tuskwatch.plot/1",
        "time_zone": "UTC",
        "total": 3,
        "first": "2026-01-01T00:00:00+00:00",
        "last": "2026-01-03T00:00:00+00:00",
        "devices": {"dev1": 2, "dev2": 1},
        "per_day": {"2026-01-01": 2, "2026-01-03": 1},
        "per_hour": {"00": 2, "01": 1},
        "classes": {"car": 6, "person": 3},
        "classes_from_newest": 3,
    }


def test_days_and_hours_are_those_of_the_zone_also_where_the_clock_changes(threats, tmp_path):
    """In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25."""
    moments = [
        datetime(2026, 3, 28, 23, 30, tzinfo=UTC),  # 00:30 of the 29th
        datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC),  # 01:59:59
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # 03:00
        datetime(2026, 3, 29, 22, 0, tzinfo=UTC),  # 00:00 of the 30th
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # 02:30, the first time
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # and again
    ]
    root = threats(*(("dev1", int(moment.timestamp())) for moment in moments))

    berlin, picture = plot(root, tmp_path / "berlin", TIME_ZONE="Europe/Berlin")
    nepal, other = plot(root, tmp_path / "nepal", TIME_ZONE="Asia/Kathmandu")  # UTC+05:45

    assert berlin["time_zone"] == "Europe/Berlin"
    assert berlin["per_day"] == {"2026-03-29": 3, "2026-03-30": 1, "2026-10-25": 2}
    assert berlin["per_hour"] == {"00": 2, "01": 1, "02": 2, "03": 1}
    assert (berlin["first"], berlin["last"]) == ("2026-03-29T00:30:00+01:00", "2026-10-25T02:30:00+01:00")
    assert nepal["per_hour"] == {"03": 1, "05": 1, "06": 3, "07": 1}
    assert picture != other


def test_all_zones_are_whole_quarters_of_an_hour_from_utc_since_the_first_timestamp():
    """What :mod:`stages.plot.counts` relies on."""
    moments = [datetime(2001, 9, 9, tzinfo=UTC) + timedelta(days=30 * number) for number in range(400)]
    for name in available_timezones():
        zone = ZoneInfo(name)
        assert all(moment.astimezone(zone).utcoffset() % timedelta(minutes=15) == timedelta(0) for moment in moments), name


def test_a_zone_that_there_is_not_is_named_with_the_nearest(threats, tmp_path):
    with pytest.raises(StageError, match=r"TIME_ZONE: 'Europe/Berlim' is not a time zone; did you mean Europe/Berlin\?"):
        plot(threats(), tmp_path / "out", TIME_ZONE="Europe/Berlim")


def test_no_threats_give_an_honest_empty_chart(threats, tmp_path):
    counts, empty = plot(threats(), tmp_path / "out")
    assert (counts["total"], counts["devices"], counts["first"]) == (0, {}, None)
    _, full = plot(threats(("dev1", START)), tmp_path / "out2")
    assert len(full) > 1
    assert empty != full


def test_an_input_that_is_missing_is_an_empty_one(tmp_path):
    counts, _ = plot(tmp_path / "nothing", tmp_path / "out")
    assert counts["total"] == 0


@pytest.mark.parametrize("devices", [1, 200])
@pytest.mark.parametrize("days", [1, 60, 300, 1500, 20_000])
def test_any_number_of_devices_and_days(threats, tmp_path, devices, days):
    times = [(f"dev{number}", START + DAY * (days - 1) * number // max(devices - 1, 1)) for number in range(devices)]
    counts, colours = plot(threats(*times), tmp_path / "out")
    assert len(counts["devices"]) == devices
    assert len(colours) > 10


def test_the_same_threats_give_the_same_bytes(threats, tmp_path):
    root = threats(("dev1", START), ("dev2", START + 1))
    plot(root, tmp_path / "a")
    plot(root, tmp_path / "b")
    for name in ("threats.png", "threats.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_classes_come_from_the_newest_files_only(threats):
    root = threats(*(("dev1", START + number) for number in range(5)), labels=("old",))
    threats(("dev1", START + 10), ("dev2", START + 11), labels=("new",))
    threats(*(("dev3", START - number) for number in range(3)), labels=("old",))
    counts = count_threats(root, classes_from_newest=2)
    assert (counts.total, counts.classes, counts.classes_from) == (10, {"new": 2}, 2)


def test_its_memory_does_not_grow_with_the_number_of_devices(threats):
    def peak(devices: int) -> int:
        root = threats(*((f"dev{device}", START + second) for device in range(devices) for second in range(200)))
        tracemalloc.start()
        try:
            assert count_threats(root, classes_from_newest=0).total == 200 * devices
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what a first call imports and caches
    few = peak(4)
    assert peak(40) < 2 * few


def test_other_files_are_left_out_and_named(threats, tmp_path, caplog):
    root = threats(("dev1", START), ("dev1", 10**18), labels=("$x_1$", "person"))
    (root / "readme.json").write_text("{}")
    (root / "dev1/notes.txt").write_text("")
    (root / "dev1/1767225601.json").write_text("{")
    counts, _ = plot(root, tmp_path / "out")
    assert counts["devices"] == {"dev1": 2}
    assert counts["classes"] == {"$x_1$": 1, "person": 1}
    for name in ("readme.json", "dev1/notes.txt", f"dev1/{10**18}.json", "1767225601.json"):
        assert name in caplog.text
