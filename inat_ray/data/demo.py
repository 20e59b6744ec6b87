"""A data set that needs no download: ten shapes drawn by code among clutter and noise.

Color, size, place, angle, texture and clutter are drawn alike for every class, so only the
shape tells. A good recipe learns it and a poor one does not. Validation accuracy of the
quickstart's network (32 px, 9 epochs, batch 32): 0.95 with AdamW, 3e-3 on a cosine, batch norm;
0.92 of that with ReLU and no batch norm; 0.55 with ReLU, no batch norm and Adam at a constant 1e-4
(one seed each; 1 standard error is 0.01 to 0.025).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from inat_ray.data.decode import Fit, Square
from inat_ray.data.item import Item, Role
from inat_ray.data.walk import PassedOver

VERSION = 2
"""Part of the identity: a change of the drawing makes another data set."""

SEED = 1202
TEST_EVERY = 5
"""Every fifth picture of a class is a test image."""

OVERSAMPLING = 2
"""Drawn larger and scaled down, so that edges are smooth."""

NOISE = 22.0
"""Standard deviation of the pixel noise, in gray levels."""

GROUND, INK, ANY = (20, 160), (110, 256), (20, 236)
"""Gray levels that each channel of a color is drawn from. A shape is mostly lighter than its
ground: without that, the same network reached 0.58 in 9 epochs."""

Points = list[tuple[float, float]]
Color = tuple[int, int, int]


def _circle(x: float = 0.0, y: float = 0.0, radius: float = 1.0) -> Points:
    turns = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    return [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns]


def _regular(corners: int, *, inner: float = 1.0) -> Points:
    """Returns a regular polygon; with `inner` below 1 every second corner is pulled in: a star."""
    count = corners if inner == 1.0 else 2 * corners
    radii = [1.0 if inner == 1.0 or i % 2 == 0 else inner for i in range(count)]
    turns = [2 * math.pi * i / count for i in range(count)]
    return [(r * math.cos(t), r * math.sin(t)) for r, t in zip(radii, turns, strict=True)]


def _plus(width: float = 0.32) -> Points:
    corner = [(width, width), (width, 1.0), (-width, 1.0)]
    turns = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    return [(c * x - s * y, s * x + c * y) for c, s in turns for x, y in corner]


# A shape is a list of (outline, whether it is filled with ink or cut out), in order.
SHAPES: dict[str, list[tuple[Points, bool]]] = {
    "arrow": [([(1, 0), (0, -0.9), (0, -0.3), (-1, -0.3), (-1, 0.3), (0, 0.3), (0, 0.9)], True)],
    "crescent": [(_circle(), True), (_circle(x=0.5, radius=0.8), False)],
    "disc": [(_circle(radius=0.9), True)],
    "frame": [(_regular(4), True), ([(0.6 * x, 0.6 * y) for x, y in _regular(4)], False)],
    "pair": [(_circle(x=-0.6, radius=0.5), True), (_circle(x=0.6, radius=0.5), True)],
    "plus": [(_plus(), True)],
    "ring": [(_circle(radius=0.95), True), (_circle(radius=0.55), False)],
    "square": [(_regular(4), True)],
    "star": [(_regular(5, inner=0.4), True)],
    "triangle": [(_regular(3), True)],
}


class Demo:
    """Ten classes of drawn pictures, the same on every machine."""

    def __init__(self, *, images_per_class: int) -> None:
        self.classes = sorted(SHAPES)
        self.parts: dict[Role, str] = {}
        self.passed_over: PassedOver = Counter()
        self.items = [
            Item(
                name=f"{name}/{number:05d}",
                label=label,
                role="test" if number % TEST_EVERY == 0 else "train",
            )
            for label, name in enumerate(self.classes)
            for number in range(images_per_class)
        ]

    def identity(self) -> Iterator[str]:
        yield f"demo {VERSION} {SEED} {len(self.items)}"

    def content(self, index: int) -> bytes:
        """Returns the picture's name, which the drawing is made from."""
        return self.items[index].name.encode()

    def part(self, rows: range) -> "Demo":
        part = copy(self)
        part.items = self.items[rows.start : rows.stop]
        return part

    def square(self, content: bytes, *, side: int, fit: Fit) -> Square:
        shape, number = content.decode().split("/")
        rng = np.random.default_rng([SEED, self.classes.index(shape), int(number)])
        return draw(shape, rng, side=side)


def draw(shape: str, rng: Generator, *, side: int) -> Square:
    """Draws one picture of a shape: background, clutter, the shape, noise.

    The order of the draws from `rng` decides the pixels, and `VERSION` must change with it.
    """
    canvas = side * OVERSAMPLING
    picture = Image.fromarray(_background(rng, canvas))
    _clutter(ImageDraw.Draw(picture), rng, canvas, count=7)
    mask = Image.new("L", (canvas, canvas))
    place = _placement(rng, canvas)
    for outline, filled in SHAPES[shape]:
        ImageDraw.Draw(mask).polygon(place(outline), fill=255 if filled else 0)
    picture.paste(_color(rng, INK), mask=mask)
    _clutter(ImageDraw.Draw(picture), rng, canvas, count=2)
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=np.float64)
    pixels = pixels + rng.normal(0.0, NOISE, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


def _placement(rng: Generator, canvas: int) -> Callable[[Points], Points]:
    """Draws a place, size, angle and slight distortion for an outline of radius 1."""
    radius = rng.uniform(0.24, 0.38) * canvas
    center = rng.uniform(0.38, 0.62, size=2) * canvas
    turn, stretch = rng.uniform(-0.5, 0.5), rng.uniform(0.85, 1.15)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = rotation @ np.diag([stretch, 1 / stretch]) * radius
    return lambda outline: [tuple(matrix @ np.array(point) + center) for point in outline]


def _background(rng: Generator, canvas: int) -> NDArray[np.uint8]:
    """Mixes two colors by a wave of random direction and length."""
    low, high = _color(rng, GROUND), _color(rng, GROUND)
    turn, length = rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.8) * canvas
    y, x = np.mgrid[:canvas, :canvas]
    along = (x * math.cos(turn) + y * math.sin(turn)) / length
    share = 0.5 + 0.35 * np.sin(2 * math.pi * (along + rng.random()))
    mixed: NDArray[np.uint8] = (low + share[..., None] * np.subtract(high, low)).astype(np.uint8)
    return mixed


def _clutter(draw: ImageDraw.ImageDraw, rng: Generator, canvas: int, *, count: int) -> None:
    """Draws strokes of any color, `count` at most."""
    for _ in range(rng.integers(count // 2, count + 1)):
        x, y = rng.uniform(0, canvas, size=2)
        dx, dy = rng.normal(0, 0.18 * canvas, size=2)
        width = int(rng.integers(1, max(2, canvas // 16) + 1))
        draw.line([(x, y), (x + dx, y + dy)], fill=_color(rng, ANY), width=width)


def _color(rng: Generator, levels: tuple[int, int]) -> Color:
    red, green, blue = rng.integers(*levels, size=3).tolist()
    return red, green, blue
