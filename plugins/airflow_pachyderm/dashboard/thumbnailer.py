"""A program that makes thumbnails: images in, small WebP images out, with limits of its own. Run by path; it imports nothing of ours.

In: 8 bytes of length, and an image. Out: a byte that says what it is, 8 bytes of length, and a thumbnail or a reason.
"""

import contextlib
import io
import os
import resource
import struct
import sys
from typing import BinaryIO, Final

from PIL import Image, ImageOps

SIDES: Final = (480, 360)
MAX_PIXELS: Final = 50_000_000
MADE, MADE_LAST, REFUSED, REFUSED_LAST = b"m", b"M", b"r", b"R"  # the last answer of this process, which has grown
LENGTH: Final = struct.Struct(">Q")
_MAX_MEMORY: Final = 1 << 30
_SMALL_PIXELS: Final = 8_000_000
_AS_THEY_ARE: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"})


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Answer until the input ends, or the memory for a large image is to be given back."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    with contextlib.suppress(OSError):
        os.nice(5)
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        content = source.read(*LENGTH.unpack(head))
        pixels, made, reason = thumbnail(content)
        last = pixels > _SMALL_PIXELS
        kind = (MADE_LAST if last else MADE) if made else (REFUSED_LAST if last else REFUSED)
        answer = made or reason.encode()
        target.write(kind + LENGTH.pack(len(answer)) + answer)
        target.flush()
        if last:
            return


def thumbnail(content: bytes) -> tuple[int, bytes, str]:
    """The image's pixels, its thumbnail, or why there is none."""
    pixels = 0
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                return 0, b"", "has too many pixels for a thumbnail"
            image.draft("RGB", SIDES)  # a JPEG is decoded at a fraction of its size
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            small: Image.Image = image if image.mode in _AS_THEY_ARE else image.convert("RGB")
            small.thumbnail(SIDES[::-1] if turned else SIDES)  # before it is turned: a copy of a large image is large
            small = ImageOps.exif_transpose(small).convert("RGB")
            out = io.BytesIO()
            small.save(out, "WEBP", quality=80, method=2)
            return pixels, out.getvalue(), ""
    except Image.DecompressionBombError:
        return 0, b"", "has too many pixels for a thumbnail"
    except (OSError, ValueError, SyntaxError, MemoryError, OverflowError) as exc:
        return pixels, b"", "needs too much memory for a thumbnail" if isinstance(exc, MemoryError) else "is damaged: it cannot be decoded"


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
