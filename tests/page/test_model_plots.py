import csv
import io

import numpy as np
import pytest

from inat_ray.page.figure import Figure
from inat_ray.page.marks import Box
from inat_ray.page.model_plots import (
    confused_together,
    confusion_figure,
    reliability_figure,
    scores_figure,
)
from inat_ray.training.scores import Bin, ClassScores, wilson_interval


def rows(figure: Figure) -> list[list[str]]:
    return list(csv.reader(io.StringIO(figure.data(""))))[1:]


def cells(figure: Figure) -> list[Box]:
    return [mark for mark in figure.views[""][0].marks if isinstance(mark, Box) and mark.tip]


def test_scores_are_a_dot_a_class_and_what_is_undefined_has_none():
    classes = [
        ClassScores(name="a", images=4, predicted=0, precision=None, recall=0.0, f1=0.0),
        ClassScores(name="b", images=2, predicted=3, precision=1 / 3, recall=0.5, f1=0.4),
    ]
    drawn = rows(scores_figure(classes, caption=""))
    assert [(x, y) for series, _, x, y in drawn if series == "precision"] == [("0.333333", "b")]
    assert [(x, y) for series, _, x, y in drawn if series == "recall"] == [("0", "a"), ("0.5", "b")]
    assert [(x, y) for series, _, x, y in drawn if series == "F1"] == [("0", "a"), ("0.4", "b")]
    ends = [float(x) for series, _, x, y in drawn if series == "95 % of recall" and y == "b"]
    assert ends == pytest.approx(wilson_interval(1 / 2, 2), abs=1e-5)


def test_a_cell_has_its_share_of_the_row_and_its_count_and_an_empty_one_nothing():
    figure = confusion_figure(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]]), ["a", "b", "c"])
    assert sorted(cell.tip for cell in cells(figure)) == [
        "1 of a taken for b: 25.0 % of the class",
        "2 of c taken for c: 100.0 % of the class",
        "3 of a taken for a: 75.0 % of the class",
    ]
    (plot,) = figure.views[""]
    assert (plot.x.title, plot.y.title) == ("prediction", "truth")
    assert plot.y.at(0) > plot.y.at(2)


def test_the_shades_are_for_confusions_alone():
    by_tip = {
        c.tip[:2]: c for c in cells(confusion_figure(np.array([[90, 10], [4, 96]]), ["a", "b"]))
    }
    assert by_tip["90"].color == by_tip["96"].color != by_tip["10"].color
    assert by_tip["10"].opacity == 0.75
    assert by_tip["4 "].opacity < 0.75


def test_of_some_classes_the_shares_are_still_those_of_all_images():
    matrix = np.array([[1, 2, 1], [0, 5, 0], [4, 0, 0]])
    figure = confusion_figure(matrix, ["a", "b", "c"], shown=[0, 2])
    assert list(figure.views[""][0].x.names) == ["a", "c"]
    assert "1 of a taken for c: 25.0 % of the class" in [cell.tip for cell in cells(figure)]


def test_classes_that_are_confused_stand_together():
    matrix = np.diag([9, 9, 9, 9])
    matrix[0, 3] = matrix[3, 0] = matrix[1, 2] = 5
    order = confused_together(matrix)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(3)) == 1
    assert abs(order.index(1) - order.index(2)) == 1


@pytest.mark.parametrize(("size", "written"), [(20, True), (21, False)])
def test_counts_are_written_where_there_is_room(size, written):
    figure = confusion_figure(np.eye(size, dtype=np.int64), [str(n) for n in range(size)])
    assert any(mark.is_written for mark in figure.views[""][0].marks) is written


def test_empty_bins_have_no_accuracy_and_the_others_their_interval():
    bins = [
        Bin(low=0.0, high=0.5, images=0, confidence=None, accuracy=None),
        Bin(low=0.5, high=1.0, images=10, confidence=0.9, accuracy=0.8),
    ]
    drawn = rows(reliability_figure(bins))
    assert [row[2:] for row in drawn if row[0] == "accuracy"] == [["0.9", "0.8"]]
    ends = [float(y) for series, _, _, y in drawn if series == "95 %"]
    assert ends == pytest.approx(wilson_interval(8 / 10, 10), abs=1e-5)
    assert [row[3] for row in drawn if row[0] == "images"] == ["10"]


def test_bins_of_few_images_are_hollow_and_not_joined():
    bins = [
        Bin(low=0.0, high=0.5, images=3, confidence=0.4, accuracy=1.0),
        Bin(low=0.5, high=1.0, images=30, confidence=0.9, accuracy=0.8),
    ]
    curve, _ = reliability_figure(bins).views[""]
    dots = {mark.x: mark.shape for mark in curve.marks if hasattr(mark, "shape")}
    assert dots == {0.4: "circle-open", 0.9: "circle"}
    assert [len(mark.points) for mark in curve.marks if hasattr(mark, "points")] == [2, 1]
