"""Differences between two file trees, directories included, as DiffFile shows them."""

from collections.abc import Iterator

from minipachd.pfs import paths
from minipachd.pfs.filetree import FileTree
from minipachd.pfs.types import FileInfo


def changed_paths(new: FileTree, new_path: str, old: FileTree, old_path: str) -> Iterator[tuple[FileInfo | None, FileInfo | None]]:
    """(new, old) of every file and directory that differs, in the order of the paths; None where it does not exist.

    The paths are compared as they are: what lies under another path is another file. Costs about the number of changes when both paths
    are the same.
    """
    new_path, old_path = paths.clean(new_path), paths.clean(old_path)
    if new_path != old_path:
        yield from _merged(new.walk(new_path), old.walk(old_path))
        return
    changed: set[str] = set()
    for before, after in new.diff(old, new_path):
        entry = after or before
        if entry is not None:
            changed.add(entry.path)
            changed.update(directory for directory in paths.ancestors(entry.path) if directory.startswith(new_path))
    for path in sorted(changed):
        yield _at(new, path), _at(old, path)


def _at(files: FileTree, path: str) -> FileInfo | None:
    """What is at a path, if it is of the kind that the path's end says."""
    info = files.info(path)
    return info if info is not None and info.path.endswith("/") == path.endswith("/") else None


def _merged(new: Iterator[FileInfo], old: Iterator[FileInfo]) -> Iterator[tuple[FileInfo | None, FileInfo | None]]:
    after, before = next(new, None), next(old, None)
    while after is not None or before is not None:
        if before is None or (after is not None and after.path < before.path):
            yield after, None
            after = next(new, None)
        elif after is None or before.path < after.path:
            yield None, before
            before = next(old, None)
        else:
            if after.hash != before.hash:
                yield after, before
            after, before = next(new, None), next(old, None)
