import math
from operator import itemgetter

import pytest
import torch

from inat_ray.config.experiment import AugmentConfig
from inat_ray.data.augment import (
    ON_NORMALIZED,
    Augmentation,
    Mix,
    Normalize,
    apply_mix,
    augment,
    draw_augmentation,
    draw_mix,
    generator,
    plain_view,
)

CPU = torch.device("cpu")
AS_IT_IS = Normalize([0.0] * 3, [1.0] * 3, CPU)
STILL = AugmentConfig(flip=False, crop_scale=1, crop_ratio=1)


def pictures(count: int = 4, side: int = 40) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator(1))


def views(config: AugmentConfig, images: torch.Tensor, size: int = 40, seed: int = 0):
    draw = draw_augmentation(config, len(images), generator(seed))
    return augment(images, draw, size=size, normalize=AS_IT_IS)


def test_without_any_part_the_pixels_are_those_of_the_picture():
    images = pictures()
    torch.testing.assert_close(views(STILL, images), images / 255)


def test_about_half_of_the_pictures_are_mirrored_and_the_rest_left():
    images = pictures(count=200, side=8)
    seen = views(STILL.model_copy(update={"flip": True}), images, size=8)
    kept = torch.isclose(seen, images / 255, atol=1e-5).all(dim=(1, 2, 3))
    mirrored = torch.isclose(seen, images.flip(3) / 255, atol=1e-5).all(dim=(1, 2, 3))
    assert bool((kept ^ mirrored).all())
    assert 60 < int(mirrored.sum()) < 140


def test_a_crop_keeps_at_least_its_share_of_the_area_and_stays_inside():
    config = STILL.model_copy(update={"crop_scale": 0.4, "crop_ratio": 1.5})
    width, height, x, y = draw_augmentation(config, 1000, generator(0))["crop"].T
    assert (width * height).min() > 0.39
    assert (width / height).max() < 1.51
    assert (x.abs() + width).max() <= 1 + 1e-6
    assert (y.abs() + height).max() <= 1 + 1e-6


def test_a_crop_shows_the_part_of_the_picture_that_was_drawn():
    """A ramp from left to right: cut to its right half, all values are above the middle."""
    ramp = torch.linspace(0, 255, 40).to(torch.uint8).expand(1, 3, 40, 40).contiguous()
    draw = draw_augmentation(STILL, 1, generator(0))
    draw["crop"][0] = torch.tensor([0.5, 1.0, 0.5, 0.0])
    assert augment(ramp, draw, size=40, normalize=AS_IT_IS).min() > 0.48


@pytest.mark.parametrize(("angle", "quarters"), [(90.0, 1), (-90.0, -1), (180.0, 2)])
def test_a_view_is_turned_about_its_own_middle(angle, quarters):
    images = pictures()
    draw = draw_augmentation(STILL, 4, generator(0))
    radians = torch.tensor(angle).deg2rad()
    draw["rotate"] = torch.stack([radians.cos(), radians.sin()]).expand(4, 2)
    seen = augment(images, draw, size=40, normalize=AS_IT_IS)
    torch.testing.assert_close(seen, (images / 255).rot90(quarters, dims=(2, 3)))
    # Its left half has its middle elsewhere, and the same turn there.
    draw["crop"][:] = torch.tensor([0.5, 0.5, -0.5, 0.0])
    seen = augment(images, draw, size=20, normalize=AS_IT_IS)
    expected = (images / 255)[:, :, 10:30, :20].rot90(quarters, dims=(2, 3))
    torch.testing.assert_close(seen, expected)


def test_angles_are_drawn_up_to_the_largest_on_either_side():
    config = STILL.model_copy(update={"rotate": 30.0})
    cosine, sine = draw_augmentation(config, 1000, generator(0))["rotate"].T
    angles = torch.atan2(sine, cosine).rad2deg()
    assert -30 <= angles.min() < -29
    assert 29 < angles.max() <= 30
    assert abs(angles.mean()) < 2


def test_a_turned_view_shows_the_image_mirrored_beyond_its_edge_and_no_black():
    white = torch.full((8, 3, 40, 40), 255, dtype=torch.uint8)
    config = STILL.model_copy(update={"rotate": 180.0})
    torch.testing.assert_close(views(config, white), torch.ones(8, 3, 40, 40))


def test_brightness_scales_and_saturation_moves_from_and_to_gray():
    images = pictures()
    draw = draw_augmentation(STILL, 4, generator(0))
    dark = draw | {"color": torch.tensor([[0.5, 1.0, 1.0]]).expand(4, 3)}
    gray = draw | {"color": torch.tensor([[1.0, 1.0, 0.0]]).expand(4, 3)}
    seen = augment(images, dark, size=40, normalize=AS_IT_IS)
    torch.testing.assert_close(seen, images / 255 / 2)
    seen = augment(images, gray, size=40, normalize=AS_IT_IS)
    torch.testing.assert_close(seen[:, 0], seen[:, 1])


def test_contrast_keeps_the_mean_gray():
    images = pictures().clamp(100, 150)
    draw = draw_augmentation(STILL, 4, generator(0))
    flat = draw | {"color": torch.tensor([[1.0, 0.0, 1.0]]).expand(4, 3)}
    seen = augment(images, flat, size=40, normalize=AS_IT_IS)
    assert seen.std(dim=(1, 2, 3)).max() < 1e-5
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    expected = (images / 255 * luma).sum(1).mean(dim=(1, 2))
    torch.testing.assert_close(seen[:, 0, 0, 0], expected)


def test_what_is_erased_is_the_mean_of_the_data():
    images = pictures(count=50)
    config = STILL.model_copy(update={"erase": 1.0})
    draw = draw_augmentation(config, 50, generator(0))
    normalize = Normalize([0.4, 0.5, 0.6], [0.2, 0.2, 0.2], CPU)
    seen = augment(images, draw, size=40, normalize=normalize)
    shares = (seen == 0).all(dim=1).float().mean(dim=(1, 2))
    assert shares.min() > 0
    assert shares.max() < 0.3


def test_the_plain_view_is_the_whole_picture_scaled():
    images = torch.full((2, 3, 40, 40), 51, dtype=torch.uint8)
    seen = plain_view(images, size=32, normalize=Normalize([0.1] * 3, [0.1] * 3, CPU))
    assert seen.shape == (2, 3, 32, 32)
    torch.testing.assert_close(seen, torch.full_like(seen, 1.0))


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_the_share_of_a_mix_is_the_share_of_its_pixels(mixup, cutmix):
    config = AugmentConfig(mixup=mixup, cutmix=cutmix)
    ones, zeros = torch.ones(4, 3, 64, 64), torch.zeros(4, 3, 64, 64)
    mixes = draw_mix(config, steps=20, count=4, rng=generator(0))
    assert mixes is not None
    for step in range(20):
        mix = mixes.map(itemgetter(step))
        mixed = apply_mix(ones, zeros, mix)
        assert mixed.mean().item() == pytest.approx(float(mix.share), abs=0.04)
        assert sorted(mix.partners.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("mixup", "cutmix", "expected"), [(0.4, 0.0, {False}), (0.0, 1.0, {True}), (0.4, 1.0, None)]
)
def test_steps_are_cut_or_mixed_as_the_configuration_says(mixup, cutmix, expected):
    config = AugmentConfig(mixup=mixup, cutmix=cutmix)
    mixes = draw_mix(config, steps=40, count=4, rng=generator(0))
    assert mixes is not None
    assert set((mixes.outside == 1).tolist()) == (expected or {True, False})


def test_mixup_weighs_and_cutmix_cuts():
    ones, zeros = torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    row, share = torch.tensor([0]), torch.tensor(0.25)
    mixed = apply_mix(ones, zeros, Mix(row, share, box=torch.zeros(4), outside=share))
    assert mixed.unique().tolist() == [0.25]
    quarter = torch.tensor([0.0, 0.0, 0.5, 0.5])
    cut = apply_mix(ones, zeros, Mix(row, torch.tensor(0.75), box=quarter, outside=torch.ones(())))
    assert cut[0, 0, :4, :4].max() == 0
    assert cut.mean().item() == 0.75


def test_without_mixup_and_cutmix_nothing_is_mixed():
    assert draw_mix(AugmentConfig(), steps=4, count=4, rng=generator(0)) is None


def test_the_same_key_gives_the_same_draw_and_another_key_another():
    config = AugmentConfig(brightness=0.2, erase=0.5)
    first, again, other = (draw_augmentation(config, 8, generator(0, e, 5)) for e in (1, 1, 2))
    assert list(first) == ["crop", "color", "erase"]
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_a_part_that_is_off_is_not_drawn_and_changes_no_other_part():
    plain = draw_augmentation(AugmentConfig(), 8, generator(0))
    erasing = draw_augmentation(AugmentConfig(erase=0.5), 8, generator(0))
    assert list(plain) == ["crop"]
    assert list(erasing) == ["crop", "erase"]
    assert torch.equal(plain["crop"], erasing["crop"])


def test_a_new_entry_is_drawn_and_applied_and_leaves_the_numbers_of_the_others(monkeypatch):
    config, images = AugmentConfig(erase=0.5), pictures()
    before = draw_augmentation(config, 4, generator(0))
    inverted = Augmentation(
        draw=lambda config, count, rng: torch.rand(count, 1, generator=rng),
        apply=lambda images, chances: 1 - images * chances[:, :, None, None].ceil(),
    )
    monkeypatch.setitem(ON_NORMALIZED, "inverted", inverted)
    after = draw_augmentation(config, 4, generator(0))
    assert list(after) == ["crop", "erase", "inverted"]
    assert all(torch.equal(after[name], before[name]) for name in before)
    seen, plain = (augment(images, d, size=40, normalize=AS_IT_IS) for d in (after, before))
    torch.testing.assert_close(seen, 1 - plain)


@pytest.mark.parametrize("ratio", [1, 4 / 3, 4])
@pytest.mark.parametrize("scale", [0.3, 0.76, 0.9, 0.99, 1])
def test_a_crop_never_keeps_less_than_its_scale_and_a_scale_of_one_crops_nothing(scale, ratio):
    config = STILL.model_copy(update={"crop_scale": scale, "crop_ratio": ratio})
    maps = draw_augmentation(config, 2000, generator(0))["crop"]
    width, height, *_ = maps.T
    assert (width * height).min() >= scale - 1e-5
    assert max(width.max(), height.max()) <= 1
    if scale == 1:
        assert torch.equal(maps, torch.tensor([1.0, 1, 0, 0]).expand(2000, 4))


def test_the_crops_of_a_scale_that_leaves_room_for_every_ratio_are_what_they_were():
    """Figures that were recorded with them stay valid."""
    config = STILL.model_copy(update={"crop_scale": 0.6, "crop_ratio": 4 / 3})
    width, height, *_ = draw_augmentation(config, 400, generator(3))["crop"].T
    rng = generator(3)
    area, ratio = 0.6 + 0.4 * torch.rand(400, generator=rng), torch.rand(400, generator=rng)
    ratio = torch.exp(math.log(4 / 3) * (2 * ratio - 1))
    torch.testing.assert_close(width, (area * ratio).sqrt().clamp(max=1))
    torch.testing.assert_close(height, (area / ratio).sqrt().clamp(max=1))
