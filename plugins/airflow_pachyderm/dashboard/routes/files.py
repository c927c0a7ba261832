"""File contents. What a repo holds may be hostile: it is sent as an image, as plain text or as a download, and never runs."""

import atexit
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Annotated, Final
from urllib.parse import quote

from annotated_types import Ge, Le
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import StreamingResponse

from airflow_pachyderm.dashboard import files, models
from airflow_pachyderm.dashboard.gateway import Gateway, get_gateway
from airflow_pachyderm.dashboard.names import FilePath, Name
from airflow_pachyderm.dashboard.security import CONTENT_POLICY
from airflow_pachyderm.dashboard.thumbnails import MEDIA_TYPE, Thumbnails

router = APIRouter(prefix="/api/repos/{repo}")
GatewayDep = Annotated[Gateway, Depends(get_gateway)]

_thumbnails: Final = Thumbnails()
atexit.register(_thumbnails.close)
# Of each event loop: who waits for a thumbnail waits here, and holds none of the threads that answer other requests.
_one_at_a_time: Final[RunVar[CapacityLimiter]] = RunVar("thumbnails")


@router.get("/raw")
def raw(
    gateway: GatewayDep,
    repo: Name,
    path: FilePath,
    *,
    ref: Name = "master",
    download: bool = False,
    max_bytes: Annotated[int | None, Ge(1), Le(1 << 40)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A file's content, or its beginning."""
    file = files.inspect(gateway, repo, ref=ref, path=path)
    headers = _headers(file, part=f"-{max_bytes}" if max_bytes else "")
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    blocks = files.read_blocks(gateway, file, max_bytes=max_bytes)
    head = next(blocks, b"")  # here, so that an error is still an answer
    media_type = files.content_type(head, path)
    name = quote(path.rpartition("/")[2], safe="")
    disposition = "attachment" if download or media_type == files.BINARY else "inline"
    headers["Content-Disposition"] = f"{disposition}; filename*=UTF-8''{name}"
    headers["Content-Length"] = str(min(file.size_bytes, max_bytes) if max_bytes else file.size_bytes)
    headers["Content-Type"] = media_type  # as it is: a media type of our own choice would be completed with a charset
    return StreamingResponse(_joined(head, blocks), headers=headers)


@router.get("/thumbnail")
async def thumbnail(
    gateway: GatewayDep, repo: Name, path: FilePath, *, ref: Name = "master", if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A small image of an image."""
    file = await to_thread.run_sync(partial(files.inspect, gateway, repo, ref=ref, path=path))
    headers = _headers(file, part="-thumbnail")
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    made = _thumbnails.held(file.digest)
    if made is None:
        made = await to_thread.run_sync(_thumbnails.get, gateway, file, limiter=_limiter())
    return Response(made, media_type=MEDIA_TYPE, headers=headers)


def _limiter() -> CapacityLimiter:
    try:
        return _one_at_a_time.get()
    except LookupError:
        limiter = CapacityLimiter(1)
        _one_at_a_time.set(limiter)
        return limiter


def _joined(head: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    return chain((head,), blocks)


def _headers(file: models.FileRef, *, part: str) -> dict[str, str]:
    # A browser asks again before it shows what it has: its next user may not be logged in.
    return {"ETag": f'"{file.digest}{part}"', "Cache-Control": "private, no-cache", "Content-Security-Policy": CONTENT_POLICY}
