"""Paths inside a commit, and the tree keys that hold their content.

The key of a piece of content is its path, a zero byte, its tag. Zero sorts before every character of a path, so keys are in the order of
the paths, and everything below a directory ``/a/`` lies between ``/a/`` and ``/a0`` (``0`` comes right after ``/``).
"""

import re

from minipachd.errors import InvalidError

_LEGAL = re.compile(r"[ -~]+")
_GLOB_CHARACTERS = re.compile(r"[*?\[\]{}!()@+^]")
_SIMPLE = re.compile(r"(?:/[A-Za-z0-9_=,:%#&$'~;<>|\"`\\ -][A-Za-z0-9_.=,:%#&$'~;<>|\"`\\ -]*)+")
ROOT = "/"


def clean(path: str) -> str:
    """One leading slash, no doubled ones, none at the end, neither ``.`` nor ``..``: ``a//b/./`` is ``/a/b``; empty is ``/``."""
    if "//" in path or "/." in path or path[:1] == ".":
        path = _shortest(path)
    if not path.startswith("/"):
        path = "/" + path
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def _shortest(path: str) -> str:
    """Without its empty and relative elements, except for ``..`` at the start of a path without a slash before it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", ".") and (part != ".." or not path.startswith("/")):
            parts.append(part)
    return "/" + "/".join(parts)


def check(path: str) -> None:
    """Refuse a path that nothing may be written to, and that nothing may be deleted from.

    :param path: As the client wrote it; slashes in excess do no harm.
    :raises InvalidError: Names the path and what is wrong with it.
    """
    if _SIMPLE.fullmatch(path):
        return
    if not _LEGAL.fullmatch(path):
        raise InvalidError(f"path ({ascii(path)[1:-1]}) invalid: only printable ASCII characters allowed")
    if match := _GLOB_CHARACTERS.search(path):
        raise InvalidError(f"path ({path}) invalid: globbing character ({match[0]}) not allowed in path")
    if any(part in (".", "..") for part in path.split("/")):
        raise InvalidError(f"path ({path}) invalid: relative file paths are not allowed")


def key(path: str, tag: str) -> bytes:
    """The key of one piece of content."""
    return f"{path}\0{tag}".encode()


def split_key(tree_key: bytes) -> tuple[str, str]:
    """Path and tag of a key."""
    path, _, tag = tree_key.partition(b"\0")
    return path.decode(), tag.decode()


def pieces_range(path: str) -> tuple[bytes, bytes]:
    """Start and stop of the keys of one file, whatever their tags."""
    raw = path.encode()
    return raw + b"\0", raw + b"\x01"


def directory_range(path: str) -> tuple[bytes, bytes]:
    """Start and stop of the keys below a directory.

    :param path: Cleaned.
    """
    raw = path.encode()
    return (b"/", b"0") if path == "/" else (raw + b"/", raw + b"0")


def as_directory(path: str) -> str:
    """How a directory is shown: with a slash at its end."""
    return path if path.endswith("/") else path + "/"


def ancestors(path: str) -> list[str]:
    """The directories above a path, the root first, each with a slash at its end: ``/``, ``/a/`` for ``/a/b``."""
    return [path[: match.end()] for match in re.finditer("/", path[:-1])]
