import math

import numpy as np
import pytest

from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.history import History
from inat_ray.log.records import EpochEnded, LookAtTest, RunStarted, TrialEnded, TrialStarted
from inat_ray.models.complexity import complexity
from inat_ray.run.result_content import (
    assessment_result,
    look_result,
    search_result,
    training_result,
)
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import assess, wilson_interval


@pytest.fixture(scope="module")
def experiment(data_folder, small_settings) -> Experiment:
    return load_experiment(None, settings=[*small_settings, f"data.source={data_folder}"])


@pytest.fixture(scope="module")
def data(experiment) -> DataSet:
    return open_dataset(experiment.data)


def history_of(curves: dict[str, list[float]], *, seeds: bool = False) -> History:
    """Trials of six planned epochs with these validation accuracies; losses follow them.

    With `seeds` they are one configuration with the searched seeds 0, 1, 2 and so on.
    """
    history = History()
    history.add(
        RunStarted(
            name="t", method="random", metric="val_accuracy", goal="maximize",
            trials=len(curves), epochs=6, parameters={"seed": "number"} if seeds else {},
        )
    )  # fmt: skip
    for seed, (trial_id, curve) in enumerate(curves.items()):
        drawn = {"seed": seed} if seeds else {}
        history.add(TrialStarted(trial_id=trial_id, seed=seed, parameters=drawn, epochs=6))
        for number, accuracy in enumerate(curve, start=1):
            history.add(
                EpochEnded(
                    trial_id=trial_id, epoch=number, train_loss=1.0, train_accuracy=0.5,
                    val_loss=1 - accuracy, val_accuracy=accuracy,
                    val_balanced_accuracy=accuracy, lr=0.1, seconds=2.0,
                    images_per_second=100.0 * number,
                )
            )  # fmt: skip
        history.add(TrialEnded(trial_id=trial_id, state="finished"))
    return history


def test_a_result_tells_of_the_best_epoch_and_the_steady_speed(experiment, data):
    trial = history_of({"a": [0.2, 0.9, 0.4, 0.3]}).trials["a"]
    result = training_result(trial, experiment=experiment, data=data)
    assert (result["val_accuracy"], result["best_epoch"], result["epochs"]) == (0.9, 2, 4)
    assert result["val_loss"] == pytest.approx(0.1)
    assert result["images_per_second"] == 300.0
    assert result["seconds"] == 8.0
    assert result["data"]["images"] == {"train": 48, "validation": 12, "test": 15}


def test_a_training_without_any_number_is_a_failure_with_its_remedy(experiment, data):
    trial = history_of({"a": [math.nan, math.nan]}).trials["a"]
    with pytest.raises(RunFailedError, match=r"lower recipe\.lr"):
        training_result(trial, experiment=experiment, data=data)


def test_a_search_tells_its_winner_and_the_epochs_that_it_saved(experiment, data):
    """By stopping trials: one that failed saves nothing."""
    history = history_of({"a": [0.5], "b": [0.6, 0.8, 0.7], "c": []})
    history.add(TrialEnded(trial_id="a", state="stopped"))
    history.add(TrialEnded(trial_id="c", state="failed"))
    result = search_result(history, experiment=experiment, data=data)
    assert result["winner"] == "b"
    assert result["val_accuracy"] == 0.8
    assert result["epochs"] == 4
    assert result["epochs_saved"] == 5


def test_a_search_over_seeds_tells_its_configurations_and_wins_with_the_first_seed(
    experiment, data
):
    history = history_of({"a": [0.5], "b": [0.6, 0.7]}, seeds=True)
    result = search_result(history, experiment=experiment, data=data)
    assert (result["winner"], result["parameters"]) == ("a", {"seed": 0})
    assert result["study"] == [
        {
            "parameters": {},
            "trials": ["a", "b"],
            "n": 2,
            "mean": pytest.approx(0.6),
            "sd": pytest.approx(0.02**0.5),
            "seconds_per_epoch": 2.0,
            "trainable_parameters": complexity(experiment, classes=3).parameters,
        }
    ]


def test_a_confirmed_search_tells_the_best_trial_and_what_new_seeds_made_of_it(experiment, data):
    history = history_of({"a": [0.5], "b": [0.9, 0.2]})
    for seed, accuracy in enumerate((0.4, 0.6), start=7):
        name = f"b_seed_{seed}"
        start = TrialStarted(trial_id=name, purpose="confirm", seed=seed, parameters={}, epochs=6)
        epoch = history.trials["a"].epochs[0]
        history.add(start)
        history.add(epoch.model_copy(update={"trial_id": name, "val_accuracy": accuracy}))
        history.add(TrialEnded(trial_id=name, state="finished"))
    result = search_result(history, experiment=experiment, data=data)
    assert (result["best_trial"], result["score"], result["winner"]) == ("b", 0.9, "b_seed_7")
    (confirmed,) = result["confirmed"]
    assert (confirmed["n"], confirmed["mean"]) == (2, 0.5)


def test_a_search_without_seeds_has_no_study(experiment, data):
    history = history_of({"a": [0.5], "b": [0.6, 0.7]})
    assert "study" not in search_result(history, experiment=experiment, data=data)


def test_a_look_tells_the_interval_of_its_accuracy_and_its_calibration():
    look = LookAtTest(
        model="m", accuracy=0.7, loss=0.4, images=10, ece=0.1, predictions="p.parquet"
    )
    assert look_result(look) == {
        "test_accuracy": 0.7,
        "test_accuracy_interval": pytest.approx(wilson_interval(0.7, 10)),
        "test_loss": 0.4,
        "test_ece": 0.1,
        "test_images": 10,
    }


def test_a_look_of_an_earlier_version_has_no_calibration():
    look = LookAtTest.model_validate_json(
        '{"kind": "look_at_test", "time": 1.0, "model": "m", "accuracy": 1.0, "loss": 0.4,'
        ' "images": 10, "predictions": "p.parquet"}'
    )
    assert look_result(look)["test_ece"] is None


def test_an_assessment_names_every_class_and_leaves_undefined_numbers_null():
    said = Predictions(
        paths=["1", "2"],
        classes=["a", "b", "c"],
        truths=np.array([0, 1]),
        probabilities=np.eye(3, dtype=np.float32)[[0, 0]],
    )
    result = assessment_result(assess(said), subset="validation")
    assert result["val_classes"] == {
        "a": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "images": 1},
        "b": {"precision": None, "recall": 0.0, "f1": 0.0, "images": 1},
        "c": {"precision": None, "recall": None, "f1": None, "images": 0},
    }
    assert (result["val_ece"], result["val_macro_recall"]) == (0.5, 0.5)
    assert "val_top5_accuracy" not in result
