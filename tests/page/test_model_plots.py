import numpy as np
import pytest

from inat_ray.page.model_plots import confusion_plot, reliability_plot, scores_plot
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
    assert len({trace.marker.symbol for trace in drawn.values()}) == 3


def test_a_cell_has_its_share_of_the_row_and_its_count_and_an_empty_one_nothing():
    figure = confusion_plot(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]]), ["a", "b", "c"])
    [drawn] = figure.data
    assert [list(row) for row in drawn.z] == [[0.75, 0.25, None], [None] * 3, [None, None, 1]]
    assert [list(row) for row in drawn.text] == [[3, 1, ""], [""] * 3, ["", "", 2]]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (
        "prediction",
        "truth",
    )
    assert figure.layout.yaxis.autorange == "reversed"


def test_of_some_classes_the_shares_are_still_those_of_all_images():
    matrix = np.array([[1, 2, 1], [0, 5, 0], [4, 0, 0]])
    [drawn] = confusion_plot(matrix, ["a", "b", "c"], shown=[0, 2]).data
    assert list(drawn.x) == ["a", "c"]
    assert [list(row) for row in drawn.z] == [[0.25, 0.25], [1, None]]


@pytest.mark.parametrize(("size", "written"), [(20, True), (21, False)])
def test_counts_are_written_where_there_is_room(size, written):
    [drawn] = confusion_plot(np.eye(size, dtype=np.int64), [str(n) for n in range(size)]).data
    assert (drawn.texttemplate is not None) is written


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
