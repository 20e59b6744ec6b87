import numpy as np
import pytest

from inat_ray.page.model_plots import (
    confused_together,
    confusion_plot,
    reliability_plot,
    scores_plot,
)
from inat_ray.training.scores import Bin, ClassScores, wilson_interval


def test_scores_are_a_dot_a_class_and_what_is_undefined_has_none():
    classes = [
        ClassScores(name="a", images=4, predicted=0, precision=None, recall=0.0, f1=0.0),
        ClassScores(name="b", images=2, predicted=3, precision=1 / 3, recall=0.5, f1=0.4),
    ]
    drawn = {trace.name: trace for trace in scores_plot(classes).data}
    assert list(drawn["precision"].x) == [None, 1 / 3]
    assert list(drawn["recall"].x) == [0, 0.5]
    assert list(drawn["F1"].x) == [0, 0.4]
    assert drawn["recall"].error_x.arrayminus[1] == pytest.approx(0.5 - wilson_interval(1, 2)[0])
    assert len({trace.marker.symbol for trace in drawn.values()}) == 3


def test_a_cell_has_its_share_of_the_row_and_its_count_and_an_empty_one_nothing():
    figure = confusion_plot(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]]), ["a", "b", "c"])
    right, wrong, counts = figure.data
    order = [list(right.x).index(name) for name in "abc"]
    shares = np.array(right.z, dtype=float)[np.ix_(order, order)]
    assert shares[0, 0] == 0.75
    assert shares[2, 2] == 1
    assert np.isnan(shares).sum() == 7
    assert [v for row in wrong.z for v in row if v is not None] == [0.25]
    assert sorted(zip(counts.y, counts.x, counts.text, strict=True)) == [
        ("a", "a", "3"),
        ("a", "b", "1"),
        ("c", "c", "2"),
    ]
    titles = (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text)
    assert titles == ("prediction", "truth")
    assert figure.layout.yaxis.autorange == "reversed"


def test_the_shades_are_for_confusions_alone():
    right, wrong, _ = confusion_plot(np.array([[90, 10], [4, 96]]), ["a", "b"]).data
    assert wrong.zmax == 0.1
    assert right.colorscale[0][1] == right.colorscale[1][1]


def test_of_some_classes_the_shares_are_still_those_of_all_images():
    matrix = np.array([[1, 2, 1], [0, 5, 0], [4, 0, 0]])
    right, wrong, _ = confusion_plot(matrix, ["a", "b", "c"], shown=[0, 2]).data
    assert list(right.x) == ["a", "c"]
    assert [list(row) for row in wrong.z] == [[None, 0.25], [1, None]]


def test_classes_that_are_confused_stand_together():
    matrix = np.diag([9, 9, 9, 9])
    matrix[0, 3] = matrix[3, 0] = matrix[1, 2] = 5
    order = confused_together(matrix)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(3)) == 1
    assert abs(order.index(1) - order.index(2)) == 1


@pytest.mark.parametrize(("size", "written"), [(20, True), (21, False)])
def test_counts_are_written_where_there_is_room(size, written):
    drawn = confusion_plot(np.eye(size, dtype=np.int64), [str(n) for n in range(size)]).data
    assert (drawn[-1].type == "scatter") is written


def test_empty_bins_have_a_count_and_no_accuracy():
    bins = [
        Bin(low=0.0, high=0.5, images=0, confidence=None, accuracy=None),
        Bin(low=0.5, high=1.0, images=10, confidence=0.9, accuracy=0.8),
    ]
    _, accuracies, counts = reliability_plot(bins).data
    assert (list(accuracies.x), list(accuracies.y)) == ([0.9], [0.8])
    low, high = wilson_interval(8, 10)
    assert accuracies.error_y.array[0] == pytest.approx(high - 0.8)
    assert accuracies.error_y.arrayminus[0] == pytest.approx(0.8 - low)
    assert list(counts.y) == [0, 10]
    assert list(counts.x) == [0.25, 0.75]


def test_bins_of_few_images_are_hollow_and_not_joined():
    bins = [
        Bin(low=0.0, high=0.5, images=3, confidence=0.4, accuracy=1.0),
        Bin(low=0.5, high=1.0, images=30, confidence=0.9, accuracy=0.8),
    ]
    _, many, few, _ = reliability_plot(bins).data
    assert (list(many.x), list(few.x)) == ([0.9], [0.4])
    assert (few.mode, few.marker.symbol) == ("markers", "circle-open")
