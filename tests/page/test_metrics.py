import pytest

from inat_ray.page.metrics import best_so_far, metric_cell, percent_axis


def test_the_best_so_far_is_that_of_all_epochs_that_were_spent_by_then(sweep, history_of):
    history = history_of(sweep)
    steps = best_so_far(history)
    in_order = sorted((e for t in history.searched for e in t.epochs), key=lambda e: e.time)
    for spent, time, value in steps:
        seen = [e.val_accuracy for e in in_order[:spent] if e.val_accuracy == e.val_accuracy]
        assert (time, value) == (in_order[spent - 1].time, max(seen))
    assert [value for _, _, value in steps] == [0.5, 0.9, 0.9]
    assert steps[-1][0] == len(in_order) == 8


def test_a_metric_that_is_minimized_steps_down(history_of, study):
    records = study({"a": [0.5], "b": [0.7], "c": [0.6]}, metric="val_loss", goal="minimize")
    values = [value for _, _, value in best_so_far(history_of(records))]
    assert values == pytest.approx([0.5, 0.3, 0.3])


def test_only_shares_are_shown_in_percent(training):
    epoch = training[2]
    assert metric_cell("val_accuracy", epoch).text.endswith(" %")
    assert metric_cell("val_loss", epoch).text == f"{epoch.val_loss:.3f}"
    assert metric_cell("val_loss", None) is None
    assert (percent_axis("val_accuracy"), percent_axis("val_loss")) == ({"tickformat": ".0%"}, {})
