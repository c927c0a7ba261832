"""Content that the server fetches itself: ``http(s)://``, object stores, and ``file://`` where it is allowed."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from minipachd.errors import ForbiddenError, InvalidError, UnsupportedError
from minipachd.pfs.local_files import LocalFiles

_READ_BYTES = 1 << 20
_CONNECT_SECONDS, _SILENT_SECONDS = 30.0, 60.0
_SCHEMES = {scheme: scheme for scheme in ("http", "https", "gs", "gcs", "s3", "s3a", "abfs", "abfss", "az", "adl", "oss", "oci")} | {
    "wasb": "abfs",  # and other names of Pachyderm's for what fsspec calls otherwise
    "azblob": "abfs",
    "as": "abfs",
    "minio": "s3",
}
"""What is not on this machine. fsspec knows more, and most of that reads local files in the end: archives, caches, git."""
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"\?\S*")


class Source(NamedTuple):
    """One object behind a URL.

    :ivar name: Relative to the URL; empty for the object that the URL itself names.
    """

    name: str
    pieces: Iterator[bytes]


def open_url(url: str, *, recursive: bool, local: LocalFiles) -> Iterator[Source]:
    """The object that a URL names or, when ``recursive``, everything below it.

    :raises InvalidError: It cannot be read: names the URL and the cause.
    :raises ForbiddenError: It is a file of this machine that is not open to callers.
    :raises UnsupportedError: Nothing here knows the scheme.
    """
    path = local_path(url)
    find: Callable[[str], Iterator[str]]
    read: Callable[[str], BinaryIO]
    if path is None:
        filesystem, path = filesystem_of(url)
        find, read = (lambda root: iter(sorted(filesystem.find(root)))), partial(filesystem.open, mode="rb", cache_type="none")
    else:
        find, read = local.find, local.open
    if not recursive:
        yield Source("", _pieces(read, path, url))
        return
    root = path.rstrip("/")
    empty = True
    try:
        for name in find(root):
            empty = False
            yield Source(name.removeprefix(root).lstrip("/"), _pieces(read, name, url))
    except (ForbiddenError, InvalidError):
        raise
    except Exception as exc:
        raise _failed(url, exc) from exc
    if empty:
        raise InvalidError(f"error retrieving content from {shown(url)}: nothing is there")


def local_path(url: str) -> str | None:
    """The path of a ``file://`` URL; None for any other."""
    scheme, separator, rest = url.partition("://")
    return f"/{rest.lstrip('/')}" if separator and scheme.lower() == "file" else None


def filesystem_of(url: str) -> tuple[Any, str]:
    """What fsspec reads and writes a URL of another machine with, and the path in there.

    :raises InvalidError: It is no URL. :raises UnsupportedError: Nothing here knows the scheme.
    """
    import fsspec

    scheme, separator, rest = url.partition("://")
    if not separator:
        raise InvalidError(f"{url!r} is no URL; give one such as https://host/path, gs://bucket/path or file:///path")
    known = _SCHEMES.get(scheme.lower())
    if known is None or "::" in rest:
        raise UnsupportedError(
            f"unsupported scheme {scheme!r} in {shown(url)!r}: the server reads and writes file, {', '.join(sorted(_SCHEMES))}"
        )
    options: dict[str, Any] = {}
    if known in ("http", "https"):
        import aiohttp

        options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)}
    try:
        filesystem, path = fsspec.core.url_to_fs(f"{known}://{rest}", **options)
    except (ImportError, ValueError) as exc:
        raise UnsupportedError(f"unsupported scheme {scheme!r} in {shown(url)!r}: {exc}") from exc
    return filesystem, path


def check_target(url: str, local: LocalFiles) -> None:
    """Whether files may ever be written below a URL.

    :raises InvalidError: It is no URL. :raises UnsupportedError: Nothing here knows its scheme.
    :raises ForbiddenError: It is a place of this machine that is not open to callers.
    """
    path = local_path(url)
    if path is None:
        filesystem_of(url)
    else:
        local.check_writable(f"{path.rstrip('/')}/file")


def shown(url: str) -> str:
    """A URL, or a text with one, as it may be printed: without user, password, and query, which may be a signature."""
    return _QUERY.sub("?…", _USER.sub("", url))


def _pieces(read: Callable[[str], Any], path: str, url: str) -> Iterator[bytes]:
    try:
        with read(path) as file:
            while piece := file.read(_READ_BYTES):
                yield piece
    except ForbiddenError:
        raise
    except Exception as exc:
        raise _failed(url, exc) from exc


def _failed(url: str, cause: Exception) -> InvalidError:
    """Every backend has its own errors; what they say is what helps."""
    return InvalidError(f"error retrieving content from {shown(url)}: {type(cause).__name__}: {shown(str(cause))}")
