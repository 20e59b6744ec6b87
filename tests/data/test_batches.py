import numpy as np
import pytest
import torch

from inat_ray.config.experiment import AugmentConfig, DataConfig
from inat_ray.data.augment import Normalize
from inat_ray.data.batches import (
    TrainingBatches,
    evaluation_batches,
    shuffled_batches,
    subset_images,
)
from inat_ray.data.dataset import DataSet, open_dataset

CPU = torch.device("cpu")
EVERYTHING = AugmentConfig(
    brightness=0.2, contrast=0.2, saturation=0.2, erase=0.5, mixup=0.4, cutmix=1.0
)


@pytest.fixture(scope="module")
def data(data_folder, pack_cache) -> DataSet:
    return open_dataset(DataConfig(source=str(data_folder), cache=str(pack_cache), image_size=32))


def batches_of(data: DataSet, augmentation: AugmentConfig | None, **where) -> TrainingBatches:
    return TrainingBatches(
        images=subset_images(data, "train", CPU),
        normalize=Normalize(data.mean, data.std, CPU),
        size=32,
        batch_size=12,
        seed=7,
        augmentation=augmentation,
        **{"side_in": lambda epoch: 32} | where,
    )


def test_an_epoch_shows_every_image_at_most_once_and_whole_batches_only():
    steps = shuffled_batches(50, batch_size=12, seed=0, epoch=0)
    rows = np.concatenate(steps)
    assert [len(step) for step in steps] == [12] * 4
    assert len(set(rows.tolist())) == 48


def test_what_one_epoch_leaves_out_another_shows():
    seen = [
        set(np.concatenate(shuffled_batches(13, batch_size=12, seed=0, epoch=e))) for e in (0, 1)
    ]
    assert seen[0] | seen[1] == set(range(13))


@pytest.mark.parametrize("augmentation", [None, AugmentConfig(), EVERYTHING])
def test_an_epoch_of_smaller_images_has_the_same_views_scaled(data, augmentation):
    large, small = (
        next(batches_of(data, augmentation, side_in=lambda _, side=side: side).epoch(0)).images
        for side in (32, 16)
    )
    assert small.shape == (12, 3, 16, 16)
    means = torch.nn.functional.avg_pool2d(large, 2)
    assert (small - means).abs().mean() < 0.35 * (means - means.mean()).abs().mean()


def test_fewer_images_than_a_batch_make_one_batch():
    [rows] = shuffled_batches(5, batch_size=12, seed=0, epoch=0)
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]


def test_the_order_follows_from_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(shuffled_batches(48, batch_size=12, seed=seed, epoch=epoch)).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_gives_each_image_to_exactly_one_rank(world_size):
    rows = [
        row
        for rank in range(world_size)
        for batch in evaluation_batches(10, batch_size=3, rank=rank, world_size=world_size)
        for row in batch.tolist()
    ]
    assert sorted(rows) == list(range(10))


@pytest.mark.parametrize("augmentation", [None, AugmentConfig(), EVERYTHING])
@pytest.mark.parametrize("world_size", [2, 5])
def test_the_same_seed_gives_the_same_pixels_whatever_the_number_of_workers(
    data, augmentation, world_size
):
    alone = batches_of(data, augmentation)
    ranks = [
        batches_of(data, augmentation, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    shares = zip(*(rank.epoch(3) for rank in ranks), strict=True)
    for whole, parts in zip(alone.epoch(3), shares, strict=True):
        torch.testing.assert_close(whole.images, torch.cat([p.images for p in parts]))
        assert torch.equal(whole.labels, torch.cat([p.labels for p in parts]))
        assert all(p.share == whole.share for p in parts)
        if whole.partner_labels is not None:
            theirs = torch.cat([p.partner_labels for p in parts])
            assert torch.equal(whole.partner_labels, theirs)


def test_a_plan_lists_every_tensor_that_its_steps_read(data):
    """A captured step reads copies of them, so one that was not listed would stay the first's."""
    plan, other = list(batches_of(data, EVERYTHING).plans(0))[:2]
    assert len(plan.tensors()) == 1 + len(plan.draw) + 4
    copy = plan.map(torch.zeros_like)
    assert [each.shape for each in copy.tensors()] == [each.shape for each in plan.tensors()]
    for one, its_own in zip(copy.tensors(), other.tensors(), strict=True):
        one.copy_(its_own)
    batches = batches_of(data, EVERYTHING)
    assert torch.equal(batches.batch(copy).images, batches.batch(other).images)


def test_images_keep_their_labels(data):
    """The hue of the data_folder is their class: the largest channel names it."""
    for batch in batches_of(data, None).epoch(0):
        normalize = Normalize(data.mean, data.std, CPU)
        pixels = (batch.images - normalize.shift) / normalize.scale
        assert torch.equal(pixels.mean(dim=(2, 3)).argmax(dim=1), batch.labels)


def test_training_pixels_are_normalized_to_mean_0_and_deviation_1(data):
    pixels = torch.cat([batch.images for batch in batches_of(data, None).epoch(0)])
    assert pixels.mean(dim=(0, 2, 3)).abs().max() < 0.05
    # Scaling 40 px of noise down to 32 smooths it, so the deviation falls below 1.
    assert 0.5 < pixels.std() < 1.05
