"""Passwords and keys of one installation: made at random at the first start, kept, and renewed when asked."""

import os
import secrets

from laptop.airflow import AirflowSettings
from laptop.files import read_json, write_private
from laptop.layout import Layout


def keys(layout: Layout) -> dict[str, str]:
    """Those of this installation: ``password`` and ``viewer_password`` of Airflow's users, ``jwt_secret``, ``secret_key``."""
    kept = read_json(layout.secrets) or {}
    made = {**_new_passwords(), "jwt_secret": secrets.token_urlsafe(64), "secret_key": secrets.token_urlsafe(32)}
    if missing := made.keys() - kept.keys():
        kept |= {name: made[name] for name in missing}
        write_private(layout.secrets, kept)
    return {name: kept[name] for name in made}


def renew(layout: Layout) -> dict[str, str]:
    """Make new passwords, and a new key so that logins of before end with the next start."""
    renewed = {**keys(layout), **_new_passwords(), "jwt_secret": secrets.token_urlsafe(64)}
    write_private(layout.secrets, renewed)
    return renewed


def pachd_token(layout: Layout) -> str:
    """What minipachd asks its callers for: the content of the file that it reads, which is made where there is none."""
    path = layout.pachd_token
    layout.pachd_data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return path.read_text(encoding="utf-8").strip()


def write_passwords(layout: Layout, settings: AirflowSettings) -> None:
    """Give Airflow the passwords; it reads them at each login."""
    write_private(layout.airflow_home / "passwords.json", {"admin": settings.password, "viewer": settings.viewer_password})


def _new_passwords() -> dict[str, str]:
    return {"password": secrets.token_urlsafe(16), "viewer_password": secrets.token_urlsafe(16)}
