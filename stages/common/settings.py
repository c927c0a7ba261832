"""Settings of a stage: environment variables from the pipeline's ``transform.env``."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stages.common.errors import StageError


def number(env: Mapping[str, str], name: str, default: float, *, low: float, high: float) -> float:
    """Return the number in ``env[name]``, or ``default`` where it is missing or empty.

    :raises StageError: Not a number from ``low`` to ``high``.
    """
    text = env.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise StageError(f"{name}={text!r} is not a number from {low:g} to {high:g}; correct it in the pipeline's transform.env")
    return value


def whole_number(env: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    """Like :func:`number`, for whole numbers."""
    value = number(env, name, default, low=low, high=high)
    if value != int(value):
        raise StageError(f"{name}={env[name]!r} is not a whole number; correct it in the pipeline's transform.env")
    return int(value)


def flag(env: Mapping[str, str], name: str) -> bool:
    """Return whether ``env[name]`` says true."""
    return env.get(name, "").strip().lower() in {"1", "true", "yes", "on"}
