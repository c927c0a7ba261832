"""Texts that people are shown: class names, mails."""

from __future__ import annotations

import unicodedata

# Control characters, halves of characters, and marks that turn the direction of what stands beside them. Joiners are fine: emoji need them.
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def unfit_character(text: str, *, lines: bool = False) -> str:
    """Return the first character that must not be shown, as ``U+202E``; empty when there is none.

    :param lines: Line breaks and tabs are fine.
    """
    for character in text:
        if lines and character in "\n\r\t":
            continue
        if unicodedata.category(character) in _UNFIT or character in _DIRECTION:
            return f"U+{ord(character):04X}"
    return ""
