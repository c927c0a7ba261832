"""Drawing boxes and labels, legible on a thumbnail and on 4K."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from stages.contract.records import Found

# Dark enough for white text (contrast 4.5 and more), told apart also with the common colour blindnesses.
_COLOURS = ("#b3261e", "#0b57d0", "#1e6b2b", "#7b3fa0", "#8a5300", "#00677d", "#a1266b", "#4d5b00")
_LARGEST_FONT = 96


def annotate(image: Image.Image, objects: Sequence[Found]) -> None:
    """Draw boxes with a caption each into ``image``.

    :param image: RGB; changed in place.
    :param objects: By falling score.
    """
    draw = ImageDraw.Draw(image)
    short = min(image.size)
    width = max(1, round(short / 200))
    font = _font(max(10, min(_LARGEST_FONT, short // 30)))
    # The best object comes first in the list and is drawn last, on top.
    for found in reversed(objects):
        box = found.box
        left, top, right, bottom = box.left, box.top, box.right, box.bottom
        colour = _COLOURS[found.class_id % len(_COLOURS)]
        caption = f"{found.label} {found.score:.0%}"
        # An outer pale line keeps the box visible on ground of its own colour.
        draw.rectangle(_ordered(left - 1, top - 1, right + 1, bottom + 1), outline="white", width=1)
        draw.rectangle(_ordered(left, top, right, bottom), outline=colour, width=width)
        _caption(draw, image.size, caption, left=left, top=top, font=font, colour=colour)


def _caption(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    text: str,
    *,
    left: int,
    top: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    colour: str,
) -> None:
    """Write ``text`` on a filled ground above the box, or inside it where there is no room."""
    x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font)
    pad = max(1, round((y1 - y0) / 5))
    wide, high = round(x1 - x0) + 2 * pad, round(y1 - y0) + 2 * pad
    x = max(0, min(left, size[0] - wide))
    y = top - high if top >= high else top
    y = max(0, min(y, size[1] - high))
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    draw.text((x + pad - x0, y + pad - y0), text, fill="white", font=font)


def _ordered(left: int, top: int, right: int, bottom: int) -> tuple[int, int, int, int]:
    return min(left, right), min(top, bottom), max(left, right), max(top, bottom)


@functools.lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
