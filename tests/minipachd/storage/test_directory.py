"""A data directory after a first start that was cut short."""

import os
from pathlib import Path

import pytest

from minipachd.pps.secrets import Secrets
from minipachd.storage import DataDirectory

SECRET = b'{"metadata": {"name": "password"}, "stringData": {"key": "value"}}'


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been brought to the disk, in its order."""
    found, fsync = [], os.fsync

    def told(descriptor: int) -> None:
        found.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", told)
    return found


def test_a_first_start_that_was_killed_at_once_is_made_up_for(tmp_path: Path) -> None:
    (tmp_path / "format").touch()
    with DataDirectory(tmp_path):
        assert (tmp_path / "format").read_text() == "1\n"


def test_a_power_cut_after_the_first_start_leaves_a_directory_that_can_be_served(tmp_path: Path, durable: list[str]) -> None:
    """With a database beside it, an empty format file would be refused for ever."""
    with DataDirectory(tmp_path / "data"):
        assert durable[:2] == [str(tmp_path / "data" / "format"), str(tmp_path / "data")]


def test_a_secret_that_was_acknowledged_survives_a_power_cut(tmp_path: Path, durable: list[str]) -> None:
    secrets = Secrets(tmp_path)
    secrets.create(SECRET, now_ns=1)
    assert durable == [str(tmp_path / "password.new"), str(tmp_path)]
    secrets.delete("password")
    assert durable[2:] == [str(tmp_path)], "and one that was deleted does not come back"
