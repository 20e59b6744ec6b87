import csv
import io

import numpy as np
import pytest

from inat_ray.page.marks import Box, Dot, Line, Words
from inat_ray.page.model_plots import (
    confused_together,
    confusion_figure,
    reliability_figure,
    scores_figure,
)
from inat_ray.training.scores import Bin, ClassScores, wilson_interval


def drawn(figure, place: int = 0, *, kind: type) -> list:
    return [mark for mark in figure.views[""][place].marks if isinstance(mark, kind)]


def data(figure) -> list[list[str]]:
    return list(csv.reader(io.StringIO(figure.data(""))))[1:]


def test_scores_are_a_dot_a_class_the_first_on_top_and_what_is_undefined_has_none():
    classes = [
        ClassScores(name="a", images=4, predicted=0, precision=None, recall=0.0, f1=0.0),
        ClassScores(name="b", images=2, predicted=3, precision=1 / 3, recall=0.5, f1=0.4),
    ]
    figure = scores_figure(classes, caption="")
    dots = {(dot.series, dot.y): dot.x for dot in drawn(figure, kind=Dot)}
    assert dots == {
        ("recall", 1): 0.0,
        ("F1", 1): 0.0,
        ("recall", 0): 0.5,
        ("precision", 0): 1 / 3,
        ("F1", 0): 0.4,
    }
    assert len({dot.shape for dot in drawn(figure, kind=Dot)}) == 3
    interval = [float(x) for series, _, x, name in data(figure) if "95 %" in series and name == "b"]
    assert interval == pytest.approx(wilson_interval(1, 2), abs=1e-5)


def test_a_cell_has_its_count_and_an_empty_one_nothing():
    figure = confusion_figure(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]]), ["a", "b", "c"])
    rows = sorted((truth, said, count) for truth, _, said, count in data(figure))
    assert rows == [("a", "a", "3"), ("a", "b", "1"), ("c", "c", "2")]
    assert sorted(words.text for words in drawn(figure, kind=Words)) == ["1", "2", "3"]


def shades(figure) -> dict[str, float]:
    return {box.tip: round(box.opacity, 2) for box in drawn(figure, kind=Box) if box.tip}


def test_the_shades_are_for_confusions_alone_and_linear():
    figure = confusion_figure(np.array([[90, 10], [5, 95]]), ["a", "b"])
    assert shades(figure) == {
        "90 images of a classified as a, 90.0 %": 0.16,
        "10 images of a classified as b, 10.0 %": 0.75,
        "5 images of b classified as a, 5.0 %": 0.38,
        "95 images of b classified as b, 95.0 %": 0.16,
    }


def test_of_some_classes_the_shares_are_still_those_of_all_images():
    matrix = np.array([[1, 2, 1], [0, 5, 0], [4, 0, 0]])
    figure = confusion_figure(matrix, ["a", "b", "c"], shown=[0, 2])
    assert "1 images of a classified as c, 25.0 %" in shades(figure)
    assert not any("b" in tip.split(" of ")[1] for tip in shades(figure) if " b " in tip)


def test_classes_that_are_confused_stand_together():
    matrix = np.diag([9, 9, 9, 9])
    matrix[0, 3] = matrix[3, 0] = matrix[1, 2] = 5
    order = confused_together(matrix)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(3)) == 1
    assert abs(order.index(1) - order.index(2)) == 1


@pytest.mark.parametrize(("size", "written"), [(20, 20), (21, 0)])
def test_counts_are_written_where_there_is_room(size, written):
    figure = confusion_figure(np.eye(size, dtype=np.int64), [str(n) for n in range(size)])
    assert len(drawn(figure, kind=Words)) == written


def test_empty_bins_have_neither_an_accuracy_nor_a_bar():
    bins = [
        Bin(low=0.0, high=0.5, images=0, confidence=None, accuracy=None),
        Bin(low=0.5, high=1.0, images=10, confidence=0.9, accuracy=0.8),
    ]
    figure = reliability_figure(bins, caption="")
    (dot,) = drawn(figure, kind=Dot)
    assert (dot.x, dot.y) == (0.9, 0.8)
    ends = [float(y) for series, _, _, y in data(figure) if series == "95 % interval"]
    assert ends == pytest.approx(wilson_interval(8, 10), abs=1e-5)
    (bar,) = drawn(figure, 1, kind=Box)
    assert bar.value == "10"
    assert figure.views[""][0].x.low == pytest.approx(0.495)


def test_bins_of_few_images_are_hollow_and_not_joined():
    bins = [
        Bin(low=0.0, high=0.5, images=3, confidence=0.4, accuracy=1.0),
        Bin(low=0.5, high=1.0, images=30, confidence=0.9, accuracy=0.8),
    ]
    figure = reliability_figure(bins, caption="")
    assert [dot.shape for dot in drawn(figure, kind=Dot)] == ["circle-open", "circle"]
    assert drawn(figure, kind=Line)[-1].points == [(0.9, 0.8)]
