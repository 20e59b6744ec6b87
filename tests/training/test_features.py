from pathlib import Path

import numpy as np
import pytest
import torch

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.training import features
from inat_ray.training.features import FeatureBatches, caches_features
from inat_ray.training.fit import Fit
from inat_ray.training.ranks import Ranks


@pytest.fixture
def build(data_folder, tmp_path):
    def build(*settings: str) -> Experiment:
        return load_experiment(
            None,
            settings=[
                f"data={{source: '{data_folder}', cache: '{tmp_path}', image_size: 32}}",
                "model={kind: resnet, backbone: resnet18, weights: none}",
                "model.freeze={strategy: head_only}",
                "data.share=0.5",  # most of the time is the backbone's
                "model.feature_views=2",
                "recipe.batch_size=7",
                "recipe.epochs=3",
                "device=cpu",
                *settings,
            ],
        )

    return build


@pytest.fixture
def data(build) -> DataSet:
    return open_dataset(build().data)


def curve(fit: Fit) -> list[tuple[float, float]]:
    metrics = [fit.epoch() for _ in range(3)]
    return [(m.train_loss, m.val_loss) for m in metrics]


def folders(experiment: Experiment) -> set[Path]:
    return {p for p in (Path(experiment.data.cache) / "features").iterdir() if p.is_dir()}


@pytest.mark.parametrize("flip_average", ["true", "false"])
def test_on_features_the_head_learns_what_it_learns_on_images(build, data, flip_average):
    settings = ("recipe.augment=false", f"recipe.flip_average={flip_average}")
    cached = curve(Fit(build(*settings), data))
    plain = curve(Fit(build(*settings, "model.cache_features=false"), data))
    np.testing.assert_allclose(cached, plain, atol=1e-4)


@pytest.mark.parametrize("average", ["null", "0.5"])
def test_past_a_cut_is_learned_what_is_learned_on_images(build, data, average):
    settings = (
        "recipe.augment=false",
        f"recipe.ema_decay={average}",
        "model.freeze={strategy: fraction, fraction: 0.6}",
    )
    fit = Fit(build(*settings), data)
    assert isinstance(fit.inputs.batches, FeatureBatches)
    plain = Fit(build(*settings, "model.cache_features=false"), data)
    assert not isinstance(plain.inputs.batches, FeatureBatches)
    np.testing.assert_allclose(curve(fit), curve(plain), rtol=1e-2)
    resumed = Fit(build(*settings), data)
    resumed.load_state_dict(fit.state_dict())
    assert torch.equal(resumed.validate().probabilities, fit.validate().probabilities)


@pytest.mark.parametrize("damage", ["cut", "other", "junk", "absent"])
def test_features_that_are_damaged_are_computed_again(build, data, damage):
    first = curve(Fit(build(), data))
    [folder] = folders(build())
    file = folder / "train.npy"
    content = file.read_bytes()
    if damage == "absent":
        file.unlink()
    elif damage == "other":
        np.save(file, np.zeros((2, 5, 512), dtype=np.float32))
    else:
        file.write_bytes(content[:-100] if damage == "cut" else b"junk")
    assert curve(Fit(build(), data)) == first
    assert file.read_bytes() == content


def test_features_of_another_format_are_computed_anew(build, data, monkeypatch):
    Fit(build(), data)
    monkeypatch.setattr(features, "FORMAT", features.FORMAT + 1)
    Fit(build(), data)
    assert len(folders(build())) == 2


def test_a_model_trained_on_features_is_whole(build, data):
    fit = Fit(build("recipe.ema_decay=0.5"), data)
    fit.epoch()
    whole = Fit(build("recipe.ema_decay=0.5", "model.cache_features=false"), data)
    whole.load_state_dict(fit.state_dict())
    assert whole.validate().tally.loss == pytest.approx(fit.validate().tally.loss, abs=1e-4)


def test_recipes_over_heads_share_the_features(build, data):
    for settings in [(), ("recipe.lr=0.1", "recipe.batch_size=9"), ("recipe.epochs=9",)]:
        Fit(build(*settings), data)
    assert len(folders(build())) == 1


@pytest.mark.parametrize(
    "setting",
    [
        "seed=1",  # another random backbone
        "recipe.augmentation.crop_scale=0.9",
        "recipe.augment=false",
        "recipe.flip_average=true",
        "model.feature_views=3",
        "data.split_seed=1",
        "data.fit=squash",
    ],
)
def test_what_features_depend_on_gives_other_ones(build, data, setting):
    Fit(build(), data)
    other = build(setting)
    Fit(other, open_dataset(other.data))
    assert len(folders(other)) == 2


def test_a_computation_that_was_killed_is_done_again(build, data):
    expected = curve(Fit(build(), data))
    [folder] = folders(build())
    partial = folder.rename(folder.with_suffix(".partial"))
    (partial / "train.npy").unlink()
    (partial / "train.npy").write_bytes(b"torn")
    assert curve(Fit(build(), data)) == expected
    assert folders(build()) == {folder}


def test_every_view_of_a_training_image_is_seen_and_test_images_are_not_read(build, data):
    [folder] = folders(build()) if Fit(build(), data) else []
    assert {path.name for path in folder.iterdir()} == {"train.npy", "validation.npy"}
    assert np.load(folder / "train.npy").shape == (2, len(data.subset("train")), 512)
    assert np.load(folder / "validation.npy").shape == (1, len(data.subset("validation")), 512)


@pytest.mark.parametrize(
    ("setting", "cached"),
    [
        ("seed=0", True),
        ("recipe.augmentation.mixup=0.2", False),
        ("recipe.augmentation.cutmix=1.0", False),
        ("model.cache_features=false", False),
        ("model.freeze={strategy: fraction, fraction: 0.8}", False),
        ("model={kind: resnet, freeze: {strategy: first_k, k: 5}, cache_features: any_cut}", True),
        ("model.freeze={strategy: gradual, every: 2}", False),
    ],
)
def test_features_are_used_where_they_can_be(build, setting, cached):
    assert caches_features(build(setting)) is cached


def test_the_ranks_shares_together_are_the_batch_of_one(build, data):
    fit = Fit(build(), data)
    batches = fit.inputs.batches
    assert isinstance(batches, FeatureBatches)

    def of_rank(rank: int) -> FeatureBatches:
        return FeatureBatches(batches.features, 7, batches.seed, Ranks(rank, 3))

    shares = zip(*(of_rank(rank).epoch(2) for rank in range(3)), strict=True)
    for whole, parts in zip(batches.epoch(2), shares, strict=True):
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
        assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
        assert {part.total for part in parts} == {len(whole.labels)} == {7}
