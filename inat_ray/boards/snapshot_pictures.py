"""Draws the snapshot of a training's best epoch as pictures: see `training.snapshot`."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from inat_ray.page.pictures import GAP, Pixels, filters_picture, heat_colors
from inat_ray.terminal.words import percent
from inat_ray.training.snapshot import Mistakes, Snapshot

COLUMNS, SIDE, CAPTION = 4, 128, 30
"""Pictures beside each other; pixels of a picture's side, and of the two lines below it."""

MOST_NAMED = 40
"""A matrix of more classes has neither names nor counts, which nobody could read."""

CELL, TINY_CELL = 44, 6
"""Pixels of a cell's side, with a count and without."""

AXES, LEAST_MARGIN = "rows: true\ncolumns:\npredicted", 76
"""The text in a matrix's corner, and the pixels that it needs; classes' names may need more."""

PAPER, INK = "white", "black"

FONT = ImageFont.load_default(size=12)


def augmented_picture(snapshot: Snapshot) -> Pixels:
    """Draws the first training images as the network sees them."""
    return _sheet(snapshot.augmented, captions=None)


def mistakes_picture(snapshot: Snapshot) -> Pixels | None:
    """Draws the validation images that it got wrong most surely; None without a mistake."""
    mistakes = snapshot.mistakes
    if not len(mistakes.pictures):
        return None
    return _sheet(mistakes.pictures, captions=_captions(mistakes, snapshot.classes))


def first_filters_picture(snapshot: Snapshot) -> Pixels | None:
    """Draws the first convolution's filters, each in its own range; None if it has no colors."""
    return filters_picture(torch.from_numpy(snapshot.filters)) if len(snapshot.filters) else None


def confusion_picture(snapshot: Snapshot) -> Pixels:
    """Draws a row for each true class: colors are shares of the row, texts are counts."""
    classes = snapshot.classes
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    counts[snapshot.confusion[:, 0], snapshot.confusion[:, 1]] = snapshot.confusion[:, 2]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    if len(classes) > MOST_NAMED:
        return heat_colors(shares).repeat(TINY_CELL, axis=0).repeat(TINY_CELL, axis=1)
    return _named_matrix(counts, shares, classes)


def _named_matrix(
    counts: NDArray[np.int64], shares: NDArray[np.float64], classes: Sequence[str]
) -> Pixels:
    margin = max(LEAST_MARGIN, 12 + int(max(FONT.getlength(name) for name in classes)))
    side = margin + CELL * len(classes)
    image = Image.new("RGB", (side, side), PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((6, 6), AXES, fill=INK, font=FONT, spacing=1)
    colors = heat_colors(shares)
    for row, name in enumerate(classes):
        middle = margin + CELL * row + CELL // 2
        pen.text((margin - 6, middle), name, fill=INK, font=FONT, anchor="rm")
        _write_upright(image, name, left=middle, bottom=margin - 6)
        for column, count in enumerate(counts[row]):
            left, top = margin + CELL * column, margin + CELL * row
            color = tuple(int(channel) for channel in colors[row, column])
            pen.rectangle((left, top, left + CELL - 2, top + CELL - 2), fill=color)
            if count:
                ink = INK if np.mean(color) > 140 else PAPER
                place = (left + CELL // 2, top + CELL // 2)
                pen.text(place, str(count), fill=ink, font=FONT, anchor="mm")
    return np.asarray(image)


def _write_upright(image: Image.Image, text: str, *, left: int, bottom: int) -> None:
    """Writes text that is read from below, centered on `left`."""
    length = int(FONT.getlength(text)) + 2
    strip = Image.new("RGB", (length, 16), PAPER)
    ImageDraw.Draw(strip).text((0, 8), text, fill=INK, font=FONT, anchor="lm")
    image.paste(strip.rotate(90, expand=True), (left - 8, bottom - length))


def _captions(mistakes: Mistakes, classes: Sequence[str]) -> list[str]:
    """Returns 'roses 98.1 %' above 'is tulips' for each mistake."""
    rows = zip(mistakes.predictions, mistakes.probabilities, mistakes.truths, strict=True)
    return [
        _fitted(classes[guess], after=f" {percent(float(sure))}")
        + "\n"
        + _fitted(f"is {classes[truth]}")
        for guess, sure, truth in rows
    ]


def _fitted(text: str, *, after: str = "") -> str:
    """Returns `text` + `after`, with as much of `text` cut off as does not fit below a picture."""
    line, kept = text + after, len(text)
    while FONT.getlength(line) > SIDE and kept:
        kept -= 1
        line = text[:kept].rstrip() + "…" + after
    return line


def _sheet(pictures: Pixels, *, captions: Sequence[str] | None) -> Pixels:
    """Draws pictures (n, s, s, 3) beside each other, each above its caption."""
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = SIDE + GAP, SIDE + GAP + (CAPTION if captions else 0)
    image = Image.new("RGB", (columns * width - GAP, rows * height - GAP), PAPER)
    pen = ImageDraw.Draw(image)
    for place, pixels in enumerate(pictures):
        left, top = place % columns * width, place // columns * height
        scaled = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        image.paste(scaled, (left, top))
        if captions:
            pen.text((left, top + SIDE), captions[place], fill=INK, font=FONT, spacing=1)
    return np.asarray(image)
