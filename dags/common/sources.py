"""Where what is pushed may come from: whoever may start a run is not to read every file that Airflow's user can."""

import os
import posixpath
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from airflow_pachyderm.exceptions import PachydermInvalidError
from airflow_pachyderm.files import open_filesystem
from airflow_pachyderm.urls import shown_url
from dags import settings
from dags.common.landing import root_of

_LOCAL: Final = ("", "file", "local")


def roots_of(config: settings.Settings) -> list[str]:
    """The folders of the setting ``sources``, and the landing area."""
    named = [root.strip() for root in re.split(r"[;\n]", config.sources)]
    return [root for root in (*named, config.landing) if root]


def require_allowed(url: str, config: settings.Settings, *, what: str, also: Sequence[str] = ()) -> None:
    """Do nothing where a person may have this pushed.

    :param url: What the form names.
    :param what: How to call it in the error.
    :param also: Files that the installation's settings name.
    :raises PachydermInvalidError: It lies below none of the folders that are allowed, once links are followed.
    """
    roots = roots_of(config)
    if any(_is_below(url, root) for root in (*roots, *filter(None, also))):
        return
    known = f"those are {', '.join(map(shown_url, roots))}" if roots else "none is set"
    raise PachydermInvalidError(
        f"{what} {shown_url(url)} is not below a folder that may be pushed from; {known}. Whoever runs Airflow allows more of them: "
        "Airflow Variable tuskwatch_sources, or TUSKWATCH_SOURCES, several separated by ;"
    )


def is_local(url: str) -> bool:
    """Whether it is a path or ``file://``."""
    return _scheme(url) in _LOCAL


def local_roots(config: settings.Settings) -> list[str]:
    """The real paths of the folders on this machine, for links that lead from one into another."""
    return [real_path(root) for root in roots_of(config) if is_local(root)]


def real_path(url: str) -> str:
    """Where a path or ``file://`` URL leads once links are followed."""
    filesystem, path = open_filesystem(url)
    real: str = os.path.realpath(filesystem._strip_protocol(path))  # noqa: SLF001 - fsspec's own way from URL to path
    return real


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return scheme.lower() if separator else ""


def _is_below(url: str, root: str) -> bool:
    if is_local(url) != is_local(root):
        return False
    if is_local(url):
        return bool(root_of(real_path(url), [real_path(root)]))
    return _parts(url)[: len(_parts(root))] == _parts(root)


def _parts(url: str) -> list[str]:
    """Scheme, authority with the connection that it names, and the parts of the path; what is not there is in no part of a root."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    if scheme.lower() in ("http", "https"):
        path = unquote(path)
    parts = [part for part in posixpath.normpath(f"/{path}").split("/") if part]
    return [scheme.lower(), *([authority] if authority else []), *parts]
