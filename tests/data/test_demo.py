"""The drawn pictures: the same every time, and told apart by nothing but their shape."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inat_ray.config.experiment import DataConfig
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.data.demo import Demo, draw


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    cache = tmp_path_factory.mktemp("cache")
    return open_dataset(DataConfig(image_size=32, demo_images_per_class=60, cache=str(cache)))


def squares(demo: Demo, *, side: int = 40) -> NDArray[np.uint8]:
    """The first pictures of each class."""
    indices = [i for i, item in enumerate(demo.items) if item.name.endswith(("/00000", "/00001"))]
    contents = [demo.content(i) for i in indices]
    return np.stack([demo.square(content, side=side, fit="crop") for content in contents])


def test_every_drawing_is_the_same_again() -> None:
    assert (squares(Demo(images_per_class=10)) == squares(Demo(images_per_class=10))).all()


def test_a_larger_demo_begins_with_the_smaller_one() -> None:
    assert (squares(Demo(images_per_class=10)) == squares(Demo(images_per_class=20))).all()


def test_no_two_drawings_are_the_same() -> None:
    pictures = squares(Demo(images_per_class=10))
    assert len({picture.tobytes() for picture in pictures}) == len(pictures) == 20


@pytest.mark.parametrize("side", [32, 57, 160])
def test_drawings_have_the_side_that_is_asked_for(side: int) -> None:
    assert squares(Demo(images_per_class=10), side=side).shape[1:] == (side, side, 3)


def test_a_fifth_of_each_class_is_the_test_set(data: DataSet) -> None:
    counts = {name: np.bincount(data.pack.labels[data.subset(name)]) for name in data.SUBSETS}
    assert counts["test"].tolist() == [12] * 10
    assert counts["validation"].tolist() == [10] * 10
    assert counts["train"].tolist() == [38] * 10
    assert data.split.duplicates == ()


def test_its_identity_changes_with_its_size() -> None:
    assert list(Demo(images_per_class=10).identity()) != list(Demo(images_per_class=11).identity())


def test_the_shape_is_what_differs_between_two_classes() -> None:
    """Drawn from the same random numbers, two pictures differ only where the shapes do."""
    ring, disc = (draw(shape, np.random.default_rng(3), side=64) for shape in ("ring", "disc"))
    differs = (ring != disc).any(axis=2)
    assert 0.01 < differs.mean() < 0.25


def test_colors_do_not_give_the_class_away(data: DataSet) -> None:
    """The nearest class mean of the six color statistics is little better than a guess, 0.1."""
    pixels = 32 * 32 * 1.25**2
    means = data.pack.channel_sums / pixels
    spreads = data.pack.channel_square_sums / pixels - means**2
    statistics = np.concatenate([means, spreads], axis=1)
    statistics = (statistics - statistics.mean(axis=0)) / statistics.std(axis=0)
    learn = np.concatenate([data.subset("train"), data.subset("validation")])
    labels = data.pack.labels
    centers = np.stack(
        [statistics[learn][labels[learn] == label].mean(axis=0) for label in range(10)]
    )
    test = data.subset("test")
    distances = np.linalg.norm(statistics[test][:, None] - centers, axis=2)
    assert (distances.argmin(axis=1) == labels[test]).mean() < 0.25
