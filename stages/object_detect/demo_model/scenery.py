"""Where the things stand: backgrounds, what gets in front of them, and what light and camera do to the picture."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from stages.object_detect.demo_model.pen import Colour, Pen, pick, shade

SKIES: tuple[Colour, ...] = ((150, 190, 230), (190, 205, 215), (235, 200, 160), (120, 150, 190))
GROUNDS: tuple[Colour, ...] = (
    (120, 140, 70), (175, 155, 100), (90, 115, 60), (150, 120, 90), (120, 120, 118), (215, 220, 225), (190, 175, 145),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = ((60, 95, 45), (85, 105, 50), (110, 110, 60), (45, 75, 50))
BARK: tuple[Colour, ...] = ((85, 65, 50), (110, 90, 70), (60, 50, 45))
WALLS: tuple[Colour, ...] = ((190, 175, 160), (150, 95, 80), (205, 205, 200), (120, 125, 130))
ROCKS: tuple[Colour, ...] = ((130, 125, 120), (160, 150, 135), (95, 90, 88))


def paint_background(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Image.Image, float]:
    """Paint an empty scene.

    :param size: Width and height, pixels.
    :return: The picture, and its horizon as a fraction of the height.
    """
    width, height = size
    horizon = float(rng.uniform(0.12, 0.45))
    sky, ground = pick(rng, SKIES), pick(rng, GROUNDS)
    edge = round(horizon * height)
    image = Image.new("RGB", size, ground)
    image.paste(_gradient(shade(sky, -35), shade(sky, 25), (width, edge)), (0, 0))
    image.paste(_gradient(shade(ground, 15), shade(ground, -25), (width, height - edge)), (0, edge))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.6:
        _hills(draw, rng, size, edge)
    if rng.random() < 0.5:
        _road(draw, rng, size, edge)
    image = _textured(image, rng, edge)
    if rng.random() < 0.35:
        _buildings(ImageDraw.Draw(image), rng, size, edge)
    for _ in range(int(rng.integers(0, 7))):
        _plant_tree(image, rng, edge)
    for _ in range(int(rng.integers(0, 5))):
        tile = _tile(_bush if rng.random() < 0.6 else _rock, rng, size, (0.05, 0.12))
        _put(image, tile, float(rng.random()), float(rng.uniform(horizon, 1)))
    if rng.random() < 0.25:
        _fence(ImageDraw.Draw(image), rng, size, edge)
    return image, horizon


def occluder(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw something that may stand before a thing: a bush, rock, trunk, post or sign; RGBA."""
    draw, heights = OCCLUDERS[int(rng.integers(len(OCCLUDERS)))]
    return _tile(draw, rng, size, heights)


def expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Do to a scene what light, weather, lens and sensor do."""
    if rng.random() < 0.4:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2)) * image.height / 480))
    pixels = np.asarray(image, dtype=np.float32)
    light = rng.random()
    if light < 0.12:
        pixels = _infrared(pixels)
    elif light < 0.27:
        pixels = pixels * np.float32(rng.uniform(0.3, 0.5)) * np.array((0.9, 0.97, 1.15), np.float32)
    elif light < 0.37:
        pixels = pixels + np.float32(rng.uniform(0.15, 0.45)) * (205 - pixels)
    else:
        pixels = pixels * rng.uniform(0.92, 1.08, 3).astype(np.float32)
    pixels = (pixels - 110) * np.float32(rng.uniform(0.8, 1.15)) + 110 * np.float32(rng.uniform(0.8, 1.2))
    pixels *= _vignette(rng, pixels.shape[:2])
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(rng.uniform(1, 11))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def stamp(image: Image.Image, text: str) -> None:
    """Write the camera's caption into the picture's upper left corner."""
    size = max(9, image.height // 32)
    draw = ImageDraw.Draw(image)
    draw.text((size // 2 + 1, size // 2 + 1), text, fill=(0, 0, 0), font=ImageFont.load_default(size))
    draw.text((size // 2, size // 2), text, fill=(255, 255, 255), font=ImageFont.load_default(size))


def _gradient(top: Colour, bottom: Colour, size: tuple[int, int]) -> Image.Image:
    column = np.linspace(top, bottom, max(1, size[1])).astype(np.uint8)[:, None, :]
    return Image.fromarray(column).resize((size[0], max(1, size[1])))


def _textured(image: Image.Image, rng: np.random.Generator, edge: int) -> Image.Image:
    """Roughen the ground at three scales."""
    pixels = np.asarray(image, dtype=np.float32).copy()
    rows, columns = pixels.shape[0] - edge, pixels.shape[1]
    for cells, strength in ((6, 14), (24, 10), (90, 7)):
        grain = rng.uniform(-1, 1, (cells, cells * 2)).astype(np.float32) * np.float32(rng.uniform(0.2, 1) * strength)
        pixels[edge:] += np.asarray(Image.fromarray(grain).resize((columns, rows), Image.Resampling.BILINEAR))[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _hills(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], edge: int) -> None:
    xs = np.linspace(0, size[0], 9)
    tops = edge - rng.uniform(0.0, 0.35, 9) * edge
    ridge = [(float(x), float(y)) for x, y in zip(xs, tops, strict=True)]
    draw.polygon([(0, edge), *ridge, (size[0], edge)], fill=pick(rng, ((110, 130, 140), (95, 115, 80), (140, 130, 120))))


def _road(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], edge: int) -> None:
    width, height = size
    tar = pick(rng, ((95, 95, 98), (120, 118, 115), (150, 130, 105)))
    if rng.random() < 0.5:
        top = edge + rng.uniform(0.1, 0.5) * (height - edge)
        bottom = top + rng.uniform(0.2, 0.45) * (height - edge)
        draw.rectangle([(0, top), (width, bottom)], fill=tar)
        middle, dash = (top + bottom) / 2, width / 12
        for index in range(12):
            draw.line([(index * dash, middle), (index * dash + dash / 2, middle)], fill=(225, 220, 200), width=max(1, height // 120))
    else:
        far, near = rng.uniform(0.3, 0.7) * width, rng.uniform(0.2, 0.8) * width
        distant, close = width * 0.02, width * 0.35
        draw.polygon([(far - distant, edge), (far + distant, edge), (near + close, height), (near - close, height)], fill=tar)
        draw.line([(far, edge), (near, height)], fill=(225, 220, 200), width=max(1, height // 120))


def _buildings(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], edge: int) -> None:
    for _ in range(int(rng.integers(1, 4))):
        left, wide = rng.uniform(-0.1, 0.9) * size[0], rng.uniform(0.1, 0.35) * size[0]
        top, bottom = edge * rng.uniform(0.05, 0.8), edge + rng.uniform(0, 0.12) * size[1]
        wall = pick(rng, WALLS)
        draw.rectangle([(left, top), (left + wide, bottom)], fill=wall)
        across, down = int(rng.integers(2, 6)), int(rng.integers(1, 4))
        for column in range(across):
            for row in range(down):
                x, y = left + wide * (column + 0.25) / across, top + (bottom - top) * (row + 0.25) / down
                draw.rectangle([(x, y), (x + wide * 0.5 / across, y + (bottom - top) * 0.5 / down)], fill=shade(wall, -70))


def _fence(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], edge: int) -> None:
    base = edge + rng.uniform(0.05, 0.3) * (size[1] - edge)
    tall, wood, thickness = rng.uniform(0.05, 0.12) * size[1], pick(rng, BARK), max(1, size[1] // 160)
    for x in np.arange(0, size[0], size[0] / rng.integers(8, 20)):
        draw.line([(float(x), base), (float(x), base - tall)], fill=wood, width=2 * thickness)
    for rail in (0.35, 0.8):
        draw.line([(0, base - tall * rail), (size[0], base - tall * rail)], fill=wood, width=thickness)


def _plant_tree(image: Image.Image, rng: np.random.Generator, edge: int) -> None:
    base = edge / image.height + float(rng.uniform(0.0, 0.25))
    _put(image, _tile(_tree, rng, image.size, (0.15, 0.5)), float(rng.random()), base)


def _vignette(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    fall: np.ndarray = (1 - np.float32(rng.uniform(0, 0.22)) * (x * x + y * y)).astype(np.float32)
    return fall[:, :, None]


def _infrared(pixels: np.ndarray) -> np.ndarray:
    grey = pixels @ np.array((0.45, 0.35, 0.2), np.float32)
    return np.repeat(grey[:, :, None], 3, axis=2)


Sketch = Callable[[Pen, np.random.Generator], None]


def _tile(draw: Sketch, rng: np.random.Generator, size: tuple[int, int], heights: tuple[float, float]) -> Image.Image:
    height = round(float(rng.uniform(*heights)) * size[1])
    narrow = draw in (_post, _trunk)
    width = round(height * float(rng.uniform(0.08, 0.16) if narrow else rng.uniform(0.6, 1.4)))
    pen = Pen((max(3, width), max(4, height)))
    draw(pen, rng)
    return pen.finish(mirrored=False)


def _put(image: Image.Image, tile: Image.Image, x: float, base: float) -> None:
    image.paste(tile, (round(x * image.width - tile.width / 2), round(base * image.height - tile.height)), tile)


def _tree(pen: Pen, rng: np.random.Generator) -> None:
    bark, leaf = pick(rng, BARK), pick(rng, LEAVES)
    pen.stroke([(0.5, 0.98), (0.5, 0.45)], float(rng.uniform(0.04, 0.09)), bark)
    flat = rng.random() < 0.4  # an acacia's crown
    for _ in range(12):
        centre = (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.35) if flat else rng.uniform(0.18, 0.55)))
        pen.oval(centre, (0.2, 0.08 if flat else 0.16), shade(leaf, int(rng.integers(-25, 20))))


def _bush(pen: Pen, rng: np.random.Generator) -> None:
    leaf = pick(rng, LEAVES)
    for _ in range(16):
        pen.oval((float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.3, 0.8))), (0.18, 0.2), shade(leaf, int(rng.integers(-30, 25))))


def _rock(pen: Pen, rng: np.random.Generator) -> None:
    stone = pick(rng, ROCKS)
    angles = np.linspace(0, 2 * np.pi, 9)[:-1]
    radii = rng.uniform(0.35, 0.5, 8)
    outline = [(0.5 + float(r * np.cos(a)), 0.55 + float(0.9 * r * np.sin(a))) for r, a in zip(radii, angles, strict=True)]
    pen.polygon(outline, stone)
    pen.polygon([*outline[3:7], (0.5, 0.5)], shade(stone, 20))


def _trunk(pen: Pen, rng: np.random.Generator) -> None:
    bark = pick(rng, BARK)
    pen.box((0.1, 0), (0.9, 1), bark)
    pen.box((0.1, 0), (0.4, 1), shade(bark, 18))


def _post(pen: Pen, rng: np.random.Generator) -> None:
    pen.box((0.3, 0), (0.7, 1), pick(rng, ((150, 150, 155), (90, 80, 70), (220, 220, 215))))


def _sign(pen: Pen, rng: np.random.Generator) -> None:
    pen.box((0.46, 0.3), (0.54, 1), (120, 120, 125))
    pen.box((0.1, 0.02), (0.9, 0.5), pick(rng, ((230, 200, 60), (40, 80, 160), (230, 230, 230), (190, 40, 40))), rounding=0.05)
    pen.box((0.2, 0.2), (0.8, 0.3), (40, 40, 45))


OCCLUDERS: tuple[tuple[Sketch, tuple[float, float]], ...] = (
    (_bush, (0.1, 0.22)), (_rock, (0.07, 0.16)), (_trunk, (0.4, 0.8)), (_post, (0.3, 0.7)), (_sign, (0.2, 0.35)),
)  # fmt: skip
