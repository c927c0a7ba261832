"""The page itself. Its files are read once; a path is looked up among them and never opened."""

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from starlette.exceptions import HTTPException

from airflow_pachyderm.dashboard.zone import zone_name

router = APIRouter()

_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """The page's files by their path below ``static``."""
    return dict(_walk(files("airflow_pachyderm.dashboard") / "static", ""))


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _walk(item, f"{prefix}{item.name}/")
        else:
            content = item.read_bytes()
            if not prefix and item.name == "index.html":
                content = content.replace(b'data-time-zone="UTC"', f'data-time-zone="{escape(zone_name())}"'.encode())
            suffix = item.name[item.name.rfind(".") :]
            media_type = _TYPES.get(suffix) or mimetypes.guess_type(item.name)[0] or "text/plain"
            found.append((f"{prefix}{item.name}", StaticFile(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')))
    return found


@router.get("/{path:path}")
def page(path: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """A file of the page."""
    file = static_files().get(path or "index.html")
    if file is None:
        raise HTTPException(404, "There is no such page")
    headers = {"ETag": file.etag, "Cache-Control": "private, no-cache"}
    if if_none_match == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
