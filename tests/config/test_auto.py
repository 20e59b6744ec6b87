"""The rules of `auto` on facts that are made up: no image is read, no step is trained."""

from dataclasses import replace

import pytest

from inat_ray.config.auto import Facts, choose, reference
from inat_ray.config.load import load_experiment
from inat_ray.config.space import search_space
from inat_ray.config.space_check import check_inside

LITE = tuple(
    {"source": "timm", "backbone": f"tf_efficientnet_lite{n}", "weights": "default"} for n in (0, 1)
)

PHOTOGRAPHS = Facts(
    training=2347,
    validation=587,
    test=736,
    is_split_off=True,
    classes=5,
    smallest=506,
    side=240,
    time=3600,
    start=6,
    decoding=20,
    cores=2,
    gpus=0,
    memory=8,
    models=LITE[:1],
    seconds=0.022,
)
"""Photographs, two cores, weights, an hour."""

WITHOUT = replace(PHOTOGRAPHS, models=(), no_weights="no network", seconds=0.0026)
"""The same without weights."""


def chosen(facts: Facts):
    """The experiment as a run has it, after what every new run is checked for."""
    experiment = load_experiment(choose(facts).tree)
    check_inside(experiment, search_space(experiment, where="auto"), where="auto")
    return experiment


def summary(facts: Facts) -> tuple:
    experiment = chosen(facts)
    model = experiment.model
    kind = model.kind if model.kind == "cnn" else model.freeze.strategy
    return kind, experiment.data.image_size, experiment.recipe.epochs, experiment.data.share


HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (PHOTOGRAPHS, ("fraction", 224, 8, 1.0)),
        (replace(PHOTOGRAPHS, time=DAY), ("fraction", 224, 15, 1.0)),
        (replace(PHOTOGRAPHS, time=600), ("fraction", 224, 4, 1.0)),
        (replace(PHOTOGRAPHS, time=400), ("head_only", 224, 60, 1.0)),
        (replace(PHOTOGRAPHS, gpus=8, seconds=5e-4), ("fraction", 224, 15, 1.0)),
        (replace(PHOTOGRAPHS, gpus=1, seconds=5e-4, time=600), ("fraction", 224, 8, 1.0)),
        # 80 photographs of 2 classes: enough steps, not just a few epochs.
        (
            replace(PHOTOGRAPHS, training=51, validation=13, classes=2, smallest=32),
            ("fraction", 224, 42, 1.0),
        ),
        # 60 classes x 20
        (
            replace(PHOTOGRAPHS, training=768, validation=192, classes=60, smallest=16),
            ("fraction", 224, 21, 1.0),
        ),
        # 100,000 photographs
        (
            replace(PHOTOGRAPHS, training=64_000, validation=16_000, time=HOUR, decoding=600),
            ("head_only", 224, 60, 1.0),
        ),
        (
            replace(PHOTOGRAPHS, training=64_000, validation=16_000, time=600, decoding=600),
            ("head_only", 224, 60, 0.125),
        ),
        (WITHOUT, ("cnn", 64, 30, 1.0)),
        (replace(WITHOUT, time=DAY), ("cnn", 128, 60, 1.0)),
        (replace(WITHOUT, time=600), ("cnn", 64, 10, 1.0)),
        # 28 x 28, with weights at hand
        (replace(PHOTOGRAPHS, side=28, seconds=0.0026), ("cnn", 32, 30, 1.0)),
        (replace(PHOTOGRAPHS, side=28, is_asked=True), ("fraction", 224, 8, 1.0)),
    ],
)
def test_the_first_way_that_the_time_is_enough_for_is_taken(facts, found):
    assert summary(facts) == found


def test_time_for_nothing_takes_the_fastest_way_with_the_fewest_images():
    facts = replace(WITHOUT, time=60, seconds=0.1)
    assert summary(facts) == ("cnn", 32, 14, 0.25)
    _, why, search = choose(facts).why
    assert search.startswith("there is hardly time for one")
    assert "a share of 0.25" in why
    assert "yet the time is too short: training it 3 times, and all that goes with it" in why
    assert why.endswith("on 2 cores, of which there are 60 seconds")


def test_the_time_is_for_all_that_is_left_to_do():
    experiment = chosen(PHOTOGRAPHS)
    start, decoding, test = 5 * 6, 10, 736 * 0.022 * 0.9
    assert experiment.search.time == int(3600 - start - decoding - test)
    assert experiment.search.time_covers == "run"


def test_few_validation_images_choose_between_few_trials_and_by_loss():
    small = replace(PHOTOGRAPHS, training=51, validation=13, classes=2)
    found = [chosen(each).search for each in (small, PHOTOGRAPHS)]
    assert [(search.trials, search.metric.name) for search in found] == [
        (10, "val_loss"),
        (100, "val_accuracy"),
    ]


@pytest.mark.parametrize(
    ("facts", "fraction"),
    [
        (PHOTOGRAPHS, 0.05),
        (replace(PHOTOGRAPHS, validation=399), None),  # fewer than 100 would be left
        (replace(PHOTOGRAPHS, is_split_off=False), None),
        (replace(PHOTOGRAPHS, time=400), None),  # the output layer, on features of these images
    ],
)
def test_the_winner_trains_on_validation_images_where_enough_are_left(facts, fraction):
    assert chosen(facts).search.final_validation_fraction == fraction
    told = "trains on three quarters of the validation images" in choose(facts).why[2]
    assert told == (fraction is not None)


@pytest.mark.parametrize(("time", "confirm"), [(HOUR, None), (3 * HOUR, (3, 2)), (DAY, (5, 3))])
def test_other_seeds_confirm_once_there_is_time(time, confirm):
    found = chosen(replace(PHOTOGRAPHS, time=time, models=LITE[:1])).search.confirm
    assert (found and (found.top, found.seeds)) == confirm


def test_backbones_are_compared_once_there_is_time_for_many_trainings():
    day = replace(PHOTOGRAPHS, models=LITE, gpus=8, seconds=5e-4)
    names = [model["backbone"] for model in LITE]
    assert chosen(day).search.parameters["model.backbone"] == {"values": names}
    assert "model.backbone" not in chosen(replace(day, gpus=0, seconds=0.022)).search.parameters


def test_a_training_gets_as_many_cores_as_it_needs_to_end_in_time():
    many = replace(PHOTOGRAPHS, cores=64, memory=256, seconds=7e-4)
    cores = [chosen(replace(many, time=time)).resources.cpus_per_worker for time in (600, DAY)]
    assert cores == [9, 1]
    assert chosen(replace(many, time=DAY, memory=16)).resources.cpus_per_worker == 8


def test_an_epoch_has_steps_enough_and_the_rate_follows_the_batch():
    small = chosen(replace(PHOTOGRAPHS, training=51, validation=13)).recipe
    usual = chosen(PHOTOGRAPHS).recipe
    assert (usual.batch_size, usual.lr) == (64, 0.01)
    assert (small.batch_size, small.lr) == (8, 0.0035)


def test_the_reference_that_is_timed_is_of_the_kind_that_is_chosen():
    assert load_experiment(reference(PHOTOGRAPHS)).model.backbone == "tf_efficientnet_lite0"
    assert load_experiment(reference(WITHOUT)).data.image_size == 64


def test_three_sentences_say_why():
    model, way, search = choose(WITHOUT).why
    assert "240 px, 506 in the smallest class" in model
    assert model.endswith("as there are no weights: no network")
    assert "cnn_best at 64 px, 30 epochs of 2,347 images" in way
    assert search.startswith("100 trials at most, as fit in 59 minutes with all that follows")
