"""The token that callers show: made once, kept in a file that only its owner may read."""

import logging
import os
import secrets
import stat
from pathlib import Path

from minipachd.errors import DataDirError

log = logging.getLogger(__name__)

_FEWEST_CHARACTERS = 16
_MOST_BYTES = 4096


def keep_token(path: Path) -> str:
    """What the file holds; it is made where there is none, and closed to others where it is open.

    :raises DataDirError: It cannot be made or read, or holds no token.
    """
    try:
        text = _read(path)
        if text is None:
            _make(path)
            text = _read(path)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise DataDirError(f"the token in {path} cannot be used: {reason}; name another file with --token-file") from exc
    if text is None or len(text) < _FEWEST_CHARACTERS or not text.isascii() or not text.isprintable() or " " in text:
        raise DataDirError(
            f"{path} holds no token: one line of at least {_FEWEST_CHARACTERS} characters without blanks; remove the file to have one made"
        )
    return text


def _read(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077 and os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
            log.warning("the token in %s could be read by other users (mode %o); it is its owner's alone now", path, mode)
        return file.read(_MOST_BYTES).decode().strip()


def _make(path: Path) -> None:
    staged = path.with_name(f"{path.name}.{os.getpid()}")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(descriptor)
        os.link(staged, path)  # unlike a rename it takes the place of nothing
    except FileExistsError:
        return  # somebody else was first
    finally:
        staged.unlink(missing_ok=True)
