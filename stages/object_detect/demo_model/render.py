"""Camera-like frames with known contents, the same for the same seed.

``python -m stages.object_detect.demo_model.render --out DIR --count 12 --seed 7`` writes a demo's images: several cameras, and one file
whose name the pipeline must refuse.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from stages.object_detect.demo_model import scenery
from stages.object_detect.demo_model.pen import Pen
from stages.object_detect.demo_model.shapes import KINDS, Kind

SIZES = ((640, 480), (640, 360), (480, 360), (800, 450), (480, 480))
LEAST_VISIBLE = 0.6  # a thing hidden more than this would be guesswork, for people too
FIRST_TIMESTAMP = 1511891098  # 2017-11-28 17:44:58 UTC
CASTS = (("person", "car", "motorcycle", "truck"), ("elephant", "zebra", "giraffe"), ("person", "zebra"), ("car", "truck"))  # by camera


@dataclass(frozen=True)
class Truth:
    """What a frame shows.

    :ivar boxes: Shape [n, 4], float32: ymin, xmin, ymax, xmax of what is visible, as fractions of the frame.
    :ivar classes: Shape [n], int64: COCO ids.
    """

    boxes: np.ndarray
    classes: np.ndarray


class _Stage:
    """A scene being filled from far to near, with the owner of each pixel: 0 the scenery, then the things from 1 on."""

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.owners = np.zeros((image.height, image.width), np.int16)
        self.kinds: list[Kind] = []
        self._areas: list[int] = []

    def place(self, tile: Image.Image, left: int, top: int, kind: Kind | None) -> bool:
        """Paste a thing (or, with no kind, an occluder) unless it or a thing behind it would then be too much hidden."""
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + tile.width, self.image.width), min(top + tile.height, self.image.height)
        if x0 >= x1 or y0 >= y1:
            return False
        solid = np.asarray(tile.getchannel("A")) > 127
        seen = solid[y0 - top : y1 - top, x0 - left : x1 - left]
        if kind is not None and seen.sum() < LEAST_VISIBLE * solid.sum():
            return False
        owners = self.owners.copy()
        owners[y0:y1, x0:x1][seen] = len(self.kinds) + 1 if kind else 0
        areas = [*self._areas, int(solid.sum())] if kind else self._areas
        left_over = np.bincount(owners.ravel(), minlength=len(areas) + 1)[1:]
        if any(pixels < LEAST_VISIBLE * area for pixels, area in zip(left_over, areas, strict=True)):
            return False
        if kind is not None:
            self.kinds.append(kind)
            self._shadow(left, top, tile.size)
        self.owners, self._areas = owners, areas
        self.image.paste(tile, (left, top), tile)
        return True

    def _shadow(self, left: int, top: int, size: tuple[int, int]) -> None:
        depth = max(2, size[1] // 9)
        dark = Image.new("L", (size[0], depth), 0)
        dark.paste(110, (depth // 2, depth // 4, size[0] - depth // 2, depth - depth // 4))
        dark = dark.filter(ImageFilter.BoxBlur(depth / 4))
        self.image.paste((15, 15, 20), (left, top + size[1] - depth // 2), dark)

    def truth(self) -> Truth:
        height, width = self.owners.shape
        boxes = np.zeros((len(self.kinds), 4), np.float32)
        for index in range(len(self.kinds)):
            ys, xs = np.nonzero(self.owners == index + 1)
            boxes[index] = ys.min() / height, xs.min() / width, (ys.max() + 1) / height, (xs.max() + 1) / width
        return Truth(boxes, np.array([kind.coco_id for kind in self.kinds], np.int64))


def render_frame(
    rng: np.random.Generator, *, place: np.random.Generator | None = None, cast: Sequence[str] = (), caption: str = ""
) -> tuple[Image.Image, Truth]:
    """Render one frame.

    :param rng: What everything random is drawn from.
    :param place: What size and background are drawn from, to keep them from frame to frame; ``rng`` by default.
    :param cast: Names of the kinds that may appear; all by default.
    :param caption: Text in the upper left corner; by default sometimes a random time.
    """
    place = place or rng
    size = SIZES[int(place.integers(len(SIZES)))]
    background, horizon = scenery.paint_background(place, size)
    stage = _Stage(background)
    kinds = [kind for kind in KINDS if not cast or kind.name in cast]
    crowd = int(rng.choice(6, p=(0.06, 0.26, 0.28, 0.2, 0.12, 0.08)))
    for nearness in np.sort(rng.random(max(1, crowd) if cast else crowd)):
        _enter(stage, rng, kinds[int(rng.integers(len(kinds)))], float(nearness), horizon)
    for _ in range(int(rng.integers(0, 4))):
        tile = scenery.occluder(rng, size)
        left, base = int(rng.integers(size[0])) - tile.width // 2, float(rng.uniform(horizon + 0.1, 1.05))
        stage.place(tile, left, round(base * size[1]) - tile.height, None)
    image = scenery.expose(stage.image, rng)
    if caption or rng.random() < 0.4:
        scenery.stamp(image, caption or f"CAM{rng.integers(100)} {_written(int(rng.integers(10**9, 2 * 10**9)))}")
    return image, stage.truth()


def _enter(stage: _Stage, rng: np.random.Generator, kind: Kind, nearness: float, horizon: float) -> None:
    """Put a thing somewhere on the ground, the larger the nearer; after some vain tries leave it out."""
    width, height = stage.image.size
    least, most = kind.heights
    scale = np.clip(nearness + rng.normal(0, 0.12), 0, 1)
    tall = round(float(least + (most - least) * scale) * height)
    wide = round(tall * float(rng.uniform(*kind.aspects)))
    pen = Pen((wide, tall))
    kind.draw(pen, rng)
    tile = _lit(pen.finish(mirrored=bool(rng.random() < 0.5)), rng)
    lowest = max(horizon + 0.05, 0.25)
    for _ in range(8):
        base = lowest + (1.02 - lowest) * np.clip(nearness + rng.normal(0, 0.08), 0.08, 1)
        left = int(rng.uniform(-0.2 * wide, width - 0.8 * wide))
        if stage.place(tile, left, round(float(base) * height) - tall, kind):
            return


def _lit(tile: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shade a thing from above or below, and roughen its surface."""
    pixels = np.asarray(tile, dtype=np.float32).copy()
    top, bottom = rng.uniform(0.85, 1.2), rng.uniform(0.7, 1.0)
    pixels[:, :, :3] *= np.linspace(top, bottom, tile.height, dtype=np.float32)[:, None, None]
    grain = rng.uniform(-9, 9, (max(2, tile.height // 5), max(2, tile.width // 5))).astype(np.float32)
    pixels[:, :, :3] += np.asarray(Image.fromarray(grain).resize(tile.size, Image.Resampling.BILINEAR))[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def frame_rng(seed: int, index: int) -> np.random.Generator:
    """The random source of one frame: frames of a seed do not depend on each other, nor on how many are rendered."""
    return np.random.default_rng((seed, index))


def _written(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


def write_demo(out: Path, *, count: int, seed: int) -> dict[str, Truth]:
    """Write a demo's images: each of four cameras keeps its place and its cast, the second sees animals only.

    :param out: Folder, made if need be; files of the same names are replaced.
    :param count: Frames with a good name; ``blah.jpg``, whose name is bad, comes on top.
    :return: What each file shows, by its name.
    """
    out.mkdir(parents=True, exist_ok=True)
    truths: dict[str, Truth] = {}
    for index in range(count + 1):
        device = index % len(CASTS)
        timestamp = FIRST_TIMESTAMP + 57 * index
        name = f"dev{device + 1}_{timestamp}.jpg" if index < count else "blah.jpg"
        caption = f"dev{device + 1}  {_written(timestamp)}"
        image, truth = render_frame(frame_rng(seed, index), place=frame_rng(seed, 10**6 + device), cast=CASTS[device], caption=caption)
        image.save(out / name, quality=88)
        truths[name] = truth
    return truths


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write camera-like frames for the demo.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--count", type=int, default=12, help="frames with a good name (default %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="default %(default)s")
    args = parser.parse_args(argv)
    truths = write_demo(args.out, count=args.count, seed=args.seed)
    sys.stdout.write(f"{len(truths)} frames with {sum(len(truth.classes) for truth in truths.values())} things in {args.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
