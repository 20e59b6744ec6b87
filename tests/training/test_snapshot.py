from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from inat_ray.config.load import load_experiment
from inat_ray.config.metrics import Tally
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.evaluation import Evaluation
from inat_ray.training.fit import Fit
from inat_ray.training.loop import Job, Worker, train_to_the_end
from inat_ray.training.snapshot import (
    AUGMENTED,
    MISTAKES,
    SIDE,
    augmented_pictures,
    filled_cells,
    first_filters,
    read_snapshot,
    shrunk,
    take_snapshot,
    worst_mistakes,
    write_snapshot,
)

CPU = torch.device("cpu")


@pytest.fixture
def job(data_folder, small_settings, tmp_path) -> Job:
    settings = [*small_settings, f"data.source={data_folder}", "recipe.epochs=3", "device=cpu"]
    experiment = load_experiment(None, settings=settings)
    return Job(experiment, open_dataset(experiment.data), checkpoints=Place.at(tmp_path / "c"))


@pytest.fixture
def fit(job) -> Fit:
    fit = Fit(job.experiment, job.data, device=CPU)
    fit.epoch()
    return fit


def evaluation(probabilities: list[list[float]], labels: list[int]) -> Evaluation:
    classes = len(probabilities[0])
    return Evaluation(
        tally=Tally(loss=0.0, confusion=torch.zeros(classes, classes, dtype=torch.int64)),
        probabilities=torch.tensor(probabilities),
        labels=torch.tensor(labels),
    )


def test_the_worst_mistakes_are_the_surest_ones_first():
    seen = evaluation([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], labels=[0, 0, 1, 0])
    found = worst_mistakes(seen, indices=np.array([40, 41, 42, 43]))
    assert found[:, 0].tolist() == [41, 43, 42]
    assert found[:, 1].tolist() == [0, 0, 1]
    assert found[:, 2].tolist() == [1, 1, 0]
    assert found[:, 3].tolist() == pytest.approx([0.8, 0.7, 0.6])


def test_equally_sure_mistakes_stand_in_the_order_of_the_pack_and_are_not_too_many():
    seen = evaluation([[0.25, 0.75]] * 20, labels=[0] * 20)
    found = worst_mistakes(seen, indices=np.arange(20)[::-1].copy())
    assert found[:, 0].tolist() == list(range(MISTAKES))


def test_what_is_no_number_is_no_mistake():
    seen = evaluation([[float("nan")] * 2, [0.1, 0.9]], labels=[0, 1])
    assert worst_mistakes(seen, indices=np.array([0, 1])).shape == (0, 4)


def test_cells_of_a_confusion_are_those_that_hold_something():
    cells = filled_cells(np.array([[3, 0], [1, 0]]))
    assert cells.tolist() == [[0, 0, 3], [1, 0, 1]]


def test_a_snapshot_is_of_the_epoch_that_has_just_ended(fit):
    snapshot = take_snapshot(fit, augmented=augmented_pictures(fit))
    assert snapshot.epoch == 1
    assert snapshot.confusion[:, 2].sum() == len(fit.data.subset("validation"))
    right = sum(n for truth, guess, n in snapshot.confusion if truth == guess)
    assert right / 12 == fit.validated.tally.accuracy
    mistakes = snapshot.mistakes
    assert len(mistakes.indices) == 12 - right
    for index, truth, picture in zip(
        mistakes.indices, mistakes.truths, mistakes.pictures, strict=True
    ):
        assert fit.data.pack.labels[index] == truth
        assert np.array_equal(picture, fit.data.pack.images[index])
    filters = torch.from_numpy(snapshot.filters)
    assert torch.equal(filters, next(fit.evaluated_model.parameters()).detach())


@pytest.mark.parametrize(
    ("first", "count"),
    [
        (nn.Conv2d(3, 5, 3), 5),
        (nn.Conv2d(3, 5, 1), 0),  # single pixels, as beside the other in a RepVGG
        (nn.Conv2d(3, 6, 3, groups=3), 0),  # each filter sees one color
        (nn.Linear(3, 5), 0),
    ],
    ids=["3 x 3", "1 x 1", "grouped", "dense"],
)
def test_filters_are_those_of_a_convolution_on_three_colors(first, count):
    filters = first_filters(nn.Sequential(first), ["0"])
    assert (0 if filters is None else len(filters)) == count


def test_a_snapshot_without_filters_comes_back_without(fit, tmp_path):
    place = Place.at(tmp_path / "s.safetensors")
    none = np.empty((0, 3, 1, 1), np.float32)
    write_snapshot(
        place, replace(take_snapshot(fit, augmented=augmented_pictures(fit)), filters=none)
    )
    assert read_snapshot(place).filters.shape == none.shape


def test_augmented_pictures_are_what_the_first_step_is_trained_on(fit):
    pictures = augmented_pictures(fit)
    batch = next(fit.inputs.batches.epoch(0)).images
    assert pictures.shape == (min(AUGMENTED, len(batch)), 32, 32, 3)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (fit.mean, fit.std))
    expected = ((batch[0] * std + mean).clamp(0, 1) * 255).round()
    assert np.array_equal(pictures[0], expected.permute(1, 2, 0).to(torch.uint8).numpy())


def test_features_of_a_frozen_backbone_come_from_augmented_pictures_too(data_folder, pack_cache):
    settings = [
        "model={kind: resnet, backbone: resnet18, weights: none, freeze: {strategy: head_only}}",
        f"data={{source: {data_folder}, cache: {pack_cache}, image_size: 32}}",
        "recipe.batch_size=8",
    ]
    experiment = load_experiment(None, settings=settings)
    pictures = augmented_pictures(Fit(experiment, open_dataset(experiment.data), device=CPU))
    assert pictures.shape == (8, 32, 32, 3)
    assert pictures.std() > 10


def test_large_pictures_are_made_small():
    assert shrunk(np.zeros((2, 300, 300, 3), dtype=np.uint8)).shape == (2, SIDE, SIDE, 3)


def test_a_snapshot_comes_back_as_it_was_written(fit, tmp_path):
    place = Place.at(tmp_path / "s.safetensors")
    written = take_snapshot(fit, augmented=augmented_pictures(fit))
    write_snapshot(place, written)
    read = read_snapshot(place)
    assert (read.epoch, read.classes) == (1, ["ash", "beech", "cedar"])
    assert np.array_equal(read.confusion, written.confusion)
    assert np.array_equal(read.filters, written.filters)
    assert np.array_equal(read.mistakes.indices, written.mistakes.indices)
    assert np.array_equal(read.mistakes.probabilities, written.mistakes.probabilities)
    # JPEG: near enough to look at.
    assert read.augmented.shape == written.augmented.shape
    assert np.abs(read.augmented.astype(int) - written.augmented).mean() < 25


@pytest.mark.parametrize("damage", ["none", "cut off", "foreign", "another format"])
def test_what_is_no_snapshot_is_read_as_none(fit, tmp_path, damage):
    path = tmp_path / "s.safetensors"
    if damage != "none":
        write_snapshot(Place.at(path), take_snapshot(fit, augmented=augmented_pictures(fit)))
        content = path.read_bytes()
        path.write_bytes(
            {
                "cut off": content[:-100],
                "foreign": b"no such file",
                "another format": content.replace(b'"version":"1"', b'"version":"9"'),
            }[damage]
        )
    assert read_snapshot(Place.at(path)) is None


def test_training_gives_the_same_numbers_with_and_without_snapshots(job, tmp_path):
    place = Place.at(tmp_path / "s.safetensors")
    without = [done.metrics.val_loss for done in train_to_the_end(job, Worker(CPU))]
    told = replace(job, checkpoints=Place.at(tmp_path / "other"), snapshot=place)
    done = list(train_to_the_end(told, Worker(CPU)))
    assert [each.metrics.val_loss for each in done] == without
    best = [each.metrics.epoch for each in done if each.improved][-1]
    assert read_snapshot(place).epoch == best
