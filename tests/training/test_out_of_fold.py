from dataclasses import replace

import numpy as np
import pytest
import torch

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.training import out_of_fold as module
from inat_ray.training.features import FeatureBatches
from inat_ray.training.fit import Fit
from inat_ray.training.out_of_fold import out_of_fold

CPU = torch.device("cpu")

HEAD_ONLY = (
    "model={kind: resnet, backbone: resnet18, weights: none, feature_views: 2}",
    "model.freeze={strategy: head_only}",
)


@pytest.fixture
def experiment(data_folder, tmp_path):
    def experiment(*settings: str):
        small = ["model.filters=[4, 4, 4, 4, 4]", "model.dense=4"] if not settings else []
        data = f"{{source: '{data_folder}', cache: '{tmp_path}', image_size: 32, share: 0.5}}"
        lines = [f"data={data}", "recipe.epochs=1", "recipe.batch_size=8", *small, *settings]
        return load_experiment(None, settings=lines)

    return experiment


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param((), id="images"),
        pytest.param(HEAD_ONLY, id="features", marks=pytest.mark.slow),
    ],
)
def test_each_image_is_predicted_by_a_model_that_was_not_trained_on_it(
    experiment, settings, monkeypatch
):
    fits: list[Fit] = []
    make = module._fit_without
    monkeypatch.setattr(
        module, "_fit_without", lambda *a, **k: fits.append(make(*a, **k)) or fits[-1]
    )
    config = experiment(*settings)
    data = open_dataset(config.data)
    found = out_of_fold(config, data, folds=2, device=CPU)
    rows = data.subset("train")
    assert found.paths == [data.pack.names[i] for i in rows]
    assert found.truths.tolist() == data.pack.labels[rows].tolist()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    sizes = [(len(fit.inputs.batches.labels), len(fit.inputs.validation)) for fit in fits]
    assert sizes == [(12, 12)] * 2
    assert isinstance(fits[0].inputs.batches, FeatureBatches) == bool(settings)
    if not settings:
        for fit in fits:
            assert set(fit.data.split.train) | set(fit.data.split.validation) == set(rows)
            assert not set(fit.data.split.train) & set(fit.data.split.validation)


def test_too_few_images_to_leave_some_out_are_refused(experiment):
    config = experiment()
    data = open_dataset(config.data)
    few = replace(data, split=replace(data.split, train=data.split.train[:3]))
    with pytest.raises(UserError, match="3 training images are too few"):
        out_of_fold(config, few, folds=2, device=CPU)


def test_every_fold_has_its_share_of_every_class():
    labels = np.repeat([0, 1, 2], [20, 7, 3])
    fold = module._folds(labels, 5, seed=0)
    counts = [np.bincount(fold[labels == label], minlength=5).tolist() for label in range(3)]
    assert counts[0] == [4] * 5
    assert all(max(count) - min(count) <= 1 for count in counts)
    assert fold.tolist() == module._folds(labels, 5, seed=0).tolist()
    assert fold.tolist() != module._folds(labels, 5, seed=1).tolist()
