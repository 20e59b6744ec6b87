"""A figure is legible at each of its widths, on its own, and as data."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from inat_ray.page.axes import categories, linear
from inat_ray.page.figure import PHONE, PRINT, SCREEN, Figure, Key, Plot
from inat_ray.page.marks import Dot, Line


def plot_of(**looks) -> Plot:
    plot = Plot(linear("epoch", [0, 10]), linear("loss", [0, 1]), **looks)
    plot.add(Dot(3, 0.5, trial="t1", series="a"), Line([(0, 1), (10, 0)], series="b"))
    return plot


@pytest.fixture
def figure() -> Figure:
    keys = [Key(f"a long entry {i}", "circle") for i in range(4)]
    return Figure("one", "what it shows", {"": [plot_of(legend=keys)]}, "n = 2")


@pytest.mark.parametrize("width", [SCREEN, PHONE, PRINT])
def test_all_words_are_within_the_picture(figure, width):
    root = ET.fromstring(figure.svg("", width))
    _, _, wide, high = map(float, root.get("viewBox").split())
    assert wide == width
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 <= float(text.get("x")) <= wide
        assert 0 <= float(text.get("y")) <= high


def test_a_legend_has_as_many_lines_as_it_needs(figure):
    wide, narrow = (figure.svg("", width) for width in (SCREEN, PHONE))
    heights = [len(set(re.findall(r'<circle cx="6" cy="(\d+)"', svg))) for svg in (wide, narrow)]
    assert heights == [1, 2]


def test_on_its_own_it_has_colors_of_its_own(figure):
    printed = figure.printed("")
    assert "var(" not in printed
    assert printed.startswith('<svg xmlns="http://www.w3.org/2000/svg"')


def test_plots_stand_side_by_side_where_there_is_room():
    figure = Figure("two", "l", {"": [plot_of(), plot_of()]}, least=300)
    xs = [
        re.findall(r'<g transform="translate\((\d+)\.0 4\.0\)">', figure.svg("", w))
        for w in (960, 370)
    ]
    assert xs == [["0", "480"], ["0"]]


def test_its_data_are_every_value_that_is_drawn(figure):
    assert figure.data("").splitlines() == [
        "series,trial,epoch,loss", "a,t1,3,0.5", "b,,0,1", "b,,10,0",
    ]  # fmt: skip


def test_long_names_of_categories_are_shortened_or_turned():
    names = ["a name that is long", "another one that is long"]
    plot = Plot(categories("kind", names), linear("loss", [0, 1]))
    assert "a name that is long" in plot.svg(960, 300, left=40)
    assert "…" in plot.svg(240, 300, left=40)
    assert "rotate(-35" in Plot(categories("k", names * 5), plot.y).svg(300, 300, left=40)


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def test_a_runs_text_is_text_wherever_it_stands():
    evil = '<img src=x onerror=alert(1)></script>"'
    plot = Plot(linear(evil, [0, 1]), categories(evil, [evil]), legend=[Key(evil, "x")], title=evil)
    plot.add(Dot(0, 0, trial=evil, tip=evil, series=evil))
    html = Figure("f", evil, {evil: [plot], "b": [plot]}, evil).__html__()
    assert "img" not in Tags(html).tags
    assert Tags(html).tags.count("script") == 2


def test_all_but_the_first_view_are_hidden():
    html = Figure("f", "l", {"a": [plot_of()], "b": [plot_of()]}).__html__()
    assert re.findall(r'<div class="view"( hidden)?>', html) == ["", " hidden"]
    assert 'value="0" checked> a</label>' in html
