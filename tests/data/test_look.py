import pytest

from inat_ray.config.errors import UserError
from inat_ray.data.look import look_at


def test_images_are_counted_as_they_will_be_split(write_images, config):
    write_images("train/ash", 20)
    write_images("train/oak", 10)
    write_images("test/ash", 3)
    write_images("test/oak", 3)
    look = look_at(config)
    assert (look.training, look.validation, look.test, look.classes) == (24, 6, 6, 2)
    assert (look.smallest, look.side, look.is_split_off) == (13, 40, True)
    assert look.decoding > 0


def test_without_parts_some_images_are_kept_for_the_test(write_images, config):
    write_images("ash", 25)
    write_images("oak", 25)
    look = look_at(config)
    assert (look.training, look.validation, look.test) == (32, 8, 10)


def test_a_validation_folder_is_seen(write_images, config):
    for part in ("train", "validation", "test"):
        write_images(f"{part}/ash", 4)
        write_images(f"{part}/oak", 4)
    look = look_at(config)
    assert (look.training, look.validation, look.test, look.is_split_off) == (8, 8, 8, False)


def test_images_of_which_none_can_be_read_are_refused(write_images, config, folder):
    for name in ("ash", "oak"):
        write_images(name, 3)
    for path in folder.rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="none of"):
        look_at(config)


def test_a_class_that_is_too_small_to_be_split_is_refused_before_anything_is_decoded(
    write_images, config
):
    write_images("train/ash", 5)
    write_images("train/oak", 1)
    write_images("test/ash", 3)
    write_images("test/oak", 3)
    with pytest.raises(UserError, match=r"class oak has 1 images .* 2 at least are needed"):
        look_at(config)
