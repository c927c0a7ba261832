"""Make the secrets of one installation, each once, as files: ``python3 airflow-secrets.py FOLDER [TOKEN_FOLDER]``."""

import base64
import ipaddress
import json
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

_CERTIFICATE_DAYS = 825  # the most that browsers take


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


def main(folder: Path, token_folder: Path) -> None:
    """:param token_folder: What minipachd's container sees, and with it the code of the stages: the token, and no secret of Airflow's."""
    password = keep(folder / "postgres-password", secrets.token_urlsafe(24))
    keep(folder / "sql-alchemy-conn", f"postgresql+psycopg2://airflow:{password}@postgres/airflow")
    keep(folder / "jwt-secret", secrets.token_urlsafe(64))
    keep(folder / "api-secret-key", secrets.token_urlsafe(32))
    token = keep(token_folder / "token", secrets.token_urlsafe(32), mode=0o400)
    connection = {"conn_type": "pachyderm", "host": "minipachd", "port": 30650, "password": token}
    keep(folder / "pachyderm-connection", json.dumps(connection), mode=0o400)
    keep(folder / "fernet-key", base64.urlsafe_b64encode(os.urandom(32)).decode())
    logins = {"admin": secrets.token_urlsafe(16), "viewer": secrets.token_urlsafe(16)}
    keep(folder / "passwords.json", json.dumps(logins), mode=0o600)  # Airflow opens it for writing


def keep_certificate(folder: Path, host: str) -> None:
    """Make a certificate for a name or address, unless there is one for it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    named = folder / "tls.host"
    if named.exists() and named.read_text(encoding="utf-8") == host:
        return
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path in (folder / "tls.key", folder / "tls.crt", named):
        path.unlink(missing_ok=True)
    keep(folder / "tls.key", private.decode(), mode=0o400)
    keep(folder / "tls.crt", certificate.public_bytes(serialization.Encoding.PEM).decode())
    keep(named, host)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[-1]))
    if lan := os.environ.get("TUSKWATCH_LAN"):
        keep_certificate(Path(sys.argv[1]), lan)
