"""Parallel coordinates: the result first, the rest by what it tells."""

import xml.etree.ElementTree as ET

import pytest

from inat_ray.page.coordinates import NOT_SET, coordinates_figure
from inat_ray.page.figure import PHONE, SCREEN
from tests.page.made_scored import scored

NAMES = [f"p{i}" for i in range(13)]


@pytest.fixture(scope="module")
def made_up():
    points = [
        {name: (i * (k + 3)) % 17 for k, name in enumerate(NAMES)} | ({"depth": i} if i % 2 else {})
        for i in range(8)
    ]
    return scored(points, [0.1 * i for i in range(8)])


def axes(figure, width) -> list[ET.Element]:
    root = ET.fromstring(figure.svg("", width))
    return [
        each for each in root.iter("{http://www.w3.org/2000/svg}g") if each.get("class") == "axis"
    ]


@pytest.mark.parametrize(("width", "most"), [(SCREEN, 8), (PHONE, 4)])
def test_the_results_axis_is_first_and_only_as_many_are_shown_as_have_room(made_up, width, most):
    found = axes(coordinates_figure(made_up), width)
    assert len(found) == 15
    assert found[0].get("data-name") == "val acc"
    shown = [axis for axis in found if axis.get("display") is None]
    assert shown == found[:most]
    xs = [float(axis.get("transform")[10:].split()[0]) for axis in shown]
    assert xs == sorted(xs)
    assert 0 < xs[0] < xs[-1] < width


def test_every_trial_is_a_line_with_a_height_at_each_axis_the_best_on_top(made_up):
    root = ET.fromstring(coordinates_figure(made_up).svg("", SCREEN))
    lines = [line for line in root.iter() if line.get("data-heights")]
    assert [line.get("data-trial") for line in lines][-1] == "trial_0007"
    assert all(len(line.get("data-heights").split()) == 15 for line in lines)


def test_trials_without_a_parameter_stand_at_a_place_that_says_so(made_up):
    figure = coordinates_figure(made_up)
    axis = next(a for a in axes(figure, SCREEN) if a.get("data-name") == "depth")
    assert NOT_SET in [text.text for text in axis.iter()]
    bottom = 440 - 44
    root = ET.fromstring(figure.svg("", SCREEN))
    at = [a.get("data-name") for a in axes(figure, SCREEN)].index("depth")
    heights = {
        line.get("data-trial"): float(line.get("data-heights").split()[at])
        for line in root.iter() if line.get("data-heights")
    }  # fmt: skip
    below = [name for name, height in heights.items() if height > bottom]
    assert sorted(below) == [f"trial_{i:04d}" for i in range(0, 8, 2)]


def test_equal_categories_do_not_fall_on_each_other():
    root = ET.fromstring(
        coordinates_figure(scored([{"x": "a"}, {"x": "b"}] * 4, list(range(8)))).svg("", SCREEN)
    )
    heights = [
        line.get("data-heights").split()[1] for line in root.iter() if line.get("data-heights")
    ]
    assert len(set(heights)) == 8


def test_its_data_have_a_column_for_each_parameter(made_up):
    heads, first, *_ = coordinates_figure(made_up).data("").splitlines()
    assert heads == ",".join(["trial", "val_accuracy", *NAMES, "depth"])
    assert first.startswith("trial_0000,0,0,")
    assert first.endswith(",")
