"""Marks stand where their values are, and their words are words."""

import pytest

from inat_ray.page.axes import linear
from inat_ray.page.marks import Area, Box, Cells, Dot, Frame, Line, Whisker, element, symbol


@pytest.fixture
def frame() -> Frame:
    """100 pixels for a unit, from (10, 110) at (0, 0)."""
    axis = linear("a", [0, 1], pad=0)
    axis = type(axis)("a", 0, 1, axis.ticks)
    return Frame(axis, axis, left=10, right=110, top=10, bottom=110)


def test_a_point_stands_at_its_values(frame):
    assert 'cx="60" cy="85" r="4"' in Dot(0.5, 0.25).svg(frame)
    assert "translate(60.0 85.0)" in Dot(0.5, 0.25, shape="diamond").svg(frame)
    assert 'cx="67"' in Dot(0.5, 0.25, shift=7).svg(frame)


def test_a_line_goes_through_its_points_and_leaves_out_what_is_not_finite(frame):
    line = Line([(0, 0), (0.5, float("nan")), (1, 1)])
    assert 'd="M10.0 110.0L110.0 10.0"' in line.svg(frame)
    assert 'd="M10.0 110.0H110.0V10.0"' in Line([(0, 0), (1, 1)], step=True).svg(frame)
    assert Line([(0, float("inf"))]).svg(frame) == ""


def test_boxes_whiskers_areas_and_cells_reach_from_end_to_end(frame):
    box = Box((0, 0), (0.5, 0.2), "red")
    assert 'x="10" y="90" width="50" height="20"' in box.svg(frame)
    assert "M10.0 89.5H60.5V110.0H10.0Z" in Cells([box]).svg(frame)
    assert "M60.0 110.0L60.0 10.0" in Whisker(((0.5, 0), (0.5, 1))).svg(frame)
    assert "M10.0 10.0L110.0 10.0L110.0 110.0L10.0 110.0Z" in (
        Area([(0, 0), (1, 0)], [(0, 1), (1, 1)], "red").svg(frame)
    )


def test_what_comes_from_a_run_is_escaped(frame):
    evil = '"><script>'
    for mark in (
        Box((0, 0), (1, 1), evil, value=evil, is_written=True),
        Dot(0, 0, trial=evil, tip=evil),
    ):
        assert "<script>" not in mark.svg(frame)
    assert element("a", x=None, y="") == "<a/>"


def test_hollow_symbols_are_filled_with_the_page():
    assert 'fill="var(--paper)" stroke="red"' in symbol("circle-open", 0, 0, size=3, color="red")
    assert 'fill="red"' in symbol("square", 0, 0, size=3, color="red")
    assert 'fill="none"' in symbol("x", 0, 0, size=3, color="red")
