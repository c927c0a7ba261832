"""A commit's files as a TAR stream."""

import tarfile
from collections.abc import Iterable, Iterator

from minipachd.pfs import Commit, FileInfo, FileKind, FileTree, Pfs

_BLOCK_BYTES = 1 << 20


def tar_stream(pfs: Pfs, files: FileTree, matches: Iterable[FileInfo], commit: Commit) -> Iterator[bytes]:
    """Blocks of about 1 MiB of an archive with everything that matched; of a directory, all that is below it, each path once.

    :raises CorruptError: While iterating: a file's bytes are damaged. The archive then has no end.
    """
    buffer = bytearray()
    for piece in _archive(pfs, files, matches, commit):
        buffer += piece
        if len(buffer) >= _BLOCK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    buffer += bytes(2 * tarfile.BLOCKSIZE)
    yield bytes(buffer)


def _archive(pfs: Pfs, files: FileTree, matches: Iterable[FileInfo], commit: Commit) -> Iterator[bytes]:
    inside = None  # the directory that is being written: what matched below it comes with it
    for match in matches:
        if inside is not None and match.path.startswith(inside):
            continue
        if match.kind is FileKind.DIR:
            inside = match.path
        for info in files.walk(match.path):
            yield _header(info)
            entry = files.get(info.path) if info.kind is FileKind.FILE else None
            if entry is not None:
                yield from pfs.read(entry, commit=commit)
                yield bytes(-entry.size % tarfile.BLOCKSIZE)


def _header(info: FileInfo) -> bytes:
    header = tarfile.TarInfo(info.path)
    header.mode = 0
    if info.kind is FileKind.DIR:
        header.type = tarfile.DIRTYPE
    else:
        header.size = info.size
    return header.tobuf(tarfile.GNU_FORMAT)
