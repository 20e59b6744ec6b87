"""Predicts training images by models that were not trained on them, by cross-validation."""

import math
from dataclasses import replace

import numpy as np
import torch

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.data.dataset import DataSet
from inat_ray.data.progress import advancing
from inat_ray.data.split import Indices
from inat_ray.training.features import FeatureBatches
from inat_ray.training.fit import Fit
from inat_ray.training.predictions import Predictions


def out_of_fold(
    experiment: Experiment, data: DataSet, *, folds: int, device: torch.device
) -> Predictions:
    """Predicts each training image by a model of the same experiment that was not trained on it.

    `folds` models, each trained to its last epoch without its share of every class; at most as many
    as there are images. Features of a frozen part, which knows no label, are computed once for all.
    Raises UserError if too few images are left to train on.
    """
    rows, count = data.subset("train"), len(data.classes)
    labels = data.pack.labels[rows]
    folds = min(folds, len(rows))
    if len(rows) - math.ceil(len(rows) / folds) < 2:
        raise UserError(f"--folds: {len(rows)} training images are too few to leave some out")
    probabilities = np.empty((len(rows), count), dtype=np.float32)
    fold = _folds(labels, folds, seed=experiment.seed)
    keeps = isinstance(Fit(experiment, data, device=device).inputs.batches, FeatureBatches)
    epochs = experiment.recipe.epochs
    what = f"training {folds} models, each without a part"
    with advancing(what, total=folds * epochs, unit="epochs") as advance:
        for number in range(folds):
            held = fold == number
            fit = _fit_without(held, experiment, data, on_features=keeps, device=device)
            for _ in range(epochs):
                fit.epoch()
                advance(1)
            assert fit.validated is not None
            probabilities[held] = fit.validated.probabilities.numpy()
    names = [data.pack.names[index] for index in rows]
    return Predictions(names, data.classes, labels, probabilities)


def _folds(labels: Indices, folds: int, *, seed: int) -> Indices:
    """Returns the fold (n,) of each image: of each class as many in one as in another, or one
    more."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty_like(labels)
    fold[order] = np.arange(len(labels)) % folds
    return fold


def _fit_without(
    held: np.ndarray,
    experiment: Experiment,
    data: DataSet,
    *,
    on_features: bool,
    device: torch.device,
) -> Fit:
    """Returns a training on the other training images, which validates on those that are held."""
    if not on_features:
        rows = data.subset("train")
        split = replace(data.split, train=rows[~held], validation=rows[held])
        return Fit(experiment, replace(data, split=split), device=device)
    fit = Fit(experiment, data, device=device)
    batches = fit.inputs.batches
    assert isinstance(batches, FeatureBatches)
    train = replace(batches, features=batches.features.of_rows(~held))
    fit.inputs = replace(fit.inputs, batches=train, validation=batches.features.of_rows(held))
    return fit
