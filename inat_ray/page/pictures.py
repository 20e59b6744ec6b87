"""Small pictures, as arrays (h, w, 3) of uint8 and as the content of image files."""

import io
import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Pixels = NDArray[np.uint8]

GAP = 3
"""Pixels between the cells of a grid."""

HEAT_SCALE = (
    *("#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60"),
    *("#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"),
)
"""Ten colors of Inferno (van der Walt & Smith, 2015), at even steps."""

HEAT_SHARE = 0.5
"""The heat's share of the color in an overlay; the rest is the photograph."""

BRIGHTEST = 0.995
"""Quantile of a gradient that is drawn at full strength; single pixels would darken the rest."""

JPEG_QUALITY = 85


def filters_picture(filters: Tensor, *, side: int = 480) -> Pixels:
    """Draws kernels (m, 3, k, k) beside each other, each in its own range, not smoothed."""
    return grid(_bytes(_in_own_range(filters).permute(0, 2, 3, 1)), side=side)


def maps_picture(maps: Tensor, *, most: int = 16, side: int = 480) -> Pixels:
    """Draws the first of the maps (m, h, w) beside each other, each in its own range."""
    shown = _in_own_range(maps[:most].detach().cpu())
    return grid(heat_colors(shown.numpy()), side=side)


def gradient_picture(gradient: Tensor, *, side: int = 160) -> Pixels:
    """Draws a gradient (3, s, s) around middle gray: where nothing changes, it is gray."""
    values = gradient.detach().cpu().permute(1, 2, 0)
    strength = float(values.abs().flatten().quantile(BRIGHTEST)) or float(values.abs().max()) or 1.0
    return enlarged(_bytes((values / strength).clamp(-1, 1) / 2 + 0.5), side=side)


def overlay(photograph: Pixels, heat: Tensor) -> Pixels:
    """Lays a heat map (s, s) in 0..1 over a photograph (S, S, 3) in gray, at the latter's size."""
    small = Image.fromarray(_bytes(heat.detach().cpu()))
    scaled = np.asarray(small.resize(photograph.shape[:2], Image.Resampling.BILINEAR)) / 255
    gray = np.asarray(Image.fromarray(photograph).convert("L"))[..., None]
    mixed = (1 - HEAT_SHARE) * gray + HEAT_SHARE * heat_colors(scaled)
    return mixed.round().astype(np.uint8)


def heat_colors(values: NDArray[np.floating]) -> Pixels:
    """Returns the colors (..., 3) of values in 0..1 of any shape."""
    return _heat_table()[(values * 255).round().astype(np.uint8)]


def grid(cells: Pixels, *, side: int) -> Pixels:
    """Lays out cells (n, h, w, 3) on white, about `side` wide and with about as many rows."""
    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    cells = enlarged(cells, side=side // columns)
    count, height, width, _ = cells.shape
    height, width = height + GAP, width + GAP
    places = np.full((rows * columns, height, width, 3), 255, dtype=np.uint8)
    places[:count, :-GAP, :-GAP] = cells
    lines = places.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return lines.reshape(rows * height, columns * width, 3)[:-GAP, :-GAP]


def enlarged(pixels: Pixels, *, side: int) -> Pixels:
    """Enlarges pixels (..., h, w, 3) to squares, by a whole factor to about `side`; never down."""
    factor = max(1, side // max(pixels.shape[-3:-1]))
    return pixels.repeat(factor, axis=-3).repeat(factor, axis=-2)


def png(pixels: Pixels) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", optimize=True)
    return content.getvalue()


def jpeg(pixels: Pixels, *, most: int = 160) -> bytes:
    """Returns a file's content, at most `most` pixels a side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((most, most), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()


def _in_own_range(values: Tensor) -> Tensor:
    """Scales each of n tensors (n, ...) to 0..1."""
    dims = tuple(range(1, values.dim()))
    low, high = values.amin(dim=dims, keepdim=True), values.amax(dim=dims, keepdim=True)
    return (values - low) / (high - low).clamp(min=1e-12)


def _bytes(values: Tensor) -> Pixels:
    """Scales 0..1 to 0..255."""
    pixels: Pixels = (values * 255).round().to(torch.uint8).numpy()
    return pixels


@cache
def _heat_table() -> Pixels:
    """Returns 256 colors (256, 3), whose steps look even, in gray too."""
    known = np.array([list(bytes.fromhex(color[1:])) for color in HEAT_SCALE])
    places, at = np.linspace(0, 1, 256), np.linspace(0, 1, len(known))
    channels = [np.interp(places, at, channel) for channel in known.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)
