"""Small pictures show what they are given."""

import io

import numpy as np
import torch
from PIL import Image

from inat_ray.page.pictures import (
    GAP,
    enlarged,
    filters_picture,
    gradient_picture,
    grid,
    heat_colors,
    jpeg,
    maps_picture,
    overlay,
    png,
)


def test_cells_stand_in_rows_on_white():
    cells = np.stack([np.full((2, 2, 3), value, dtype=np.uint8) for value in (10, 20, 30)])
    sheet = grid(cells, side=8)
    assert sheet.shape == (8 + GAP, 8 + GAP, 3)
    assert [sheet[0, 0, 0], sheet[0, -1, 0], sheet[-1, 0, 0], sheet[-1, -1, 0]] == [10, 20, 30, 255]
    assert sheet[0, 4, 0] == 255


def test_each_filter_uses_its_whole_range():
    filters = torch.stack([torch.linspace(0, 1, 27), torch.linspace(-0.01, 0.01, 27)])
    picture = filters_picture(filters.view(2, 3, 3, 3), side=12)
    left, right = picture[:6, :6], picture[:6, 6 + GAP :]
    assert left.min() == right.min() == 0
    assert left.max() == right.max() == 255
    assert np.abs(left.astype(int) - right).max() <= 1  # rounding


def test_equal_values_make_a_picture_too():
    assert filters_picture(torch.ones(4, 3, 3, 3)).shape[2] == 3
    assert maps_picture(torch.zeros(4, 5, 5)).shape[2] == 3
    assert np.unique(gradient_picture(torch.zeros(3, 8, 8))).tolist() == [128]


def test_a_gradient_is_drawn_around_gray():
    gradient = torch.zeros(3, 2, 2)
    gradient[0, 0, 0], gradient[1, 1, 1] = 2.0, -2.0
    picture = gradient_picture(gradient, side=2)
    assert picture[0, 0].tolist() == [255, 128, 128]
    assert picture[1, 1].tolist() == [128, 0, 128]


def test_only_the_first_maps_are_drawn():
    maps = torch.rand(40, 2, 2)
    assert np.array_equal(maps_picture(maps, most=16), maps_picture(maps[:16]))


def test_heat_brightens_the_photograph_where_it_is():
    photograph = np.full((4, 4, 3), 100, dtype=np.uint8)
    heat = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    mixed = overlay(photograph, heat).astype(int).sum(axis=2)
    assert mixed[0, 0] == mixed.max() > mixed[-1, -1]
    assert np.array_equal(heat_colors(np.array([0.0, 1.0])).sum(axis=1).argsort(), [0, 1])


def test_enlarging_repeats_pixels():
    pixels = np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8)
    assert enlarged(pixels, side=5).shape == (2, 4, 3)
    assert enlarged(pixels, side=5)[1, 3].tolist() == [4, 5, 6]


def test_files_hold_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 255, (300, 200, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)
    assert Image.open(io.BytesIO(jpeg(pixels, most=150))).size == (100, 150)
