"""Contents of files, safe to hand to a browser."""

from collections.abc import Iterator
from typing import Any, Final

from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.dashboard import convert, models
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.names import literal_glob
from airflow_pachyderm.exceptions import PachydermNotFoundError, PachydermUnavailableError

CONTENT_TIMEOUT_SECONDS: Final = 600.0  # a large file over a slow line; the first bytes come at once
TEXT: Final = "text/plain; charset=utf-8"
BINARY: Final = "application/octet-stream"

# By their first bytes, not by their name: nothing else is ever sent as what a browser would render.
_IMAGES: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF87a", "image/gif"), (b"GIF89a", "image/gif"))


def inspect(gateway: Gateway, repo: str, *, ref: str, path: str) -> models.FileRef:
    """A file by its resolved commit.

    :param ref: Branch name or commit id.
    :raises NotThereError: There is no such file; a directory is none.
    """
    request = pfs_pb2.InspectFileRequest(file=gateway.file(repo, ref, path))
    try:
        info = gateway.ask(gateway.pfs.InspectFile, request, action=f"inspect {repo}@{ref}:{path}")
    except PachydermNotFoundError as exc:
        raise NotThereError(f"There is no file {path} in {repo}@{ref}") from exc
    if info.file_type != pfs_pb2.FILE:
        raise NotThereError(f"{path} in {repo}@{ref} is a directory, not a file")
    return convert.file_ref(info)


def read_blocks(gateway: Gateway, file: models.FileRef, *, max_bytes: int | None = None) -> Iterator[bytes]:
    """A file's content.

    :param max_bytes: Stop there.
    :raises PachydermUnavailableError: The stream ended early.
    """
    wanted = file.size_bytes if max_bytes is None else min(max_bytes, file.size_bytes)
    left = wanted
    for part in start_reading(gateway, file):
        block = part.value[:left]
        left -= len(block)
        if block:
            yield block
        if not left:
            return
    if left:
        raise PachydermUnavailableError(f"{file.repo}@{file.commit}:{file.path} ended {left} bytes early")


def start_reading(gateway: Gateway, file: models.FileRef) -> Any:
    """Begin to read a file, so that several can be read at once."""
    request = pfs_pb2.GetFileRequest(file=gateway.file(file.repo, file.commit, literal_glob(file.path)))
    return gateway.stream(
        gateway.pfs.GetFile, request, action=f"read {file.repo}@{file.commit}:{file.path}", timeout=CONTENT_TIMEOUT_SECONDS
    )


def content_type(head: bytes, path: str) -> str:
    """What to call content: an image that every browser shows, plain text, or bytes to be saved. Markup and scripts are plain text.

    :param head: The first block.
    """
    for magic, name in _IMAGES:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if b"\x00" in head or path.endswith((".pb", ".npy", ".zip", ".gz")):
        return BINARY
    try:
        head[:4096].decode()
    except UnicodeDecodeError as exc:
        if exc.start < len(head[:4096]) - 3:  # a character may be cut at the end
            return BINARY
    return TEXT
