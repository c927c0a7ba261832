"""Content that the server fetches itself: ``file://``, ``http(s)://``, and every object store that fsspec knows."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from minipachd.errors import InvalidError, UnsupportedError

_READ_BYTES = 1 << 20
_SCHEMES = {"wasb": "abfs", "azblob": "abfs", "as": "abfs", "minio": "s3"}  # Pachyderm's names for what fsspec calls otherwise


class Source(NamedTuple):
    """One object behind a URL.

    :ivar name: Relative to the URL; empty for the object that the URL itself names.
    """

    name: str
    pieces: Iterator[bytes]


def open_url(url: str, *, recursive: bool) -> Iterator[Source]:
    """The object that a URL names or, when ``recursive``, everything below it.

    :raises InvalidError: It cannot be read: names the URL and the cause.
    :raises UnsupportedError: Nothing here knows the scheme.
    """
    filesystem, path = filesystem_of(url)
    if not recursive:
        yield Source("", _pieces(filesystem, path, url))
        return
    root = path.rstrip("/")
    try:
        found = sorted(filesystem.find(root))
    except Exception as exc:
        raise _failed(url, exc) from exc
    if not found:
        raise InvalidError(f"error retrieving content from {url}: nothing is there")
    for name in found:
        yield Source(name.removeprefix(root).lstrip("/"), _pieces(filesystem, name, f"{url} ({name})"))


def filesystem_of(url: str) -> tuple[Any, str]:
    """What fsspec reads and writes a URL with, and the path in there.

    :raises InvalidError: It is no URL. :raises UnsupportedError: Nothing here knows the scheme.
    """
    import fsspec

    scheme, separator, rest = url.partition("://")
    if not separator:
        raise InvalidError(f"{url!r} is no URL; give one such as https://host/path, gs://bucket/path or file:///path")
    try:
        filesystem, path = fsspec.core.url_to_fs(f"{_SCHEMES.get(scheme, scheme)}://{rest}")
    except (ImportError, ValueError) as exc:
        raise UnsupportedError(f"unsupported scheme {scheme!r} in {url!r}: {exc}") from exc
    return filesystem, path


def _pieces(filesystem: Any, path: str, url: str) -> Iterator[bytes]:
    try:
        with filesystem.open(path, "rb", cache_type="none") as file:
            while piece := file.read(_READ_BYTES):
                yield piece
    except Exception as exc:
        raise _failed(url, exc) from exc


def _failed(url: str, cause: Exception) -> InvalidError:
    """Every backend has its own errors; what they say is what helps."""
    return InvalidError(f"error retrieving content from {url}: {type(cause).__name__}: {cause}")
