"""Passwords and keys of one installation: made at random at the first start, kept, and renewed when asked."""

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


def write_passwords(layout: Layout, settings: AirflowSettings) -> None:
    """Give Airflow the passwords; it reads them at each login."""
    write_private(layout.airflow_home / "passwords.json", {"admin": settings.password, "viewer": settings.viewer_password})


def _new_passwords() -> dict[str, str]:
    return {"password": secrets.token_urlsafe(16), "viewer_password": secrets.token_urlsafe(16)}
