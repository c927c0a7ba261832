"""Opening images that nobody vouched for."""

from __future__ import annotations

import logging
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from stages.common.errors import RejectedImageError
from stages.common.settings import whole_number
from stages.contract.names import shown

log = logging.getLogger(__name__)

# The limits below are ours and are checked before any pixel is decoded; Pillow's own would warn at a size that we may allow.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG"}
LIMITS_HELP = """\
  IMAGE_MAX_BYTES    largest image file in bytes (default 33554432)
  IMAGE_MAX_PIXELS   largest image in pixels (default 36000000, which is above 8K)"""


@dataclass(frozen=True)
class ImageLimits:
    """What an image may cost before it is decoded.

    :ivar max_bytes: Largest file.
    :ivar max_pixels: Largest width times height.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 36_000_000

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> ImageLimits:
        """Read the limits from ``IMAGE_MAX_BYTES`` and ``IMAGE_MAX_PIXELS``.

        :raises StageError: One of them is no number in its range.
        """
        return cls(
            max_bytes=whole_number(env, "IMAGE_MAX_BYTES", cls.max_bytes, low=1, high=1 << 32),
            max_pixels=whole_number(env, "IMAGE_MAX_PIXELS", cls.max_pixels, low=1, high=1_000_000_000),
        )


def open_image(path: Path, limits: ImageLimits) -> Image.Image:
    """Open an image and check all that its header tells; no pixel is decoded yet.

    :raises RejectedImageError: ``unreadable``, ``empty``, ``too-many-bytes``, ``not-an-image``, ``wrong-format``, ``too-many-pixels``.
    """
    name = shown(path.name)
    try:
        status = path.stat()
    except OSError as exc:
        raise RejectedImageError("unreadable", f"{name}: cannot be read: {exc.strerror}") from exc
    if not stat.S_ISREG(status.st_mode):
        raise RejectedImageError("unreadable", f"{name}: not a file but a pipe, a socket or a device")
    size_bytes = status.st_size
    if size_bytes == 0:
        raise RejectedImageError("empty", f"{name}: the file has no bytes")
    if size_bytes > limits.max_bytes:
        raise RejectedImageError("too-many-bytes", f"{name}: {size_bytes} bytes, more than IMAGE_MAX_BYTES={limits.max_bytes}")
    try:
        # Only these: some of Pillow's other decoders start programs, and none is of use here.
        image: Image.Image = Image.open(path, formats=("JPEG", "PNG"))
    except Exception as exc:  # a decoder fed with arbitrary bytes may raise anything
        raise RejectedImageError("not-an-image", f"{name}: not a JPEG or PNG that can be opened: {_reason(exc, path)}") from exc
    found = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a JPEG with further pictures behind it
    wanted = _FORMATS.get(path.suffix.lstrip("."))
    if found not in _FORMATS.values() or (wanted is not None and found != wanted):
        image.close()
        raise RejectedImageError("wrong-format", f"{name}: the bytes are {found}, not {wanted or 'JPEG or PNG'}")
    if image.width * image.height > limits.max_pixels:
        image.close()
        raise RejectedImageError(
            "too-many-pixels", f"{name}: {image.width} x {image.height} pixels, more than IMAGE_MAX_PIXELS={limits.max_pixels}"
        )
    return image


def load_pixels(image: Image.Image, path: Path) -> None:
    """Decode all pixels of an opened image.

    :raises RejectedImageError: ``undecodable``: truncated or damaged.
    """
    try:
        image.load()
    except Exception as exc:  # a decoder fed with arbitrary bytes may raise anything
        raise RejectedImageError("undecodable", f"{shown(path.name)}: truncated or damaged: {_reason(exc, path)}") from exc


@dataclass(frozen=True)
class DecodedImage:
    """An image as a person would see it.

    :ivar image: Eight-bit RGB, upright.
    :ivar as_stored: The file is a JPEG that shows just this, so that it can stand for the image.
    """

    image: Image.Image
    as_stored: bool


def decode_rgb(path: Path, limits: ImageLimits) -> DecodedImage:
    """Decode an image: upright by its EXIF orientation, in eight-bit RGB, transparent parts black.

    :raises RejectedImageError: As :func:`open_image` and :func:`load_pixels`.
    """
    with open_image(path, limits) as image:
        load_pixels(image, path)
        turned = _turn_upright(image, path)
        as_stored = image.format == "JPEG" and image.mode == "RGB" and not turned
        try:
            return DecodedImage(_to_rgb(image), as_stored)
        except Exception as exc:  # for example a palette image without its palette
            raise RejectedImageError("undecodable", f"{shown(path.name)}: cannot be converted to RGB: {_reason(exc, path)}") from exc


def _turn_upright(image: Image.Image, path: Path) -> bool:
    """Turn an image by its EXIF orientation and return whether that changed it; without a readable one it is upright."""
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return False
        ImageOps.exif_transpose(image, in_place=True)
    except Exception as exc:  # noqa: BLE001 - EXIF blocks are arbitrary bytes too, and the pixels are good
        log.warning("%s: its orientation cannot be read: %s", shown(path.name), _reason(exc, path))
        return False
    return True


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip everything above 255 to white
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.has_transparency_data:
        with_alpha = image if image.mode == "RGBA" else image.convert("RGBA")
        rgb = Image.new("RGB", image.size)
        rgb.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return rgb
    return image.convert("RGB")


def _reason(exc: Exception, path: Path) -> str:
    """Say what a decoder said, without the folder that the file lies in."""
    text = str(exc).replace(str(path), shown(path.name)).strip() or "no reason given"
    return shown(f"{type(exc).__name__}: {text}", limit=300)
