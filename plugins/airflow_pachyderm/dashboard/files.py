"""Contents of files, safe to hand to a browser."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from PIL import Image, ImageOps

from airflow_pachyderm.client.protocol import pfs_pb2
from airflow_pachyderm.dashboard import convert, models
from airflow_pachyderm.dashboard.errors import NotThereError
from airflow_pachyderm.dashboard.gateway import Gateway
from airflow_pachyderm.dashboard.names import literal_glob
from airflow_pachyderm.exceptions import PachydermNotFoundError, PachydermUnavailableError

CONTENT_TIMEOUT_SECONDS: Final = 600.0  # a large file over a slow line; the first bytes come at once
TEXT: Final = "text/plain; charset=utf-8"
BINARY: Final = "application/octet-stream"

THUMBNAIL_TYPE: Final = "image/webp"
_THUMBNAIL_SIDES: Final = (480, 360)
_THUMBNAIL_MAX_BYTES: Final = 32 << 20
_THUMBNAIL_MAX_PIXELS: Final = 50_000_000
_THUMBNAIL_CACHE_BYTES: Final = 32 << 20

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


class Thumbnails:
    """Small images by the digest of the large one; the last used stay in memory.

    Decoding is limited to one image at a time: the page asks for dozens at once, and Airflow's API server has other work.
    """

    def __init__(self, *, max_bytes: int = _THUMBNAIL_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.Lock()

    def get(self, gateway: Gateway, file: models.FileRef) -> bytes:
        """A thumbnail as WebP.

        :raises NotThereError: The file is no image, or too large to be decoded here.
        """
        with self._lock:
            if file.digest in self._held:
                self._held.move_to_end(file.digest)
                return self._held[file.digest]
        if file.size_bytes > _THUMBNAIL_MAX_BYTES:
            raise NotThereError(f"{file.path} is too large for a thumbnail")
        content = b"".join(read_blocks(gateway, file))
        with self._decoding:
            made = _thumbnail(content, file.path)
        self._hold(file.digest, made)
        return made

    def _hold(self, digest: str, content: bytes) -> None:
        with self._lock:
            if digest not in self._held:
                self._held[digest] = content
                self._held_bytes += len(content)
            while self._held_bytes > self._max_bytes:
                self._held_bytes -= len(self._held.popitem(last=False)[1])


def _thumbnail(content: bytes, path: str) -> bytes:
    if not content_type(content[:4096], path).startswith("image/"):
        raise NotThereError(f"{path} is no image")
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _THUMBNAIL_MAX_PIXELS:
                raise NotThereError(f"{path} has too many pixels for a thumbnail")
            image.draft("RGB", _THUMBNAIL_SIDES)  # a JPEG is decoded at a fraction of its size
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail(_THUMBNAIL_SIDES)
            out = io.BytesIO()
            small.save(out, "WEBP", quality=80, method=2)
            return out.getvalue()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise NotThereError(f"{path} is damaged: it cannot be decoded") from exc
