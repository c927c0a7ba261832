"""Secrets that pipelines may name: one file each, readable by the server's user alone. Their values are never logged and never returned."""

import contextlib
import json
import os
import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minipachd.errors import AlreadyExistsError, InvalidError, NotFoundError
from minipachd.storage.directory import fsync_directory

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class SecretNotFoundError(NotFoundError):
    """No secret has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'secrets "{name}" not found')
        self.name = name


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """What may be told of a secret."""

    name: str
    type: str
    created_ns: int


class Secrets:
    """Kept below one directory of mode 0700.

    :ivar root: That directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, document: bytes, *, now_ns: int) -> None:
        """Store a Kubernetes ``Secret`` document.

        :raises InvalidError: It is not one. :raises AlreadyExistsError: Delete the old one first.
        """
        name, kind, values = _parse(document)
        path = self._path(name)
        temporary = path.with_suffix(".new")
        if path.exists():
            raise AlreadyExistsError(f'secrets "{name}" already exists')
        data = json.dumps({"type": kind, "created_ns": now_ns, "values": {key: value.hex() for key, value in values.items()}})
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_directory(self.root)

    def inspect(self, name: str) -> SecretInfo:
        """:raises SecretNotFoundError: There is none."""
        stored = self._load(name)
        return SecretInfo(name, stored["type"], stored["created_ns"])

    def list(self) -> list[SecretInfo]:
        return [self.inspect(path.stem) for path in sorted(self.root.glob("*.json"))]

    def delete(self, name: str) -> None:
        """:raises SecretNotFoundError: There is none."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise SecretNotFoundError(name) from None
        fsync_directory(self.root)

    def delete_all(self) -> None:
        for path in self.root.glob("*.json"):
            path.unlink()
        fsync_directory(self.root)

    def values(self, name: str) -> dict[str, bytes]:
        """The values by key: for user code that names the secret, and for nobody else.

        :raises SecretNotFoundError: There is none.
        """
        return {key: bytes.fromhex(value) for key, value in self._load(name)["values"].items()}

    def write_files(self, name: str, folder: Path) -> None:
        """Make a directory with one file per key, as ``mount_path`` shows it. Whoever may enter the directory may read them.

        :raises SecretNotFoundError: There is none.
        """
        values = self.values(name)
        folder.mkdir()
        for key, value in values.items():
            path = folder / key
            path.write_bytes(value)
            path.chmod(0o444)

    def _load(self, name: str) -> dict[str, Any]:
        try:
            stored: dict[str, Any] = json.loads(self._path(name).read_text())
        except FileNotFoundError:
            raise SecretNotFoundError(name) from None
        return stored

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise SecretNotFoundError(name)
        return self.root / f"{name}.json"


def _parse(document: bytes) -> tuple[str, str, dict[str, bytes]]:
    """Name, type and decoded values."""
    try:
        secret = json.loads(document)
        name = str(secret["metadata"]["name"])
        values = {str(key): b64decode(value, validate=True) for key, value in (secret.get("data") or {}).items()}
        values |= {str(key): str(value).encode() for key, value in (secret.get("stringData") or {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, Base64Error) as exc:
        kind = type(exc).__name__  # its text might quote a value
        raise InvalidError(
            f"failed to parse secret data ({kind}): it must be the JSON of a Kubernetes Secret with metadata.name, and data in base64"
        ) from None
    if not _NAME.fullmatch(name):
        raise InvalidError(f"secret name {name!r} is invalid: lower-case letters, digits, '-' and '.', at most 253")
    for key in values:
        if not _KEY.fullmatch(key) or key in (".", ".."):
            raise InvalidError(f"secret {name!r} has the invalid key {key!r}: letters, digits, '-', '_' and '.', at most 253")
    return name, str(secret.get("type") or "Opaque"), values
