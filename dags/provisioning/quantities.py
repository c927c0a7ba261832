"""Kubernetes' quantities, such as ``250m`` and ``1.5Gi``, as numbers, and numbers as people read them."""

import re
from typing import Final

_SUFFIXES: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    **{suffix: 1000.0**power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: 1024.0**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([a-zA-Z]*))")
GIB: Final = 2.0**30


def number(quantity: str | float) -> float:
    """A quantity in its unit: CPUs, bytes, pieces.

    :raises ValueError: It is none.
    """
    match = _QUANTITY.fullmatch(str(quantity).strip())
    factor = _SUFFIXES.get(match[3] or "") if match else None
    if match is None or factor is None:
        raise ValueError(f"{quantity!r} is no quantity of Kubernetes: give a number, such as 0.5, 250m or 1.5Gi")
    return float(match[1] + (match[2] or "")) * factor


def cpus(value: float) -> str:
    """Of CPUs, such as ``0.35 CPU``."""
    return f"{value:.2f}".rstrip("0").rstrip(".") + " CPU"


def gibibytes(value: float) -> str:
    """Of bytes, such as ``1.5 GiB``."""
    return f"{value / GIB:.2f}".rstrip("0").rstrip(".") + " GiB"
