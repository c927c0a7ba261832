"""The page's times, as its own script makes them: in the installation's time zone wherever the reader is."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

SCRIPT = """
globalThis.document = { documentElement: { dataset: { timeZone: process.argv[2] } } };
const format = await import(process.argv[3]);
const seconds = JSON.parse(process.argv[4]);
const fields = JSON.parse(process.argv[5]);
console.log(JSON.stringify({
  zone: format.zone,
  times: seconds.map(format.time),
  clocks: seconds.map(format.clock),
  moments: fields.map(format.moment),
}));
"""


def in_page(tmp_path: Path, zone: str, *, seconds: tuple[float, ...] = (), fields: tuple[str, ...] = ()) -> dict[str, list[str]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run the page's script: apt-get install nodejs")
    module, main = tmp_path / "format.mjs", tmp_path / "main.mjs"
    module.write_bytes((files("airflow_pachyderm.dashboard") / "static/js/format.js").read_bytes())
    main.write_text(SCRIPT)
    command = [node, str(main), zone, module.as_uri(), json.dumps(seconds), json.dumps(fields)]
    done = subprocess.run(command, capture_output=True, text=True, env={"TZ": "America/New_York", "LANG": "C"})
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_times_are_of_the_zone_and_name_it_also_where_the_clock_changes(tmp_path: Path) -> None:
    """In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29."""
    found = in_page(tmp_path, "Europe/Berlin", seconds=(1774745999, 1774746000))

    assert found["clocks"] == ["01:59:59", "03:00:00"]
    assert all(end in time for time, end in zip(found["times"], ("GMT+1", "GMT+2"), strict=True)), found["times"]


@pytest.mark.parametrize(
    ("zone", "field", "seconds"),
    [
        ("UTC", "2026-03-29T01:30", 1774747800),
        ("Europe/Berlin", "2026-03-29T01:30", 1774744200),  # half an hour before the change
        ("Europe/Berlin", "2026-03-29T03:00", 1774746000),  # the first moment after it
        ("Europe/Berlin", "2026-10-25T03:30", 1792895400),  # after the change back
        ("Asia/Kathmandu", "2026-01-01T00:00", 1767204900),
        ("America/New_York", "2026-11-01T00:30", 1793507400),
    ],
)
def test_what_is_typed_is_taken_for_the_zones(tmp_path: Path, zone: str, field: str, seconds: int) -> None:
    assert in_page(tmp_path, zone, fields=(field,))["moments"] == [seconds]


def test_a_zone_that_the_browser_does_not_know_becomes_utc_and_is_named(tmp_path: Path) -> None:
    found = in_page(tmp_path, "Mars/Olympus", seconds=(1774746000,))

    assert (found["zone"], found["clocks"]) == ("UTC", ["01:00:00"])
    assert "UTC" in found["times"][0]
