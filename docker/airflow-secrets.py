"""Make the secrets of one installation, each once, as files in a folder: ``python3 airflow-secrets.py /secrets``."""

import base64
import json
import os
import secrets
import sys
from pathlib import Path


def keep(path: Path, value: str, *, mode: int = 0o444) -> str:
    """Write ``value`` unless the file is there, and return what it holds. A killed run leaves no half file.

    :param mode: Readable by all, since the database server runs as another user; only the containers that need them see the folder.
    """
    if not path.exists():
        staged = path.with_suffix(".new")
        staged.write_text(value, encoding="utf-8")
        staged.chmod(mode)
        staged.replace(path)
    return path.read_text(encoding="utf-8")


def main(folder: Path) -> None:
    password = keep(folder / "postgres-password", secrets.token_urlsafe(24))
    keep(folder / "sql-alchemy-conn", f"postgresql+psycopg2://airflow:{password}@postgres/airflow")
    keep(folder / "jwt-secret", secrets.token_urlsafe(64))
    keep(folder / "api-secret-key", secrets.token_urlsafe(32))
    keep(folder / "fernet-key", base64.urlsafe_b64encode(os.urandom(32)).decode())
    logins = {"admin": secrets.token_urlsafe(16), "viewer": secrets.token_urlsafe(16)}
    keep(folder / "passwords.json", json.dumps(logins), mode=0o600)  # Airflow opens it for writing


main(Path(sys.argv[1]))
