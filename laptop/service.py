"""``make service``: a unit for systemd, so that the stack starts with the machine."""

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from laptop.layout import REPOSITORY, Layout
from laptop.stack import AIRFLOW_PORT

NAME: Final = "tuskwatch.service"
_KEPT: Final = (
    "TUSKWATCH_",
    "MINIPACHD_",
    "SENDGRID_API_KEY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
_UNIT: Final = """\
# Written by make service. Starts, stops and watches the supervisor; that one starts the parts again.
[Unit]
Description=Tuskwatch: Airflow, PostgreSQL and minipachd
Wants=network-online.target
After=network-online.target

[Service]
WorkingDirectory={folder}
{environment}ExecStart={command}
Restart=on-failure
RestartSec=10
KillMode=mixed
TimeoutStopSec=120
UMask=0077

[Install]
WantedBy={target}
"""


def write(layout: Layout, *, model: Path | None, port: int | None) -> None:
    """Write the unit, and say what is to be done with it. It keeps what is set now: ``TUSKWATCH_…``, mail key, proxies, model and port."""
    root = os.geteuid() == 0
    folder = Path("/etc/systemd/system") if root else Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "systemd" / "user"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    path.touch(mode=0o600)
    path.chmod(0o600)  # it may hold a key
    path.write_text(unit(layout, dict(os.environ), model=model, port=port, root=root), encoding="utf-8")
    systemctl = "systemctl" if root else "systemctl --user"
    lines = [
        f"written: {path}",
        "  make down",
        f"  {systemctl} daemon-reload",
        f"  {systemctl} enable --now {NAME}",
    ]
    if not root:
        lines.append(f"  loginctl enable-linger {getpass.getuser()}   (so that it runs while you are not logged in)")
    lines += [f"its state: make status, {systemctl} status {NAME}", f"its passwords: {layout.secrets}"]
    sys.stdout.write("\n".join(lines) + "\n")


def unit(layout: Layout, environ: dict[str, str], *, model: Path | None, port: int | None, root: bool) -> str:
    """The unit's text."""
    command = [sys.executable, "-m", "laptop", "serve", "--port", str(port or AIRFLOW_PORT)]
    if model is not None:
        command += ["--model", str(model.resolve())]
    kept = {name: value for name, value in sorted(environ.items()) if name.startswith(_KEPT)}
    kept["TUSKWATCH_LOCAL"] = str(layout.root)
    lines = [f"Environment={_quoted(f'{name}={value}')}\n" for name, value in kept.items()]
    return _UNIT.format(
        folder=str(REPOSITORY).replace("%", "%%"),
        environment="".join(lines),
        command=" ".join(_quoted(word).replace("$", "$$") for word in command),
        target="multi-user.target" if root else "default.target",
    )


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return f'"{escaped}"'
