"""What a run leaves behind: every figure that was measured, the reason of every part that failed, and the plots."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import benchmarks.__main__ as runner
from benchmarks import results
from benchmarks.results import Curve, Figure, PartsFailedError, report

GOOD = """
import argparse, pathlib
from benchmarks.results import Curve, Figure, report
parser = argparse.ArgumentParser()
parser.add_argument("--json", type=pathlib.Path)
parser.add_argument("--count", type=int)
options = parser.parse_args()
speed = Figure("speed", options.count, "1/s", target=5, at_least=True)
report([speed, Curve("growth", "a", "s", ((0, 1.0), (10, 2.0)), "n")], options.json)
"""


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Two parts, of which the second breaks after its first figure."""
    (tmp_path / "good_part.py").write_text(GOOD)
    (tmp_path / "bad_part.py").write_text(
        """
import argparse, pathlib
from benchmarks.results import Figure, report
parser = argparse.ArgumentParser()
parser.add_argument("--json", type=pathlib.Path)
def measure():
    yield Figure("before", 1, "s")
    raise RuntimeError("the disk is on fire")
report(measure(), parser.parse_args().json)
"""
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    part = {
        "bad": runner.Part("breaks", "bad_part", (), (), (0.1, 0.1)),
        "good": runner.Part("works", "good_part", ("--count", "3"), ("--count", "7"), (0.1, 0.1)),
        "long": runner.Part("takes hours", "good_part", None, ("--count", "9"), (60, 60)),
    }
    monkeypatch.setattr(runner, "PARTS", part)
    monkeypatch.setattr(runner, "_AWAIT_QUIET_SECONDS", 1)  # other tests may run on this machine
    return tmp_path / "results"


def content(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_a_part_that_fails_is_reported_and_loses_nothing_of_the_others(parts: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--results", str(parts)]) == 1

    found = content(parts)
    rows = [(row["part"], row["name"], row["value"], row["holds"]) for row in found["results"]]
    assert rows == [("bad", "before", 1, None), ("good", "speed", 3, False)]
    assert [failure["part"] for failure in found["failed"]] == ["bad"]
    assert "the disk is on fire" in found["failed"][0]["reason"]
    assert found.keys() >= {"machine", "date", "commit", "setting"}
    assert found["machine"]["cores"] >= 1
    assert found["setting"]["full"] is False
    output = capfd.readouterr().out
    assert "MISSED" in output
    assert "bad FAILED: RuntimeError: the disk is on fire" in output


def test_parts_are_chosen_by_name_and_a_full_run_has_other_arguments(parts: Path) -> None:
    assert runner.main(["good", "--full", "--results", str(parts)]) == 0

    (row,) = content(parts)["results"]
    assert (row["name"], row["value"], row["unit"], row["target"], row["holds"]) == ("speed", 7, "1/s", ">= 5", True)
    names = sorted(path.name for path in parts.iterdir())
    assert [re.sub(r"^\d{4}-\d\d-\d\d-", "", name) for name in names] == ["good-full-growth.png", "good-full.json"]


def test_a_part_without_a_short_form_runs_when_it_is_asked_for(parts: Path) -> None:
    assert runner.main(["long", "--results", str(parts)]) == 0

    assert [(row["part"], row["value"]) for row in content(parts)["results"]] == [("long", 9)]


def test_a_part_that_does_not_exist_is_refused_before_anything_runs(parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runner.main(["god", "--results", str(parts)])

    assert "no part god; there are bad, good, long" in capsys.readouterr().err
    assert not parts.exists()


def edited(file: Path, target: Path, **changes: object) -> Path:
    """A copy of a result file with other content (None: without it), and with a value that was never measured."""
    found = {key: value for key, value in (json.loads(file.read_text()) | changes).items() if value is not None}
    for row in found["results"]:
        row["value"] = 1234
    target.write_text(json.dumps(found))
    return target


def test_a_run_goes_on_with_the_parts_that_it_lacks(parts: Path, tmp_path: Path) -> None:
    assert runner.main(["bad", "good", "--results", str(parts)]) == 1
    (first,) = parts.glob("*.json")
    kept = edited(first, tmp_path / "kept.json")
    bad = tmp_path / "bad_part.py"
    bad.write_text(bad.read_text().replace('raise RuntimeError("the disk is on fire")', 'yield Figure("after", 2, "s")'))

    assert runner.main(["bad", "good", "--results", str(parts), "--keep", str(kept)]) == 0

    found = content(parts)
    assert [(row["part"], row["name"], row["value"]) for row in found["results"]] == [
        ("bad", "before", 1),
        ("bad", "after", 2),
        ("good", "speed", 1234),
    ]
    assert [curve["part"] for curve in found["curves"]] == ["good"]
    assert found["failed"] == []
    assert found["parts"]["good"] == json.loads(kept.read_text())["parts"]["good"]
    assert found["parts"]["bad"].keys() == {"date", "commit", "seconds", "busy_before_percent"}


def test_parts_that_ran_one_by_one_are_joined_in_their_order_and_the_last_file_wins(parts: Path, tmp_path: Path) -> None:
    for name in ("long", "good"):
        assert runner.main([name, "--results", str(tmp_path / name)]) == 0
    (good,), (long,) = ((tmp_path / name).glob("*.json") for name in ("good", "long"))
    again = edited(good, tmp_path / "again.json")

    assert runner.main(["good", "long", "--results", str(parts), "--keep", str(good), str(long), str(again)]) == 0

    assert [(row["part"], row["value"]) for row in content(parts)["results"]] == [("good", 1234), ("long", 9)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"machine": {"cores": 999}}, "its machine is {'cores': 999}, this run's"),
        ({"setting": {"full": True, "model": "the project's own", "images": "rendered"}}, "its full is True, this run's False"),
        ({"setting": {"full": False, "model": "mine", "images": "rendered"}}, "its model is mine, this run's the project's own"),
        ({"parts": None}, "it is no result file of this program (KeyError: 'parts')"),
    ],
)
def test_what_was_measured_elsewhere_or_otherwise_is_not_joined(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], reason: str
) -> None:
    assert runner.main(["good", "--results", str(tmp_path / "first")]) == 0
    (first,) = (tmp_path / "first").glob("*.json")
    kept = edited(first, tmp_path / "kept.json", **changes)

    with pytest.raises(SystemExit):
        runner.main(["good", "--results", str(parts), "--keep", str(kept)])

    assert f"{kept} cannot be kept: {reason}" in capsys.readouterr().err
    assert not parts.exists()


def test_a_part_that_takes_too_long_is_ended_after_it_has_cleaned_up(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (parts.parent / "bad_part.py").write_text(
        f"""
import argparse, pathlib, time
from benchmarks.results import Figure, report
parser = argparse.ArgumentParser()
parser.add_argument("--json", type=pathlib.Path)
def measure():
    yield Figure("before", 1, "s")
    try:
        time.sleep(600)
    finally:
        pathlib.Path({str(parts.parent / "clean")!r}).touch()
report(measure(), parser.parse_args().json)
"""
    )
    monkeypatch.setattr(runner, "_LEAST_SECONDS", 3.0)
    monkeypatch.setattr(runner, "_PATIENCE", 0)

    assert runner.main(["bad", "--results", str(parts)]) == 1

    found = content(parts)
    assert [row["name"] for row in found["results"]] == ["before"]
    assert "not done within" in found["failed"][0]["reason"]
    assert (parts.parent / "clean").exists()


def test_what_was_measured_before_an_error_is_written(tmp_path: Path) -> None:
    def measured() -> Iterator[Figure | Curve]:
        yield Figure("first", 1.23456, "s", target=2)
        yield Curve("plot", "label", "s", (("a", 1.0),))
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        report(measured(), tmp_path / "out" / "file.json")

    found = json.loads((tmp_path / "out" / "file.json").read_text())
    assert found["results"] == [{"name": "first", "value": 1.2346, "unit": "s", "target": "<= 2", "holds": True}]
    assert found["curves"][0]["points"] == [["a", 1.0]]


def test_every_part_has_its_turn_and_all_reasons_are_told() -> None:
    failed = PartsFailedError()
    turns = []
    for name in ("one", "two", "three"):
        with failed.noting(name):
            turns.append(name)
            if name != "two":
                raise ValueError(name.upper())

    with pytest.raises(PartsFailedError, match="one: ValueError: ONE\nthree: ValueError: THREE"):
        failed.raise_any()
    assert turns == ["one", "two", "three"]


def test_every_part_of_the_real_list_is_a_command_that_takes_its_arguments() -> None:
    for name, part in runner.PARTS.items():
        source = (Path(runner.__file__).parent / Path(*part.module.split(".")[1:])).with_suffix(".py")
        text = (source if source.exists() else source.with_suffix("") / "__main__.py").read_text()
        options = {option for option in (*(part.short or ()), *part.full, "--json") if option.startswith("--")}
        options |= {"--model", part.material} if part.material else set()
        assert [option for option in options if f'"{option}"' not in text] == [], name


def test_a_commit_is_named_and_whether_files_differ_from_it_but_for_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    code, result = tmp_path / "benchmarks" / "code.py", tmp_path / "benchmarks" / "results" / "full.json"
    code.write_text("1")
    result.write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "--short", "HEAD")
    monkeypatch.setattr(results, "REPOSITORY", tmp_path)

    result.write_text("2")
    assert results.document([], [])["commit"] == commit
    code.write_text("2")
    assert results.document([], [])["commit"] == f"{commit}+"
