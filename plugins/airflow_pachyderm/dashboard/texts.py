"""Texts that somebody wrote, as they may be shown."""

import re
from typing import Final

# Control characters but tab and line break; halves of characters; marks that turn the direction of the text beside them.
_UNFIT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def shown(text: str, *, limit: int) -> str:
    """The text with a sign in place of each such character, and at most so many characters of it; how many are left out is said."""
    kept = _UNFIT.sub("\ufffd", text[:limit])
    return kept if len(text) <= limit else f"{kept}… ({len(text) - limit} more characters)"
