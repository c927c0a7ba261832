"""Files of a datum: finding inputs and writing outputs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.common.errors import StageError
from stages.contract.names import shown

_MOST_DIGITS = 100


def walk_files(root: Path) -> Iterator[Path]:
    """Yield the files under ``root`` in name order; a ``root`` that is a file is yielded itself.

    :raises StageError: There is no ``root``, or a folder cannot be read.
    """
    if not root.exists():
        raise StageError(f"{root}: no such file or folder; is the input named so in the pipeline spec?")
    if not root.is_dir():
        yield root
        return
    for folder, names in walk_folders(root):
        for name in names:
            yield Path(folder, name)


def walk_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield ``root`` and the folders under it, in name order, each with the sorted names of its files.

    :raises StageError: A folder cannot be read, or there is none.
    """

    def refuse(error: OSError) -> None:
        raise StageError(f"{error.filename}: cannot be listed: {error.strerror}")

    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        subfolders.sort()
        yield folder, sorted(names)


def path_within(path: Path, root: Path) -> Path:
    """Return the path of a walked file relative to ``root``; its name where ``root`` is that file itself."""
    return Path(path.name) if path == root else path.relative_to(root)


def below(out: Path, path: str) -> Path:
    """Return where a path of the output repo, which begins with ``/``, lies in the output folder."""
    return out / path.removeprefix("/")


def read_bytes(path: Path, *, limit_bytes: int) -> bytes:
    """Read a small file.

    :raises StageError: It cannot be read or has more than ``limit_bytes``.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit_bytes + 1)
    except OSError as exc:
        raise StageError(f"{path.name}: cannot be read: {exc.strerror}") from exc
    if len(data) > limit_bytes:
        raise StageError(f"{path.name}: more than {limit_bytes} bytes; this cannot be the right file")
    return data


def read_json(path: Path, *, limit_bytes: int = 4 << 20) -> Any:
    """Read a JSON file.

    :raises StageError: It cannot be read, is too big, or is not JSON; the message has line and column.
    """
    data = read_bytes(path, limit_bytes=limit_bytes)
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_int=_whole, object_pairs_hook=_object)
        repeated = _first_repeated(value, "")
    except UnicodeDecodeError as exc:
        raise StageError(f"{path.name}: not JSON: not UTF-8 at byte {exc.start}") from exc
    except json.JSONDecodeError as exc:
        raise StageError(f"{path.name}: not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from exc
    except (ValueError, RecursionError) as exc:
        raise StageError(f"{path.name}: not JSON: {exc}") from exc
    if repeated:
        raise StageError(f"{path.name}: {shown(repeated)}: this field is there twice: remove one of them")
    return value


class _Repeated:
    """Stands for an object that has a field twice, until it is known where it lies.

    :ivar name: The field's.
    """

    def __init__(self, name: str) -> None:
        self.name = name


def _object(pairs: list[tuple[str, Any]]) -> Any:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            return _Repeated(name)
        fields[name] = value
    return fields


def _first_repeated(value: Any, where: str) -> str:
    """Return the path of the first field that is there twice, such as ``devices.gate.min_score``; empty when there is none."""
    if isinstance(value, _Repeated):
        return f"{where}.{value.name}".removeprefix(".")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for name, item in inner if (found := _first_repeated(item, f"{where}.{name}"))), "")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as JSON, the same bytes for the same value; folders are made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))  # file names may hold bytes that are no UTF-8


def link(target: Path, path: Path) -> None:
    """Make ``path`` a symlink to ``target``: Pachyderm stores the target's content without a copy.

    A link of an earlier run is replaced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target.absolute())


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file.

    :raises StageError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise StageError(f"{path.name}: cannot be read: {exc.strerror}") from exc


def file_identity(path: Path, *, commit: str | None) -> tuple[object, ...]:
    """Return a value that changes when the file may have changed, without reading it.

    :param commit: Pachyderm commit that the file comes from; it alone fixes the content of a path.
    :raises StageError: There is no such file.
    """
    try:
        stat = path.stat()
    except OSError as exc:
        raise StageError(f"{path}: cannot be read: {exc.strerror}") from exc
    if commit:
        return (commit, path, stat.st_size)
    return (path, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
