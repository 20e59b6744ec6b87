"""What training sees: subsets, statistics of the training images, and a small pickle."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data.dataset import DataSet, channel_statistics, open_dataset

from .conftest import WriteImages


@pytest.fixture
def data(write_images: WriteImages, config: DataConfig) -> DataSet:
    for name in ("train/ash", "train/oak"):
        write_images(name, 10)
    for name in ("val/ash", "val/oak"):
        write_images(name, 3)
    return open_dataset(config)


def test_val_is_looked_at_as_the_test_set_and_validation_comes_from_train(data: DataSet) -> None:
    assert [len(data.subset(name)) for name in data.SUBSETS] == [16, 4, 6]
    assert {data.pack.roles[i] for i in data.subset("test")} == {"test"}
    assert {data.pack.roles[i] for i in data.subset("validation")} == {"train"}
    assert data.classes == ["ash", "oak"]


def test_another_fraction_validates_with_images_that_validated_before(
    data: DataSet, config: DataConfig
) -> None:
    fewer = data.with_validation(0.1)
    assert [len(fewer.subset(name)) for name in data.SUBSETS] == [18, 2, 6]
    assert set(fewer.subset("validation")) < set(data.subset("validation"))
    assert fewer.subset("test").tolist() == data.subset("test").tolist()
    fresh = open_dataset(config.model_copy(update={"validation_fraction": 0.1}))
    assert (fresh.mean, fresh.std) == (fewer.mean, fewer.std) != (data.mean, data.std)
    assert data.with_validation(data.config.validation_fraction) is data


def test_validation_images_of_their_own_have_no_fraction(
    write_images: WriteImages, config: DataConfig
) -> None:
    for part in ("train", "validation", "test"):
        for name in ("ash", "oak"):
            write_images(f"{part}/{name}", 3)
    data = open_dataset(config)
    with pytest.raises(UserError, match=r"search\.final_validation_fraction 0\.1: the data have a"):
        data.with_validation(0.1)


def test_mean_and_spread_are_those_of_the_training_pixels(data: DataSet) -> None:
    pixels = data.pack.images[data.subset("train")].reshape(-1, 3) / 255
    np.testing.assert_allclose(data.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(data.std, pixels.std(axis=0))
    everything = data.pack.images.reshape(-1, 3) / 255
    assert not np.allclose(data.mean, everything.mean(axis=0), rtol=1e-6)


def test_a_flat_color_leaves_a_spread_to_divide_by(data: DataSet) -> None:
    black = np.zeros_like(data.pack.channel_sums)
    flat = type(data.pack)(
        **(vars(data.pack) | {"channel_sums": black, "channel_square_sums": black})
    )
    mean, std = channel_statistics(flat, data.subset("train"))
    assert mean == (0.0, 0.0, 0.0)
    assert min(std) > 0


def test_it_pickles_as_a_path_and_comes_back_whole(data: DataSet) -> None:
    pickled = pickle.dumps(data)
    assert len(pickled) < data.pack.images.nbytes / 20
    again = pickle.loads(pickled)
    assert again.pack.path == data.pack.path
    assert (again.pack.images == data.pack.images).all()
    assert not again.pack.images.flags.owndata
    assert (again.mean, again.std) == (data.mean, data.std)
    for name in data.SUBSETS:
        assert again.subset(name).tolist() == data.subset(name).tolist()


def test_on_a_node_without_the_pack_it_is_built_there(data: DataSet) -> None:
    pickled = pickle.dumps(data)
    data.pack.path.unlink()
    again = pickle.loads(pickled)
    assert again.pack.path.exists()
    assert (again.pack.images == data.pack.images).all()


def test_on_a_node_with_other_images_it_is_refused(data: DataSet, folder: Path) -> None:
    pickled = pickle.dumps(data)
    data.pack.path.unlink()
    next((folder / "train" / "ash").iterdir()).unlink()
    with pytest.raises(UserError, match="holds other images on node"):
        pickle.loads(pickled)


def test_a_class_that_lost_its_images_as_unreadable_is_named(
    write_images: WriteImages, config: DataConfig, folder: Path
) -> None:
    write_images("ash", 10)
    write_images("oak", 5)
    for path in sorted((folder / "oak").iterdir())[:3]:
        path.write_bytes(b"")
    with pytest.raises(UserError, match="class oak has 2 images"):
        open_dataset(config.model_copy(update={"max_bad_fraction": 0.5}))
