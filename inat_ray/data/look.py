"""Looks at labeled images before any is decoded for a pack: how many, how large, how slow."""

import io
import time
from collections import Counter
from collections.abc import Iterator
from statistics import median

from PIL import Image

from inat_ray.config.auto import ImageFacts
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DEFAULT_IMAGE_SIZE, DataConfig
from inat_ray.data.decode import UndecodableError
from inat_ray.data.names import shown_name
from inat_ray.data.sources import Source, open_source

SAMPLE = 32
"""Images that are decoded."""

SIDE = 280
"""Of the squares that photographs are decoded to, in pixels, as for a pre-trained network."""


def look_at(config: DataConfig) -> ImageFacts:
    """Counts the images and decodes a sample of them.

    Raises UserError as `open_source`, if a class is too small to be split, and if none of the
    sample can be read.
    """
    source = open_source(config)
    items = source.items
    roles = Counter(item.role for item in items)
    per_class = Counter(item.label for item in items)
    test = roles["test"] or round(len(items) * config.test_fraction)
    learned = len(items) - test
    validation = roles["validation"] or round(learned * config.validation_fraction)
    split = Counter(item.label for item in items if item.role in ("", "train"))
    parts = 3 - bool(roles["test"]) - bool(roles["validation"])
    for label, name in enumerate(source.classes):
        if split[label] < parts:
            raise UserError(
                f"data.source: class {shown_name(name)} has {split[label]} images to train on and"
                f" to split off from; {parts} at least are needed"
            )
    shown = list(_decoded(source, config))
    if not shown:
        raise UserError(f"data.source: {config.source}: none of {SAMPLE} images can be read")
    return ImageFacts(
        training=round((learned - validation) * config.share),
        validation=round(validation * config.share),
        test=test,
        is_split_off=not roles["validation"],
        classes=len(source.classes),
        smallest=min(per_class.values()),
        side=round(median(side for side, _ in shown)),
        decoding=median(seconds for _, seconds in shown) * len(items),
    )


def _decoded(source: Source, config: DataConfig) -> Iterator[tuple[int, float]]:
    """Yields the shorter side and the seconds of images from all over the source."""
    side = DEFAULT_IMAGE_SIZE if config.source == "demo" else SIDE
    for row in range(0, len(source.items), -(-len(source.items) // SAMPLE)):
        begin = time.perf_counter()
        try:
            content = source.content(row)
            source.square(content, side=side, fit=config.fit)
        except UndecodableError:
            continue
        yield _side(content, config), time.perf_counter() - begin


def _side(content: bytes, config: DataConfig) -> int:
    """Returns the shorter side of a photograph; pictures that are drawn have any."""
    if config.source == "demo":
        return DEFAULT_IMAGE_SIZE
    with Image.open(io.BytesIO(content)) as picture:
        return min(picture.size)
