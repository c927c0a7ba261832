"""Whether two systems made the same files."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

# What may differ from run to run, by folder: the reason why no mail went out names the hours since the picture was taken.
IGNORED: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {"threat-detect": (("alert", "reason"),)}


def differences(expected: Path, found: Path) -> list[str]:
    """What differs between two folders, file by file, in words; nothing when they are the same.

    JSON files are compared without the fields of :data:`IGNORED`, all others byte by byte.
    """
    left, right = (dict(_files(root)) for root in (expected, found))
    missing = [f"{path} is missing" for path in sorted(left.keys() - right.keys())]
    extra = [f"{path} is too much" for path in sorted(right.keys() - left.keys())]
    other = [f"{path} differs" for path in sorted(left.keys() & right.keys()) if _content(path, left[path]) != _content(path, right[path])]
    return [*missing, *extra, *other]


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in root.rglob("*"):
        if path.is_file():
            yield path.relative_to(root).as_posix(), path


def _content(name: str, path: Path) -> Any:
    data = path.read_bytes()
    ignored = IGNORED.get(name.partition("/")[0], ())
    if not ignored or path.suffix != ".json":
        return data
    value = json.loads(data)
    for *parents, last in ignored:
        place = value
        for parent in parents:
            place = place.get(parent, {})
        place.pop(last, None)
    return value
