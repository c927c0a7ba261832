import os
import shutil
import subprocess
from pathlib import Path

import pytest

from laptop.airflow import AirflowSettings
from laptop.commands import Inputs, demo_layout
from laptop.errors import LaptopError
from laptop.files import read_json, write_private
from laptop.keys import keys
from laptop.layout import REPOSITORY, Layout
from laptop.processes import Process
from laptop.room import Room, mount_of
from laptop.service import unit
from laptop.stack import Stack, new_stack
from laptop.upkeep import password, reset


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "local")


def test_the_password_stays_until_it_is_renewed(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = new_stack(layout).airflow, new_stack(layout).airflow
    password(layout)
    renewed = new_stack(layout).airflow

    assert first == again
    assert len({first.password, first.viewer_password, renewed.password, renewed.viewer_password}) == 4
    assert renewed.secret_key == first.secret_key
    assert layout.secrets.stat().st_mode & 0o777 == 0o600
    assert renewed.password in capsys.readouterr().out


def test_a_renewed_password_holds_from_the_next_login_on(layout: Layout) -> None:
    stack = new_stack(layout)
    stack.process = Process("supervisor", os.getpid(), 0.0, layout.root / "log")
    stack.save()

    password(layout)

    assert read_json(layout.airflow_home / "passwords.json") == {
        "admin": keys(layout)["password"],
        "viewer": keys(layout)["viewer_password"],
    }


def test_there_is_no_password_before_the_first_start(layout: Layout) -> None:
    with pytest.raises(LaptopError, match="make up"):
        password(layout)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_data_is_its_owners_alone_whatever_the_umask(layout: Layout, umask: int, caplog: pytest.LogCaptureFixture) -> None:
    before = os.umask(umask)
    try:
        new_stack(layout)
        assert layout.root.stat().st_mode & 0o777 == 0o700
        assert not caplog.records
        layout.logs.mkdir()
        layout.root.chmod(0o755)
        new_stack(layout)
    finally:
        os.umask(before)

    assert {path.stat().st_mode & 0o077 for path in (layout.root, layout.logs)} == {0}
    assert [record.message for record in caplog.records] == [f"{layout.root} was open to other users (0755); now it is yours alone (0700)"]


def test_a_port_that_is_taken_is_not_swapped_for_another(layout: Layout) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaptopError, match=f"port {port} .* is taken"):
            new_stack(layout, port=port)


def test_reset_leaves_downloads_and_nothing_else(layout: Layout) -> None:
    for name in ("cache/models", "minipachd/packs", "postgres", "results"):
        (layout.root / name).mkdir(parents=True)
    write_private(layout.secrets, {"password": "p"})

    reset(layout)

    assert [path.name for path in layout.root.iterdir()] == ["cache"]


def test_reset_refuses_while_it_runs(layout: Layout) -> None:
    import psutil

    layout.pachd_data.mkdir(parents=True)
    stack = Stack(layout, AirflowSettings(port=1, password="p", jwt_secret="j", secret_key="s"))
    mine = psutil.Process()
    stack.process = Process("supervisor", mine.pid, mine.create_time() - psutil.boot_time(), layout.root / "log")
    stack.save()

    with pytest.raises(LaptopError, match="make down first"):
        reset(layout)

    assert layout.pachd_data.exists()


class TestDemosHaveTheirOwnData:
    ours, theirs = (Inputs(Path(f"/{name}.pb"), Path(f"/{name}")) for name in ("ours", "theirs"))

    def ran(self, layout: Layout, origin: dict[str, object]) -> Path:
        """A folder in which something was made."""
        made = layout.pachd_data / "packs"
        made.mkdir(parents=True)
        (layout.cache / "models").mkdir(parents=True)
        write_private(layout.origin, origin)
        return made

    def test_the_first_one_and_the_same_again_use_the_usual_folder(self, layout: Layout) -> None:
        assert demo_layout(layout, self.ours) == layout
        made = self.ran(layout, {"demo": self.ours.identity})

        assert demo_layout(layout, self.ours) == layout
        assert made.exists()

    def test_one_of_other_images_starts_clean_and_says_so(self, layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
        made = self.ran(layout, {"demo": self.ours.identity})

        assert demo_layout(layout, self.theirs) == layout

        assert not made.exists()
        assert (layout.cache / "models").exists()
        assert "starts clean" in caplog.text

    @pytest.mark.parametrize("origin", [{"up": True}, None], ids=["of make up", "of a version before"])
    def test_what_make_up_has_made_is_left_alone(self, layout: Layout, origin: dict[str, object] | None) -> None:
        made = self.ran(layout, origin or {})
        if origin is None:
            layout.origin.unlink()

        assert demo_layout(layout, self.theirs).root == layout.root / "demo"
        assert made.exists()


def test_a_disk_without_room_is_named_with_what_is_free_and_what_is_needed(layout: Layout) -> None:
    Room(layout.root).check()
    with pytest.raises(
        LaptopError, match=rf"disk full: \d+ MiB free on {mount_of(layout.root.parent)}, needed {2**40} MiB for {layout.root}"
    ):
        Room(layout.root).check(needed=2**60)


def test_the_unit_for_systemd_keeps_the_settings_and_quotes_them(layout: Layout, tmp_path: Path) -> None:
    odd = tmp_path / 'a "b" %h $HOME'
    environ = {"TUSKWATCH_LANDING": str(odd), "TUSKWATCH_LOCAL": "other", "SENDGRID_API_KEY": "SG.key", "PATH": "/bin"}

    text = unit(layout, environ, model=odd / "m.pb", port=8090, root=True)

    escaped = str(odd).replace('"', '\\"').replace("%", "%%")
    assert f'Environment="TUSKWATCH_LANDING={escaped}"' in text
    assert f'Environment="TUSKWATCH_LOCAL={layout.root}"' in text
    assert "PATH=/bin" not in text
    assert '"serve" "--port" "8090" "--model"' in text
    assert escaped.replace("$", "$$") in text
    if (analyze := shutil.which("systemd-analyze")) is not None:
        path = tmp_path / "tuskwatch.service"
        path.write_text(text)
        done = subprocess.run([analyze, "verify", str(path)], capture_output=True, text=True)
        assert "tuskwatch.service" not in done.stderr, done.stderr


@pytest.mark.parametrize("target", ["backup", "restore"])
def test_a_backup_wants_a_file(target: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "--no-print-directory", "-o", "setup", target], cwd=REPOSITORY, env=env, capture_output=True, text=True)

    assert done.returncode != 0
    assert f"make {target} FILE=" in done.stderr
