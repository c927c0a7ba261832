"""The names of camera images, ``<device>_<unix seconds>.<jpg|jpeg|png>``, and of the files that pipelines write about them.

The grammar stands here and nowhere else. ``*_PATTERN`` are regular expressions without anchors, for the validators of other libraries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

# An image that is not called "jpg" has its extension in the names of what is written about it.
EXTENSIONS: Final = ("jpg", "jpeg", "png")
FORM: Final = f"<device>_<unix seconds>.<{'|'.join(EXTENSIONS)}>"
EXAMPLE: Final = "dev1_1511891098.jpg"
LAST_SECOND: Final = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())

_LEAST_DIGITS: Final = 10
_LIKELY_DIGITS: Final = 11
_MOST_DIGITS: Final = len(str(LAST_SECOND))
_DIGITS: Final = f"[0-9]{{{_LEAST_DIGITS},}}"
# ASCII only and no leading dot: the device becomes a folder of the output repo, where Pachyderm takes no other characters.
DEVICE_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
OUTPUT_NAME_PATTERN: Final = f"[0-9]{{{_LEAST_DIGITS},{_MOST_DIGITS}}}(?:{'|'.join(f'_{extension}' for extension in EXTENSIONS[1:])})?"

_DEVICE: Final = re.compile(DEVICE_PATTERN)
_NAME: Final = re.compile(rf"(?P<device>{DEVICE_PATTERN})_(?P<timestamp>{_DIGITS})\.(?P<extension>{'|'.join(EXTENSIONS)})")
_OUTPUT_NAME: Final = re.compile(OUTPUT_NAME_PATTERN)
_TIME_IN_NAME: Final = re.compile(rf"_({_DIGITS})\.[^.]+")
_SUFFIXES: Final = tuple(sorted(("", *(f"_{extension}" for extension in EXTENSIONS[1:]))))


class BadNameError(ValueError):
    """A name is not one of ours.

    :ivar code: ``bad-name`` or ``bad-timestamp``.
    :ivar why: What is wrong, without the name itself: the same for all names that have the same fault.
    """

    def __init__(self, name: str, code: str, why: str) -> None:
        super().__init__(f"{shown(name)}: {why}")
        self.code = code
        self.why = why


@dataclass(frozen=True)
class ImageName:
    """A parsed image name.

    :ivar device: Name of the camera.
    :ivar timestamp: Unix seconds as written in the name, leading zeros included.
    :ivar extension: ``jpg``, ``jpeg`` or ``png``.
    """

    device: str
    timestamp: str
    extension: str

    @classmethod
    def parse(cls, name: str) -> ImageName:
        """Take an image name apart.

        :raises BadNameError: ``bad-name`` or ``bad-timestamp``.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise BadNameError(
                name,
                "bad-name",
                f"the name is not <device>_<unix seconds, {_LEAST_DIGITS} or more digits>.<{'|'.join(EXTENSIONS)}>, such as {EXAMPLE}; "
                "a device has up to 64 letters, digits, '.', '_' or '-' and starts with a letter or digit",
            )
        _check_seconds(name, match["timestamp"])
        return cls(match["device"], match["timestamp"], match["extension"])

    @property
    def taken_at(self) -> datetime:
        """The moment in UTC."""
        return datetime.fromtimestamp(int(self.timestamp), tz=UTC)

    @property
    def output_name(self) -> str:
        """What outputs about this image are called, without extension: the timestamp, of a PNG or ``.jpeg`` with that behind it.

        So ``dev1_1511891098.jpg`` and ``dev1_1511891098.png`` do not write the same path, which would fail the job.
        """
        return self.timestamp if self.extension == EXTENSIONS[0] else f"{self.timestamp}_{self.extension}"


def _check_seconds(name: str, digits: str) -> None:
    if len(digits) > _MOST_DIGITS or int(digits) > LAST_SECOND:
        raise BadNameError(name, "bad-timestamp", f"{shown(digits)} seconds is past the year 9999; write seconds, not milliseconds")


def is_device(name: str) -> bool:
    """Whether a device can have this name."""
    return _DEVICE.fullmatch(name) is not None


def is_output_name(text: str) -> bool:
    """Whether this is an :attr:`~ImageName.output_name`."""
    return seconds_of(text) is not None


def seconds_of(output_name: str) -> int | None:
    """Return the Unix seconds of an :attr:`~ImageName.output_name`, None if it is none."""
    if _OUTPUT_NAME.fullmatch(output_name) is None:
        return None
    seconds = int(output_name.partition("_")[0])
    return seconds if seconds <= LAST_SECOND else None


def rank_in_second(output_name: str) -> int:
    """Where an :attr:`~ImageName.output_name` stands among those of the same device and second, as a listing by name has them.

    :raises ValueError: It is none.
    """
    _, separator, extension = output_name.partition("_")
    return _SUFFIXES.index(separator + extension)


def time_in_name(name: str) -> int:
    """Return the Unix seconds that a file's name seems to tell, whatever else is wrong with it.

    More than 11 digits, which would be later than the year 5138, are milliseconds or a date written out, such as 202611221905.

    :raises BadNameError: ``bad-name``: there are none; ``bad-timestamp``: the digits are no seconds.
    """
    match = _TIME_IN_NAME.search(name)
    if match is None:
        raise BadNameError(name, "bad-name", f"it should be as {EXAMPLE}")
    digits = match[1]
    if len(digits) > _LIKELY_DIGITS:
        unit = ": are they milliseconds?" if len(digits) == _LEAST_DIGITS + 3 else ""
        raise BadNameError(name, "bad-timestamp", f"{len(digits)} digits are no Unix seconds, which have {_LEAST_DIGITS}{unit}")
    return int(digits)


def shown(text: str, *, limit: int = 120) -> str:
    """Return ``text`` on one printable line of at most ``limit`` characters, for messages and logs."""
    printable = text if text.isprintable() else repr(text)[1:-1]
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"
