import copy
import dataclasses

import pytest
import torch

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.augment import generator
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.models.complexity import complexity
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import load_checkpoint, load_model, model_writer, save_checkpoint
from inat_ray.training.fit import Fit

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def build(data_folder, small_settings):
    """Makes an experiment from --set lines."""

    def build(*settings: str) -> Experiment:
        return load_experiment(
            None,
            settings=[
                *small_settings,
                f"data.source={data_folder}",
                "recipe.epochs=4",
                "device=cpu",
                *settings,
            ],
        )

    return build


@pytest.fixture(scope="module")
def data(build) -> DataSet:
    return open_dataset(build().data)


def numbers(fit: Fit, epochs: int) -> list[tuple[float, float, float]]:
    """Everything of the epochs' metrics that is not a time."""
    metrics = [fit.epoch() for _ in range(epochs)]
    return [(m.train_loss, m.val_loss, m.lr) for m in metrics]


def test_it_learns_what_is_easy(build, data):
    fit = Fit(build("recipe.epochs=12", "recipe.lr=0.01"), data)
    metrics = [fit.epoch() for _ in range(12)]
    assert metrics[-1].train_loss < metrics[0].train_loss
    assert metrics[-1].val_accuracy > 0.8
    assert [m.epoch for m in metrics] == list(range(1, 13))
    assert fit.epochs_done == 12


RECIPES = [
    (),
    ("recipe.optimizer=sgd", "recipe.schedule=warmup_stable_decay"),
    ("recipe.optimizer=adam", "recipe.schedule=cosine", "recipe.ema_decay=0.9"),
    ("model.dropout=0.3", "recipe.augmentation.mixup=0.4", "recipe.augmentation.cutmix=1.0"),
    ("recipe.augment=false", "recipe.gradient_clip=0.5", "recipe.class_weights=balanced"),
    ("recipe.precision=bf16", "recipe.channels_last=false", "recipe.flip_average=true"),
    ("data.image_size=64", "model.global_pool=true", "recipe.initial_scale=0.5"),
    ("data.image_size=64", "model.global_pool=true", "recipe.train_scale=0.75"),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda settings: " ".join(settings) or "default")
def test_saved_and_restored_it_continues_bit_for_bit(build, data, recipe, tmp_path):
    experiment = build(*recipe)
    whole = Fit(experiment, data)
    expected = numbers(whole, 4)
    stopped = Fit(experiment, data)
    numbers(stopped, 2)
    save_checkpoint(Place.at(tmp_path / "state.pt"), stopped.state_dict())
    torch.manual_seed(999)  # another process's generator would be anywhere
    resumed = Fit(experiment, data)
    resumed.load_state_dict(load_checkpoint(Place.at(tmp_path / "state.pt"), CPU))
    assert numbers(resumed, 2) == expected[2:]
    for name, tensor in resumed.evaluated_model.state_dict().items():
        assert torch.equal(tensor, whole.evaluated_model.state_dict()[name]), name


def test_dropout_draws_from_a_stream_that_no_augmentation_has(build, data):
    fit = Fit(build("model.dropout=0.3"), data)
    fit.epoch()
    seed = fit.experiment.seed
    steps = {generator(seed, 0, step).initial_seed() for step in range(1000)}
    assert torch.initial_seed() not in steps


def test_the_same_seed_repeats_and_another_does_not(build, data):
    assert numbers(Fit(build(), data), 2) == numbers(Fit(build(), data), 2)
    assert numbers(Fit(build(), data), 1) != numbers(Fit(build("seed=1"), data), 1)


def test_evaluation_counts_every_image_once_and_leaves_the_state_alone(build, data):
    fit = Fit(build("model.dropout=0.3"), data)
    fit.epoch()
    before = {name: t.clone() for name, t in fit.model.state_dict().items()}
    first, second = fit.validate(), fit.validate()
    assert first.tally.loss == second.tally.loss
    assert torch.equal(first.tally.confusion, second.tally.confusion)
    assert first.tally.images == len(data.subset("validation")) == len(first.labels)
    torch.testing.assert_close(first.probabilities.sum(dim=1), torch.ones(first.tally.images))
    assert all(torch.equal(before[name], t) for name, t in fit.model.state_dict().items())


def test_validation_loss_knows_no_smoothing_and_no_weights(build, data):
    fit = Fit(build("recipe.label_smoothing=0.5", "recipe.class_weights=balanced"), data)
    fit.epoch()
    evaluation = fit.validate()
    chosen = evaluation.probabilities.gather(1, evaluation.labels[:, None])
    assert evaluation.tally.loss == pytest.approx(-chosen.log().mean().item(), rel=1e-5)


def test_the_averaged_weights_are_the_ones_that_are_evaluated_and_lag_behind(build, data):
    fit = Fit(build("recipe.ema_decay=0.99"), data)
    fit.epoch()
    newest = dict(fit.model.named_parameters())
    average = dict(fit.evaluated_model.named_parameters())
    assert any(not torch.equal(average[name], newest[name]) for name in newest)


def test_flip_averaging_sees_no_difference_between_a_picture_and_its_mirror(build, data):
    plain, averaged = Fit(build(), data), Fit(build("recipe.flip_average=true"), data)
    assert not torch.equal(plain.validate().probabilities, averaged.validate().probabilities)


def test_a_loss_that_is_no_number_marks_the_run_as_diverged(build, data):
    settings = ("recipe.optimizer=sgd", "recipe.lr=10", "recipe.weight_decay=10")
    fit = Fit(build(*settings, "model.batch_norm=false", "recipe.schedule=constant"), data)
    assert any(fit.epoch().diverged for _ in range(fit.experiment.recipe.epochs))


def test_a_saved_model_evaluates_as_it_did(build, data, tmp_path):
    fit = Fit(build("recipe.ema_decay=0.9", "recipe.flip_average=true"), data)
    fit.epoch()
    model_writer(fit)(Place.at(tmp_path / "m.safetensors"))
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.classes == data.pack.classes
    assert loaded.experiment == fit.experiment
    evaluation = loaded.evaluate(data, "validation", device=CPU)
    assert evaluation.tally.loss == fit.validate().tally.loss
    assert torch.equal(evaluation.tally.confusion, fit.validate().tally.confusion)


RESNET = (
    "model={kind: resnet, backbone: resnet18, weights: none}",
    "recipe.lr=0.01",
    "recipe.batch_size=24",  # two steps an epoch: most of a step is the optimizer's
)
FREEZES = {
    "head_only": range(20),
    "first_k, k: 7": range(7),
    "fraction, fraction: 0.5": range(10),
    "freeze_fc": [20],
    "gradual, every: 1": range(5),  # 4 epochs thaw the head and three of the five other stages
    "none": [],
}
"""How a ResNet18 is frozen -> the places of the layers that must not move in 4 epochs."""


@pytest.mark.parametrize("ema", ["null", "0.5"])
@pytest.mark.parametrize("freeze", FREEZES)
def test_frozen_layers_keep_weights_and_statistics_and_all_others_move(build, data, freeze, ema):
    settings = (*RESNET, f"model.freeze={{strategy: {freeze}}}", f"recipe.ema_decay={ema}")
    fit = Fit(build(*settings, "model.cache_features=false"), data)
    before = {name: tensor.clone() for name, tensor in fit.model.state_dict().items()}
    while fit.epochs_done < fit.experiment.recipe.epochs:
        fit.epoch()
    for model in (fit.model, fit.evaluated_model):
        for name, tensor in model.state_dict().items():
            place = next(i for i, layer in enumerate(fit.layers) if layer.owns(name))
            assert tensor.equal(before[name]) == (place in FREEZES[freeze]), name


@pytest.mark.parametrize("freeze", FREEZES)
def test_a_checkpoint_and_the_optimiser_hold_what_trains_alone_and_continue_bit_for_bit(
    build, data, freeze
):
    settings = (*RESNET, f"model.freeze={{strategy: {freeze}}}", "recipe.ema_decay=0.5")
    experiment = build(*settings, "model.cache_features=false")
    whole = Fit(experiment, data)
    expected = numbers(whole, 4)
    stopped = Fit(experiment, data)
    numbers(stopped, 2)
    state = copy.deepcopy(stopped.state_dict())
    resumed = Fit(experiment, data)
    resumed.load_state_dict(state)
    assert numbers(resumed, 2) == expected[2:]
    moving = set(range(21)) - set(FREEZES[freeze])
    held = {i for i, layer in enumerate(whole.layers) if any(map(layer.owns, state["model"]))}
    assert held == moving
    trained = {id(p) for i in moving for p in whole.layers[i].parameters}
    assert {id(p) for p in whole.optimizer.state} == trained


def test_a_gradual_freeze_has_optimiser_state_only_once_a_layer_has_thawed(build, data):
    fit = Fit(build(*RESNET, "model.freeze={strategy: gradual, every: 1}"), data)
    sizes = []
    for _ in range(3):
        fit.epoch()
        sizes.append(len(fit.optimizer.state))
    assert sizes[0] == 2  # weight and bias of the output layer
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_pretrained_model_sees_images_as_its_weights_were_trained_on_them(build, data, tmp_path):
    first = Fit(build(*RESNET), data)
    first.epoch()
    model_writer(first)(Place.at(tmp_path / "m.safetensors"))
    settings = f"model={{kind: resnet, backbone: resnet18, weights: '{tmp_path}/m.safetensors'}}"
    other = dataclasses.replace(data, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    second = Fit(build(settings), other)
    assert (second.mean, second.std) == (data.mean, data.std)
    for layer, same in zip(first.layers[:-1], second.layers[:-1], strict=True):
        assert layer.modules[0].weight.equal(same.modules[0].weight)


def test_an_epoch_tells_the_size_of_its_network(build, data):
    experiment = build()
    metrics, size = Fit(experiment, data).epoch(), complexity(experiment, classes=len(data.classes))
    assert (metrics.model_parameters, metrics.macs) == (size.parameters, size.macs)
