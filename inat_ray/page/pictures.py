"""Small pictures, as arrays (h, w, 3) of uint8 and as files' content."""

import io
import math
from functools import cache

import numpy as np
import plotly.colors
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Pixels = NDArray[np.uint8]

GAP = 3
"""Pixels between the cells of a grid."""

HEAT_SCALE = "Inferno"
HEAT_SHARE = 0.5
"""Of the heat's colour in an overlay; the rest is the photograph."""

BRIGHTEST = 0.995
"""Quantile of a gradient that is drawn at full strength; single pixels would darken the rest."""

JPEG_QUALITY = 85


def filters_picture(filters: Tensor, *, side: int = 480) -> Pixels:
    """Kernels (m, 3, k, k) beside each other, each in its own range, not smoothed."""
    low = filters.amin(dim=(1, 2, 3), keepdim=True)
    high = filters.amax(dim=(1, 2, 3), keepdim=True)
    scaled = (filters - low) / (high - low).clamp(min=1e-12)
    return grid(_bytes(scaled.permute(0, 2, 3, 1)), side=side)


def maps_picture(maps: Tensor, *, most: int = 16, side: int = 480) -> Pixels:
    """The first of the maps (m, h, w) beside each other, each in its own range."""
    shown = maps[:most].detach().cpu()
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    scaled = (shown - low) / (high - low).clamp(min=1e-12)
    return grid(heat_colors(scaled.numpy()), side=side)


def gradient_picture(gradient: Tensor, *, side: int = 160) -> Pixels:
    """A gradient (3, s, s) around middle grey, so that no change is grey."""
    values = gradient.detach().cpu().permute(1, 2, 0)
    strength = float(values.abs().flatten().quantile(BRIGHTEST)) or float(values.abs().max()) or 1.0
    return enlarged(_bytes((values / strength).clamp(-1, 1) / 2 + 0.5), side=side)


def overlay(photograph: Pixels, heat: Tensor) -> Pixels:
    """A heat map (s, s) in 0..1 over a photograph (S, S, 3) in grey, in its size."""
    side = photograph.shape[0]
    small = Image.fromarray((heat.detach().cpu().numpy() * 255).astype(np.uint8))
    scaled = np.asarray(small.resize((side, side), Image.Resampling.BILINEAR)) / 255
    grey = np.asarray(Image.fromarray(photograph).convert("L"))[..., None]
    mixed = (1 - HEAT_SHARE) * grey + HEAT_SHARE * heat_colors(scaled)
    return mixed.round().astype(np.uint8)


def heat_colors(values: NDArray[np.floating]) -> Pixels:
    """Values in 0..1 of any shape as colours (..., 3)."""
    return _heat_table()[(values * 255).round().astype(np.uint8)]


def grid(cells: Pixels, *, side: int) -> Pixels:
    """Cells (n, h, w, 3) in about as many rows as columns, on white, enlarged to about `side`."""
    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    cells = np.stack([enlarged(cell, side=side // columns) for cell in cells])
    _, height, width, _ = cells.shape
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    sheet = np.full(shape, 255, dtype=np.uint8)
    for place, cell in enumerate(cells):
        top, left = (place // columns) * (height + GAP), (place % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def enlarged(pixels: Pixels, *, side: int) -> Pixels:
    """By a whole factor to about `side` pixels, each pixel a square; never smaller."""
    factor = max(1, side // max(pixels.shape[:2]))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def png(pixels: Pixels) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", optimize=True)
    return content.getvalue()


def jpeg(pixels: Pixels, *, most: int = 160) -> bytes:
    """At most `most` pixels a side."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((most, most), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()


def _bytes(values: Tensor) -> Pixels:
    """0..1 to 0..255."""
    pixels: Pixels = (values * 255).round().to(torch.uint8).numpy()
    return pixels


@cache
def _heat_table() -> Pixels:
    """(256, 3): a scale whose steps look even, in grey too."""
    places = np.linspace(0, 1, 256).tolist()
    colors = plotly.colors.sample_colorscale(HEAT_SCALE, places, colortype="tuple")
    return (np.array(colors) * 255).round().astype(np.uint8)
