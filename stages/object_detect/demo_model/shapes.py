"""The things that the demo model knows, each drawn facing right in the unit square of a :class:`Pen`."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stages.object_detect.demo_model.pen import Colour, Pen, Point, pick, shade

PAINTS: tuple[Colour, ...] = (
    (200, 30, 35), (30, 70, 170), (235, 235, 235), (60, 62, 66), (160, 165, 170), (220, 180, 40), (30, 120, 70), (120, 60, 40),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (*PAINTS, (90, 40, 110), (240, 130, 40), (100, 150, 190), (110, 110, 70))
SKINS: tuple[Colour, ...] = ((240, 200, 170), (200, 150, 115), (140, 95, 65), (85, 55, 40))
GREYS: tuple[Colour, ...] = ((125, 118, 112), (105, 100, 98), (145, 135, 125))
GLASS: tuple[Colour, ...] = ((60, 80, 95), (35, 45, 55), (120, 150, 165))
RUBBER: Colour = (25, 25, 28)
STEEL: Colour = (170, 172, 178)


@dataclass(frozen=True)
class Kind:
    """One look of one COCO class.

    :ivar heights: Least and greatest height, as fractions of the frame's height.
    :ivar aspects: Least and greatest width divided by height.
    """

    coco_id: int
    name: str
    draw: Callable[[Pen, np.random.Generator], None]
    heights: tuple[float, float]
    aspects: tuple[float, float]


def _person(pen: Pen, rng: np.random.Generator) -> None:
    shirt, trousers, skin = pick(rng, CLOTHES), pick(rng, CLOTHES), pick(rng, SKINS)
    stride, swing = rng.uniform(0.05, 0.32), rng.uniform(0.05, 0.3)
    hip, knee_y = (0.5, 0.52), 0.75
    for side, tone in ((-1, -25), (1, 0)):
        knee = (0.5 + side * stride * 0.55, knee_y)
        foot = (0.5 + side * stride, 0.965)
        pen.stroke([hip, knee, foot], 0.075, shade(trousers, tone))
        pen.stroke([foot, (foot[0] + 0.1, 0.975)], 0.045, shade(RUBBER, 20))
    if rng.random() < 0.3:
        pen.box((0.1, 0.2), (0.42, 0.44), pick(rng, CLOTHES), rounding=0.04)  # a rucksack
    pen.stroke([(0.5, 0.23), (0.5 - swing, 0.38), (0.5 - swing * 0.7, 0.5)], 0.05, shade(shirt, -30))
    pen.box((0.27, 0.17), (0.73, 0.55), shirt, rounding=0.06)
    pen.stroke([(0.55, 0.23), (0.55 + swing, 0.38), (0.58 + swing, 0.5)], 0.05, shade(shirt, -15))
    pen.disc((0.58 + swing, 0.51), 0.025, skin)
    pen.box((0.44, 0.12), (0.56, 0.2), skin)
    pen.disc((0.5, 0.08), 0.075, skin)
    if rng.random() < 0.5:
        pen.box((0.3, 0.0), (0.72, 0.05), pick(rng, CLOTHES), rounding=0.02)  # a cap
    else:
        pen.oval((0.48, 0.04), (0.2, 0.035), pick(rng, ((40, 25, 20), (20, 20, 20), (150, 110, 60), (120, 120, 120))))


def _wheel(pen: Pen, centre: Point, radius: float, rng: np.random.Generator) -> None:
    pen.disc(centre, radius, RUBBER)
    pen.disc(centre, radius * 0.58, pick(rng, (STEEL, (90, 92, 96))))
    pen.disc(centre, radius * 0.2, shade(RUBBER, 40))


def _car_side(pen: Pen, rng: np.random.Generator) -> None:
    paint, glass = pick(rng, PAINTS), pick(rng, GLASS)
    bonnet, boot = rng.uniform(0.66, 0.74), rng.uniform(0.06, 0.2)
    top = 0.05
    roof: list[Point] = [(boot, 0.45), (boot + 0.12, top), (bonnet - 0.14, top), (bonnet, 0.45)]
    pen.polygon(roof, shade(paint, -12))
    pen.polygon([(boot + 0.05, 0.42), (boot + 0.14, top + 0.08), (0.43, top + 0.08), (0.43, 0.42)], glass)
    pen.polygon([(0.46, 0.42), (0.46, top + 0.08), (bonnet - 0.15, top + 0.08), (bonnet - 0.04, 0.42)], glass)
    pen.box((0.01, 0.4), (0.99, 0.82), paint, rounding=0.14)
    pen.box((0.02, 0.7), (0.98, 0.84), shade(paint, -40), rounding=0.05)
    pen.stroke([(0.445, 0.42), (0.445, 0.75)], 0.015, shade(paint, -60))
    pen.box((0.94, 0.47), (0.99, 0.58), (250, 245, 205), rounding=0.03)
    pen.box((0.01, 0.47), (0.05, 0.58), (190, 25, 25), rounding=0.03)
    for x in (0.21, 0.79):
        _wheel(pen, (x, 0.79), 0.205, rng)


def _car_front(pen: Pen, rng: np.random.Generator) -> None:
    paint, glass = pick(rng, PAINTS), pick(rng, GLASS)
    lamp: Colour = (250, 245, 205) if rng.random() < 0.5 else (200, 30, 30)
    for x in (0.06, 0.76):
        pen.box((x, 0.7), (x + 0.18, 0.99), RUBBER, rounding=0.05)
    pen.polygon([(0.1, 0.46), (0.22, 0.03), (0.78, 0.03), (0.9, 0.46)], shade(paint, -12))
    pen.polygon([(0.17, 0.44), (0.26, 0.1), (0.74, 0.1), (0.83, 0.44)], glass)
    pen.box((0.02, 0.42), (0.98, 0.86), paint, rounding=0.1)
    pen.box((0.3, 0.56), (0.7, 0.68), shade(RUBBER, 25), rounding=0.03)
    pen.box((0.38, 0.73), (0.62, 0.81), (230, 230, 215))
    for x in (0.15, 0.85):
        pen.disc((x, 0.6), 0.075, lamp)


def _motorcycle(pen: Pen, rng: np.random.Generator) -> None:
    paint, frame = pick(rng, PAINTS), shade(RUBBER, int(rng.integers(10, 60)))
    rear, front, radius = (0.205, 0.7), (0.795, 0.7), 0.29
    for centre in (rear, front):
        pen.ring(centre, radius, 0.075, RUBBER)
        pen.ring(centre, radius * 0.72, 0.025, STEEL)
        pen.disc(centre, 0.055, STEEL)
    pen.stroke([front, (0.66, 0.12)], 0.05, STEEL)
    pen.stroke([(0.7, 0.06), (0.58, 0.1)], 0.04, frame)
    pen.stroke([rear, (0.42, 0.5), (0.66, 0.35)], 0.05, frame)
    pen.stroke([rear, (0.5, 0.76), (0.64, 0.45)], 0.045, frame)
    pen.box((0.38, 0.52), (0.6, 0.8), shade(STEEL, -50), rounding=0.06)
    pen.polygon([(0.41, 0.42), (0.46, 0.24), (0.64, 0.22), (0.68, 0.36), (0.6, 0.48)], paint)
    pen.polygon([(0.08, 0.3), (0.2, 0.27), (0.45, 0.36), (0.42, 0.46), (0.22, 0.44)], shade(RUBBER, 15))
    pen.polygon([(0.06, 0.36), (0.22, 0.38), (0.34, 0.5), (0.1, 0.46)], shade(paint, -20))
    pen.stroke([(0.12, 0.78), (0.46, 0.82)], 0.045, STEEL)
    pen.disc((0.73, 0.22), 0.07, (245, 240, 200))


def _truck(pen: Pen, rng: np.random.Generator) -> None:
    paint, load, glass = pick(rng, PAINTS), pick(rng, PAINTS), pick(rng, GLASS)
    cab = rng.uniform(0.7, 0.76)
    pen.box((0.0, 0.68), (0.97, 0.8), (55, 55, 58))
    style = rng.random()
    if style < 0.5:
        pen.box((0.0, 0.0), (cab - 0.02, 0.72), load, rounding=0.02)
        pen.box((0.0, 0.5), (cab - 0.02, 0.56), pick(rng, PAINTS))
        for x in np.linspace(0.1, cab - 0.1, 5):
            pen.stroke([(float(x), 0.04), (float(x), 0.68)], 0.008, shade(load, -35))
    elif style < 0.75:
        pen.box((0.01, 0.14), (cab - 0.02, 0.68), load, rounding=0.26)
        pen.box((0.01, 0.36), (cab - 0.02, 0.44), shade(load, -60))
        pen.box((0.3, 0.06), (0.4, 0.2), shade(load, -30))
    else:
        pen.box((0.0, 0.32), (cab - 0.03, 0.7), load)
        for x in np.linspace(0.0, cab - 0.07, 7):
            pen.box((float(x), 0.32), (float(x) + 0.02, 0.7), shade(load, -45))
        heap = [(float(x), 0.33 - float(h)) for x, h in zip(np.linspace(0.06, cab - 0.1, 6), rng.uniform(0.1, 0.28, 6), strict=True)]
        pen.polygon([(0.02, 0.33), *heap, (cab - 0.05, 0.33)], pick(rng, ((150, 120, 80), (95, 75, 55), (120, 125, 120))))
    pen.box((cab, 0.16), (0.985, 0.82), paint, rounding=0.06)
    pen.polygon([(cab + 0.07, 0.45), (cab + 0.07, 0.23), (0.95, 0.23), (0.975, 0.45)], glass)
    pen.box((0.95, 0.6), (0.99, 0.68), (250, 245, 205))
    pen.box((0.93, 0.74), (1.0, 0.84), (70, 70, 74))
    for x in (0.1, 0.245, 0.86):
        _wheel(pen, (x, 0.85), 0.145, rng)


def _legs(pen: Pen, rng: np.random.Generator, xs: tuple[float, ...], *, top: float, thickness: float, colour: Colour) -> None:
    for index, x in enumerate(xs):
        lean = rng.uniform(-0.05, 0.05)
        tone = -28 if index % 2 else 0
        pen.stroke([(x, top), (x + lean * 0.4, (top + 1) / 2), (x + lean, 0.985 - thickness / 2)], thickness, shade(colour, tone))


def _elephant(pen: Pen, rng: np.random.Generator) -> None:
    hide = pick(rng, GREYS)
    _legs(pen, rng, (0.25, 0.16, 0.6, 0.51), top=0.5, thickness=0.15, colour=hide)
    pen.stroke([(0.06, 0.3), (0.03, 0.5), (0.04, 0.62)], 0.025, shade(hide, -25))
    pen.oval((0.37, 0.37), (0.34, 0.33), hide)
    pen.oval((0.73, 0.27), (0.17, 0.23), shade(hide, 6))
    curl = rng.uniform(-0.06, 0.08)
    pen.stroke([(0.84, 0.3), (0.92, 0.52), (0.9, 0.74), (0.92 + curl, 0.88)], 0.09, shade(hide, 4))
    pen.stroke([(0.8, 0.44), (0.9, 0.56), (0.98, 0.52)], 0.04, (240, 232, 210))
    pen.oval((0.63, 0.28), (0.11, 0.22), shade(hide, -22))
    pen.disc((0.8, 0.24), 0.018, RUBBER)


def _zebra(pen: Pen, rng: np.random.Generator) -> None:
    white, black = pick(rng, ((235, 232, 222), (225, 215, 195))), shade((25, 22, 22), int(rng.integers(0, 25)))
    for index, x in enumerate((0.24, 0.16, 0.62, 0.55)):
        foot = (x + rng.uniform(-0.05, 0.05), 0.96)
        pen.stroke([(x, 0.5), foot], 0.075, shade(white, -30 if index % 2 else 0))
        for step in np.linspace(0.3, 0.9, 4):
            y = 0.5 + 0.46 * float(step)
            pen.stroke([(x - 0.02, y), (x + 0.03, y)], 0.028, black)
    pen.stroke([(0.08, 0.34), (0.04, 0.52), (0.04, 0.62)], 0.03, black)
    pen.oval((0.39, 0.42), (0.33, 0.17), white)
    pen.polygon([(0.55, 0.4), (0.7, 0.1), (0.83, 0.14), (0.7, 0.5)], white)
    pen.stroke([(0.78, 0.13), (0.95, 0.27)], 0.115, white)
    pen.disc((0.95, 0.28), 0.05, black)
    pen.polygon([(0.73, 0.12), (0.74, 0.0), (0.79, 0.1)], white)
    pen.stroke([(0.56, 0.33), (0.7, 0.08)], 0.045, black)
    for x in np.linspace(0.1, 0.56, 8):
        reach = 0.15 * float(np.sqrt(max(0.05, 1 - ((x - 0.39) / 0.33) ** 2)))
        pen.stroke([(float(x), 0.42 - reach), (float(x) + 0.02, 0.42 + reach)], 0.032, black)
    for step in (0.2, 0.45, 0.7):
        pen.stroke([(0.58 + 0.15 * step, 0.36 - 0.25 * step), (0.72 + 0.1 * step, 0.44 - 0.25 * step)], 0.028, black)


def _giraffe(pen: Pen, rng: np.random.Generator) -> None:
    coat, spot = pick(rng, ((215, 170, 100), (225, 185, 120))), pick(rng, ((125, 75, 35), (145, 90, 45)))
    _legs(pen, rng, (0.2, 0.12, 0.55, 0.47), top=0.6, thickness=0.045, colour=coat)
    pen.stroke([(0.06, 0.52), (0.03, 0.64)], 0.02, spot)
    pen.polygon([(0.06, 0.5), (0.2, 0.47), (0.5, 0.4), (0.66, 0.42), (0.62, 0.6), (0.4, 0.66), (0.1, 0.64)], coat)
    pen.polygon([(0.44, 0.46), (0.7, 0.08), (0.8, 0.1), (0.65, 0.55)], coat)
    pen.stroke([(0.75, 0.09), (0.93, 0.15)], 0.06, coat)
    pen.disc((0.95, 0.155), 0.027, shade(spot, 20))
    for x in (0.7, 0.77):
        pen.stroke([(x, 0.06), (x - 0.01, 0.015)], 0.016, spot)
    for x, y in ((0.14, 0.53), (0.24, 0.6), (0.27, 0.5), (0.37, 0.58), (0.4, 0.48), (0.5, 0.56), (0.52, 0.46), (0.58, 0.51)):
        pen.oval((x + rng.uniform(-0.02, 0.02), y + rng.uniform(-0.01, 0.01)), (0.05, 0.033), spot)
    for step in np.linspace(0.1, 0.95, 6):
        pen.oval((0.56 + 0.18 * float(step), 0.46 - 0.36 * float(step)), (0.04, 0.02), spot)


KINDS: tuple[Kind, ...] = (
    Kind(1, "person", _person, heights=(0.24, 0.62), aspects=(0.36, 0.46)),
    Kind(3, "car", _car_side, heights=(0.14, 0.32), aspects=(2.1, 2.7)),
    Kind(3, "car", _car_front, heights=(0.17, 0.36), aspects=(1.1, 1.3)),
    Kind(4, "motorcycle", _motorcycle, heights=(0.17, 0.36), aspects=(1.35, 1.65)),
    Kind(8, "truck", _truck, heights=(0.24, 0.46), aspects=(1.8, 2.3)),
    Kind(22, "elephant", _elephant, heights=(0.24, 0.55), aspects=(1.25, 1.5)),
    Kind(24, "zebra", _zebra, heights=(0.22, 0.46), aspects=(1.1, 1.35)),
    Kind(25, "giraffe", _giraffe, heights=(0.4, 0.8), aspects=(0.52, 0.68)),
)
