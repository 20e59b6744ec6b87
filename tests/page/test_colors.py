from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import ImageColor

from inat_ray.page.colors import GRAY, PAPERS, SCALE, SERIES, STATES

SEEN = {
    "all colors": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
"""Linear RGB as readers see it who see ... (Machado et al., 2009)."""

TO_CONES = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
FROM_CONES = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]
"""Ottosson's OKLab (2020), in which equal distances look equal."""


def linear(color: str) -> np.ndarray:
    part = np.array(ImageColor.getrgb(color)) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(linear(color) @ [0.2126, 0.7152, 0.0722] for color in (a, b))
    return (high + 0.05) / (low + 0.05)


def distance(a: str, b: str, *, seen: str) -> float:
    rgb = np.clip([SEEN[seen] @ linear(color) for color in (a, b)], 0, 1)
    places = np.cbrt(rgb @ np.transpose(TO_CONES)) @ np.transpose(FROM_CONES)
    return 100 * float(np.linalg.norm(places[0] - places[1]))


@pytest.mark.parametrize("paper", PAPERS)
def test_every_mark_stands_out_from_the_page(paper):
    marks = {*SERIES, *SCALE, GRAY, *(color for color, _ in STATES.values())}
    assert {mark for mark in marks if contrast(mark, paper) < 3} == set()


@pytest.mark.parametrize("seen", SEEN)
def test_who_does_not_see_a_color_tells_the_series_apart_and_reads_the_scale(seen):
    assert min(distance(a, b, seen=seen) for a, b in combinations(SERIES, 2)) > 6
    assert min(distance(a, b, seen=seen) for a, b in pairwise(SCALE)) > 3
