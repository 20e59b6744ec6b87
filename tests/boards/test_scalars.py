import math

from inat_ray.boards.scalars import EPOCH, epoch_scalars, search_scalars


def test_an_epoch_has_a_scalar_for_each_tag_and_nan_for_what_an_older_log_lacks(sweep):
    old = sweep[2].model_copy()
    object.__delattr__(old, "val_balanced_accuracy")
    values = epoch_scalars(old)
    assert list(values) == list(EPOCH)
    assert math.isnan(values["val/balanced_accuracy"])
    assert values["val/accuracy"] == sweep[2].val_accuracy


def test_a_search_without_a_result_has_no_best_score(sweep, history_of):
    assert search_scalars(history_of(sweep[:2])) == (0, {"search/epochs_spent": 0.0})
    assert search_scalars(history_of(sweep[:6])) == (
        1,
        {"search/epochs_spent": 3.0, "search/best_score": 0.9},
    )
