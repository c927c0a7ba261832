"""The names of camera images: ``<device>_<unix seconds>.<jpg|jpeg|png>``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from stages.common.errors import RejectedImageError

# ASCII only and no leading dot: the device becomes a folder of the output repo, where Pachyderm takes no other characters.
_DEVICE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = re.compile(rf"(?P<device>{_DEVICE})_(?P<timestamp>[0-9]{{10,}})\.(?P<extension>jpg|jpeg|png)")
_OUTPUT_NAME = re.compile(r"(?P<timestamp>[0-9]+)(_png|_jpeg)?")
_LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


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

    @property
    def taken_at(self) -> datetime:
        """The moment in UTC."""
        return datetime.fromtimestamp(int(self.timestamp), tz=UTC)

    @property
    def output_name(self) -> str:
        """What outputs about this image are called, without extension: the timestamp, of a PNG or ``.jpeg`` with that behind it.

        So ``dev1_1511891098.jpg`` and ``dev1_1511891098.png`` do not write the same path, which would fail the job.
        """
        return self.timestamp if self.extension == "jpg" else f"{self.timestamp}_{self.extension}"


def is_device(name: str) -> bool:
    """Whether a device can have this name."""
    return re.fullmatch(_DEVICE, name) is not None


def seconds_of(output_name: str) -> int | None:
    """Return the Unix seconds of an :attr:`~ImageName.output_name`, None if it is none."""
    match = _OUTPUT_NAME.fullmatch(output_name)
    if match is None or len(match["timestamp"]) > len(str(_LAST_SECOND)):
        return None
    seconds = int(match["timestamp"])
    return seconds if seconds <= _LAST_SECOND else None


def parse_image_name(name: str) -> ImageName:
    """Take an image name apart.

    :raises RejectedImageError: ``bad-name`` or ``bad-timestamp``.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise RejectedImageError(
            "bad-name",
            f"{shown(name)}: the name is not <device>_<unix seconds, 10 or more digits>.<jpg|jpeg|png>, such as dev1_1511891098.jpg; "
            "a device has up to 64 letters, digits, '.', '_' or '-' and starts with a letter or digit",
        )
    timestamp = match["timestamp"]
    if len(timestamp) > len(str(_LAST_SECOND)) or int(timestamp) > _LAST_SECOND:
        raise RejectedImageError(
            "bad-timestamp", f"{shown(name)}: {shown(timestamp)} seconds is past the year 9999; write seconds, not milliseconds"
        )
    return ImageName(match["device"], timestamp, match["extension"])


def shown(text: str, *, limit: int = 120) -> str:
    """Return ``text`` on one printable line of at most ``limit`` characters, for messages and logs."""
    printable = text if text.isprintable() else repr(text)[1:-1]
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"
