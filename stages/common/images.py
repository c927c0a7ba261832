"""Opening images that nobody vouched for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from stages.common.errors import RejectedImageError
from stages.common.names import shown
from stages.common.settings import whole_number

# The limits below are ours and are checked before any pixel is decoded; Pillow's own would warn at a size that we may allow.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = {"jpg": "JPEG", "jpeg": "JPEG", "png": "PNG"}
LIMITS_HELP = """\
  IMAGE_MAX_BYTES    largest image file in bytes (default 33554432)
  IMAGE_MAX_PIXELS   largest image in pixels (default 40000000, which is above 8K)"""


@dataclass(frozen=True)
class ImageLimits:
    """What an image may cost before it is decoded.

    :ivar max_bytes: Largest file.
    :ivar max_pixels: Largest width times height.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 40_000_000

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
        size_bytes = path.stat().st_size
    except OSError as exc:
        raise RejectedImageError("unreadable", f"{name}: cannot be read: {exc.strerror}") from exc
    if size_bytes == 0:
        raise RejectedImageError("empty", f"{name}: the file has no bytes")
    if size_bytes > limits.max_bytes:
        raise RejectedImageError("too-many-bytes", f"{name}: {size_bytes} bytes, more than IMAGE_MAX_BYTES={limits.max_bytes}")
    try:
        image: Image.Image = Image.open(path)
    except Exception as exc:  # a decoder fed with arbitrary bytes may raise anything
        raise RejectedImageError("not-an-image", f"{name}: not an image that can be opened: {_reason(exc, path)}") from exc
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


def decode_rgb(path: Path, limits: ImageLimits) -> Image.Image:
    """Decode an image as a person would see it: upright by its EXIF orientation, eight-bit RGB, transparent parts black.

    :raises RejectedImageError: As :func:`open_image` and :func:`load_pixels`.
    """
    with open_image(path, limits) as image:
        load_pixels(image, path)
        try:
            ImageOps.exif_transpose(image, in_place=True)
        except Exception as exc:  # EXIF blocks are arbitrary bytes too
            raise RejectedImageError("undecodable", f"{shown(path.name)}: cannot be turned upright: {_reason(exc, path)}") from exc
        return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip everything above 255 to white
        return image.point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        rgb = Image.new("RGB", image.size)
        rgb.paste(with_alpha, mask=with_alpha.getchannel("A"))
        return rgb
    return image.convert("RGB")  # a copy also where it is RGB already: it must outlive the open file


def _reason(exc: Exception, path: Path) -> str:
    """Say what a decoder said, without the folder that the file lies in."""
    text = str(exc).replace(str(path), shown(path.name)).strip() or "no reason given"
    return shown(f"{type(exc).__name__}: {text}", limit=300)
