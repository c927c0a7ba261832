"""Looking through folders of images so that one odd thing costs only itself, and is told.

Cameras and recorders leave links that lead round in circles, folders that nobody may enter, two files of one name. Each of these is passed
over with its reason; the rest is listed.
"""

import errno
import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from airflow_pachyderm.exceptions import PachydermInvalidError, PachydermSourceError
from airflow_pachyderm.files import SourceFile, is_folder, open_filesystem, repo_path

_NAMES_KEPT: Final = 20
MOST_COUNTED: Final = 1000
_VERSION_FIELDS: Final = ("generation", "etag", "ETag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")
_ODD: Final = {
    errno.ELOOP: "a link that leads round in a circle",
    errno.ENOENT: "a link to nothing",
    errno.EACCES: "nobody may look at it",
}
SAME_NAME: Final = "another file of this name is pushed: in Pachyderm all images lie in one folder"


LEADS_OUT: Final = "a link that leads out of the folders that may be pushed from"


@dataclass(frozen=True)
class Found:
    """An image in a folder.

    :ivar file: As it is to be pushed.
    :ivar version: Changes when the image is written again: its time, or what the store calls its version. Empty when nothing tells.
    """

    file: SourceFile
    version: str = ""


@dataclass
class PassedOver:
    """What was not pushed, counted by reason.

    :ivar counts: By reason.
    :ivar names: Some of them, by reason.
    """

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str, *, count: int = 1) -> None:
        """Count something; of each reason the first names are kept."""
        self.counts[reason] = self.counts.get(reason, 0) + count
        kept = self.names.setdefault(reason, [])
        if len(kept) < _NAMES_KEPT:
            kept.append(name)

    def as_json(self) -> list[dict[str, Any]]:
        """For an XCom and a report, the most frequent reason first."""
        reasons = sorted(self.counts, key=lambda reason: -self.counts[reason])
        return [{"why": reason, "count": self.counts[reason], "names": self.names[reason]} for reason in reasons]


@dataclass(frozen=True)
class Entry:
    """Something in a directory.

    :ivar kind: ``file``, ``folder``, or in words why it is neither.
    :ivar link_to: What a link leads to, a path of this machine; else empty.
    """

    name: str
    kind: str
    size: int | None = None
    version: str = ""
    link_to: str = ""


class _Below(PassedOver):
    """Names are told as below a folder."""

    def __init__(self, passed: PassedOver, shown: str) -> None:
        super().__init__()
        self._passed, self._shown = passed, shown

    def add(self, reason: str, name: str, *, count: int = 1) -> None:
        self._passed.add(reason, f"{self._shown}/{name}", count=count)


def list_images(folder: str, pattern: str, passed: PassedOver, *, shown: str = "", roots: Sequence[str] = ()) -> Iterator[Found]:
    """The images of a folder, in order of their paths below it, links last.

    :param folder: Path or URL.
    :param pattern: Glob that a file's path below the folder must match; only with ``**`` in it, or with a slash, are folders entered.
    :param passed: Gets what the pattern asks for and what is not listed all the same.
    :param shown: What to put before the names in ``passed``.
    :param roots: Real paths of folders of this machine that links may lead into; by default the folder alone. Others are passed over.
    :raises PachydermInvalidError: The pattern is no glob.
    :raises PachydermSourceError: The folder is not there, is none, or cannot be read.
    """
    parts = [part for part in pattern.split("/") if part]
    if not parts:
        raise PachydermInvalidError(f"{pattern!r} is no glob; give for example *.jpg, or **/*.jpg to look into subfolders")
    require_folder(folder)
    passed = _Below(passed, shown) if shown else passed
    filesystem, root = open_filesystem(folder)
    base = folder.rstrip("/") if "://" in folder else f"file://{root.rstrip('/')}"
    roots = roots or folder_roots(folder)
    if "file" in filesystem.protocol and not root_of(os.path.realpath(root), roots):
        passed.add(LEADS_OUT, "")
        return
    walk = _Walk(filesystem, root.rstrip("/") or "/", parts, passed, roots)
    links: list[tuple[str, Entry]] = []
    targets: set[str] = set()
    for relative, real, entry in walk:
        if entry.link_to:
            links.append((relative, entry))
        else:
            targets.add(real)
            yield Found(SourceFile(repo_path(relative), f"{base}/{relative}", entry.size, root_of(real, roots)), entry.version)
    for relative, entry in links:
        if entry.link_to in targets:
            passed.add("a link to an image that is pushed itself", relative)
        else:
            targets.add(entry.link_to)
            within = root_of(entry.link_to, roots)
            yield Found(SourceFile(repo_path(relative), f"{base}/{relative}", entry.size, within), entry.version)


def folder_roots(folder: str) -> list[str]:
    """The real path of a folder of this machine, which links in it may not leave; empty for other URLs."""
    filesystem, root = open_filesystem(folder)
    return [os.path.realpath(root)] if "file" in filesystem.protocol else []


def root_of(real: str, roots: Sequence[str]) -> str:
    """Which of the roots a real path lies in; empty for none."""
    return next((root for root in roots if real == root or real.startswith(f"{root.rstrip('/')}/")), "")


def unique(files: Iterable[Found], passed: PassedOver, *, preferred: Collection[str] = ()) -> Iterator[Found]:
    """The files, flat: images lie in the root of their repo whatever folder they come from. Of two with one name the first is taken.

    :param preferred: URLs of files that are taken before others of their name.
    """
    ordered = sorted(files, key=lambda found: found.file.url not in preferred) if preferred else files
    taken: dict[str, str] = {}
    for found in ordered:
        path = "/" + found.file.path.rpartition("/")[2]
        if path in taken:
            passed.add(SAME_NAME, f"{found.file.url} ({taken[path]})")
            continue
        taken[path] = found.file.url
        yield Found(replace(found.file, path=path), found.version)


def require_folder(folder: str) -> None:
    """Do nothing where there is a folder.

    :raises PachydermSourceError: There is none, or nobody can tell.
    """
    if is_folder(folder):
        return
    filesystem, root = open_filesystem(folder)
    why = "is a file" if filesystem.exists(root) else "does not exist"
    raise PachydermSourceError(f"Folder {folder} {why} where this task runs; give a folder that it can read", url=folder)


def entries(folder: str, shown: str, passed: PassedOver, *, roots: Sequence[str] = ()) -> list[Entry]:
    """The files and folders that lie directly in a folder, by name.

    :param shown: What to call the folder in ``passed``; empty for the one whose failure to be read is an error.
    :param roots: As in :func:`list_images`.
    :raises PachydermSourceError: It cannot be read.
    """
    filesystem, root = open_filesystem(folder)
    found = []
    for entry in _entries(filesystem, root.rstrip("/") or "/", shown, passed, roots or folder_roots(folder)):
        if entry.kind in ("file", "folder"):
            found.append(entry)
        else:
            passed.add(entry.kind, f"{shown}/{entry.name}".lstrip("/"))
    return found


def count_files(folder: str, pattern: str = "**") -> int:
    """How many files in and below a folder match a glob, at most :data:`MOST_COUNTED`: what counts is that there are some."""
    filesystem, root = open_filesystem(folder)
    return sum(
        1 for _ in islice(_Walk(filesystem, root.rstrip("/") or "/", pattern.split("/"), PassedOver(), folder_roots(folder)), MOST_COUNTED)
    )


class _Walk:
    """The files below a folder that match a glob: path below it, real path, entry. Each directory is looked through once."""

    def __init__(self, filesystem: Any, root: str, parts: Sequence[str], passed: PassedOver, roots: Sequence[str]) -> None:
        self._filesystem, self._root, self._parts, self._passed, self._roots = filesystem, root, parts, passed, roots
        self._local = "file" in filesystem.protocol
        self._seen: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, str, Entry]]:
        return self._below(self._root, ())

    def _below(self, folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, str, Entry]]:
        real = os.path.realpath(folder) if self._local else folder
        if real in self._seen:
            self._passed.add("a link to a folder that is looked through anyway", "/".join(above) + "/")
            return
        self._seen.add(real)
        folders = []
        for entry in _entries(self._filesystem, folder, "/".join(above), self._passed, self._roots):
            if entry.kind == "folder":
                folders.append(entry)
            elif self._is_wanted((*above, entry.name), entry):
                yield "/".join((*above, entry.name)), f"{real.rstrip('/')}/{entry.name}", entry
        if "**" in self._parts or len(above) + 1 < len(self._parts):
            for entry in sorted(folders, key=lambda entry: (bool(entry.link_to), entry.name)):
                yield from self._below(f"{folder.rstrip('/')}/{entry.name}", (*above, entry.name))
        else:
            for entry in folders:
                glob = "/".join(self._parts)
                self._passed.add(
                    f"a folder, which the glob {glob} does not enter; **/{self._parts[-1]} does", "/".join((*above, entry.name)) + "/"
                )

    def _is_wanted(self, names: Sequence[str], entry: Entry) -> bool:
        if matches(names, self._parts):
            if entry.kind == "file":
                return True
            self._passed.add(entry.kind, "/".join(names))
        elif matches([name.lstrip(".") or "." for name in names], self._parts):
            self._passed.add("its name, or that of its folder, begins with a dot", "/".join(names))
        return False


def matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a path matches a glob, both split at slashes. As in a shell, a leading dot must be spelled out."""
    if not parts:
        return not names
    if parts[0] == "**":
        return any(matches(names[skip:], parts[1:] or ["*"]) for skip in range(len(names)))
    if not names or (names[0].startswith(".") and not parts[0].startswith(".")):
        return False
    return fnmatch.fnmatchcase(names[0], parts[0]) and matches(names[1:], parts[1:])


def _entries(filesystem: Any, folder: str, shown: str, passed: PassedOver, roots: Sequence[str]) -> list[Entry]:
    """What lies in a directory, by name. One below the folder that was asked for is passed over when it cannot be read."""
    try:
        found = _local_entries(folder, roots) if "file" in filesystem.protocol else _remote_entries(filesystem, folder)
        return sorted(found, key=lambda entry: entry.name)
    except Exception as exc:  # each fsspec back end raises its own SDK's errors; this is their edge
        if not shown:
            raise PachydermSourceError(f"Cannot list {folder}: {exc}; check the path and who may read it", url=folder) from exc
        passed.add(f"a folder that cannot be read: {getattr(exc, 'strerror', None) or exc}", f"{shown}/")
        return []


def _local_entries(folder: str, roots: Sequence[str]) -> Iterator[Entry]:
    with os.scandir(folder) as found:  # fsspec makes a dictionary of fifteen fields for each file
        for entry in found:
            link_to = os.path.realpath(entry.path) if entry.is_symlink() else ""
            try:
                status = entry.stat()
                kind = "folder" if entry.is_dir() else "file" if entry.is_file() else "no file: a pipe, a socket or a device"
            except OSError as exc:
                yield Entry(entry.name, _ODD.get(exc.errno or 0) or f"cannot be looked at: {exc.strerror}")
            else:
                if link_to and not root_of(link_to, roots):
                    kind = LEADS_OUT
                yield Entry(entry.name, kind, status.st_size, str(status.st_mtime_ns), link_to)


def _remote_entries(filesystem: Any, folder: str) -> Iterator[Entry]:
    for info in filesystem.ls(folder, detail=True):
        name = info["name"].rstrip("/").rpartition("/")[2]
        if name and info["name"].strip("/") != folder.strip("/"):  # object stores list a folder's own marker object
            yield Entry(name, "folder" if info["type"] == "directory" else "file", info.get("size"), _version(info))


def _version(info: Mapping[str, Any]) -> str:
    return next((str(info[name]) for name in _VERSION_FIELDS if info.get(name)), "")
