import pytest

from inat_ray.page.metrics import best_so_far, metric_cell
from inat_ray.search.winner import searched_winner
from tests.made_up_sweep import of_now


def test_the_best_so_far_is_that_of_all_epochs_that_were_spent_by_then(sweep, history_of):
    history = history_of(sweep)
    steps = best_so_far(history)
    in_order = sorted((e for t in history.searched for e in t.epochs), key=lambda e: e.time)
    for spent, record, value in steps:
        seen = [e.val_accuracy for e in in_order[:spent] if e.val_accuracy == e.val_accuracy]
        assert (record, value) == (in_order[spent - 1], max(seen))
    assert [value for _, _, value in steps] == [0.5, 0.9, 0.9]
    assert steps[-1][0] == len(in_order) == 8


def test_the_best_so_far_is_that_of_the_score(sweep, history_of):
    steps = best_so_far(history_of(of_now(sweep)))
    assert [value for _, _, value in steps] == pytest.approx([0.5, 0.7, 0.7, 0.7])


def test_a_metric_that_is_minimized_steps_down(history_of, study):
    records = study({"a": [0.5], "b": [0.7], "c": [0.6]}, metric="val_loss", goal="minimize")
    values = [value for _, _, value in best_so_far(history_of(records))]
    assert values == pytest.approx([0.5, 0.3, 0.3])


def test_only_shares_are_shown_in_percent(training):
    epoch = training[2]
    assert metric_cell("val_accuracy", epoch).text.endswith(" %")
    assert metric_cell("val_loss", epoch).text == f"{epoch.val_loss:.3f}"
    assert metric_cell("val_loss", None) is None


def test_a_confirmed_winner_is_found_among_the_trials_of_the_search(history_of, study):
    records = study({"a": [0.9], "b": [0.5]})
    anew = [
        record.model_copy(update={"trial_id": f"{record.trial_id}_again", "time": 2e9})
        for record in records[4:]
    ]
    anew[0] = anew[0].model_copy(update={"purpose": "confirm", "seed": 7})
    assert searched_winner(history_of(records)).trial_id == "trial_0000"
    assert searched_winner(history_of([*records, *anew])).trial_id == "trial_0001"
