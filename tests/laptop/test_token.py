"""What ``make up`` gives its Airflow, and says for pachctl, opens minipachd."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from airflow_pachyderm.hooks.pachyderm import PachydermHook
from laptop.airflow import AirflowSettings, environment
from laptop.commands import pachctl_line
from laptop.keys import pachd_token
from laptop.layout import Layout
from laptop.stack import Stack
from tests.support import Engine


def test_airflow_and_pachctl_have_the_token_without_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "it's mine")
    token = pachd_token(layout)
    assert token == pachd_token(layout)
    assert stat.S_IMODE(layout.pachd_token.stat().st_mode) == 0o600
    settings = AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s")
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "token").symlink_to(layout.pachd_token)
    with Engine(tmp_path, auth=True) as engine:
        env = environment({}, layout, settings, database="postgresql://", pachd_address=engine.address, pachd_token=token, extra={})
        monkeypatch.setenv("AIRFLOW_CONN_PACHYDERM_DEFAULT", env["AIRFLOW_CONN_PACHYDERM_DEFAULT"])
        hook = PachydermHook()
        hook.pfs.create_repo("images")
        assert hook.get_conn().inspect_repo("images").repo.name == "images"
        hook.server.close()
    line = pachctl_line(Stack(layout, settings, "127.0.0.1:30650"))
    assert token not in line
    program = tmp_path / "pachctl"
    program.write_text(f'#!/bin/sh\n[ "$2" = set ] && [ "$3" = context ] && cat >{tmp_path}/context\necho "$@" >>{tmp_path}/calls\n')
    program.chmod(0o700)
    subprocess.run(["sh", "-e", "-c", line], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)
    assert json.loads((tmp_path / "context").read_text()) == {"pachd_address": "grpc://127.0.0.1:30650", "session_token": token}
    expected = ["config set context tuskwatch --overwrite", "config set active-context tuskwatch"]
    assert (tmp_path / "calls").read_text().splitlines() == expected
