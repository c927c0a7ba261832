"""Drawing in unit coordinates on an oversized transparent tile, which is then averaged down to its final size."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

OVERSAMPLING = 3


class Pen:
    """Draws on a tile whose corners are (0, 0) top left and (1, 1) bottom right.

    :param size: Width and height of the finished tile, pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._width, self._height = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING
        self._image = Image.new("RGBA", (self._width, self._height), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._pixels(points), fill=colour)

    def oval(self, centre: Point, radii: Point, colour: Colour) -> None:
        """Fill an ellipse; the radii are fractions of the tile's width and height."""
        (x, y), (rx, ry) = centre, radii
        self._draw.ellipse(self._pixels([(x - rx, y - ry), (x + rx, y + ry)]), fill=colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """Fill a true circle; the radius is a fraction of the tile's height."""
        self.oval(centre, (radius * self._height / self._width, radius), colour)

    def ring(self, centre: Point, radius: float, thickness: float, colour: Colour) -> None:
        """Draw a true circle's line, inside ``radius``; both lengths are fractions of the tile's height."""
        (x, y), rx = centre, radius * self._height / self._width
        box = self._pixels([(x - rx, y - radius), (x + rx, y + radius)])
        self._draw.ellipse(box, outline=colour, width=max(1, round(thickness * self._height)))

    def box(self, top_left: Point, bottom_right: Point, colour: Colour, *, rounding: float = 0.0) -> None:
        """Fill a rectangle whose corners are rounded by a fraction of the tile's height."""
        self._draw.rounded_rectangle(self._pixels([top_left, bottom_right]), radius=rounding * self._height, fill=colour)

    def stroke(self, points: Sequence[Point], thickness: float, colour: Colour) -> None:
        """Draw a line with round joints, ``thickness`` a fraction of the tile's height."""
        width = max(1, round(thickness * self._height))
        self._draw.line(self._pixels(points), fill=colour, width=width, joint="curve")
        for x, y in self._pixels([points[0], points[-1]]):
            self._draw.ellipse([(x - width / 2, y - width / 2), (x + width / 2, y + width / 2)], fill=colour)

    def finish(self, *, mirrored: bool) -> Image.Image:
        """Return the tile as RGBA at its final size."""
        tile = self._image.reduce(OVERSAMPLING)
        return tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else tile

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._width, y * self._height) for x, y in points]


def pick(rng: np.random.Generator, colours: Sequence[Colour], *, spread: int = 18) -> Colour:
    """Choose one of the colours and vary it a little."""
    return shade(colours[int(rng.integers(len(colours)))], rng.integers(-spread, spread + 1, 3))


def shade(colour: Colour, amount: float | np.ndarray) -> Colour:
    """Make a colour lighter (above 0) or darker, by one amount or one for each channel, 0..255."""
    red, green, blue = (int(value) for value in np.clip(np.asarray(colour) + amount, 0, 255))
    return red, green, blue
