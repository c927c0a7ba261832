"""URLs as they are told: without the secrets that they may carry."""

import re
from typing import Final

_LOGIN: Final = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^/\s@:]*:[^/\s]*@")
_QUERY: Final = re.compile(r"(\bhttps?://[^\s?#]*)\?[^\s;,)\]}'\"]*")


def shown_url(text: str) -> str:
    """A URL, or a text with some, without user and password and, of ``http(s)``, without the query, in which signatures and keys stand.

    The name of an Airflow connection in front of an ``@`` stays: it is no secret.
    """
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1?…", _LOGIN.sub(r"\1***@", text))
