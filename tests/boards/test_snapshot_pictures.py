"""Pictures of a snapshot: what they show can be counted."""

from dataclasses import replace

import numpy as np
import pytest

from inat_ray.boards.snapshot_pictures import (
    CAPTION,
    CELL,
    MOST_NAMED,
    SIDE,
    TINY_CELL,
    augmented_picture,
    confusion_picture,
    first_filters_picture,
    mistakes_picture,
)
from inat_ray.page.pictures import GAP, heat_colors
from inat_ray.training.snapshot import Mistakes, Snapshot


@pytest.fixture
def snapshot_of():
    def build(*, classes: int = 3, mistakes: int = 5, name: str = "class") -> Snapshot:
        """Each class right 6 times, and taken for the next one twice."""
        cells = [[[k, k, 6], [k, (k + 1) % classes, 2]] for k in range(classes)]
        none = np.zeros(mistakes, dtype=np.int64)
        colors = np.arange(mistakes, dtype=np.uint8)[:, None, None, None] * 20
        return Snapshot(
            epoch=4,
            classes=[f"{name} {k}" for k in range(classes)],
            confusion=np.array(cells).reshape(-1, 3),
            mistakes=Mistakes(
                indices=none,
                truths=none,
                predictions=none + 1,
                probabilities=np.full(mistakes, 0.9),
                pictures=np.broadcast_to(colors, (mistakes, 40, 40, 3)),
            ),
            filters=np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32),
            augmented=np.full((16, 40, 40, 3), 77, dtype=np.uint8),
        )

    return build


def test_training_images_stand_four_in_a_row(snapshot_of):
    picture = augmented_picture(snapshot_of())
    assert picture.shape == (4 * (SIDE + GAP) - GAP, 4 * (SIDE + GAP) - GAP, 3)
    assert (picture[:SIDE, :SIDE] == 77).all()
    assert (picture[SIDE : SIDE + GAP] == 255).all()


def test_mistakes_stand_in_their_order_with_room_for_what_is_said_of_them(snapshot_of):
    picture = mistakes_picture(snapshot_of())
    height = SIDE + GAP + CAPTION
    assert picture.shape[0] == 2 * height - GAP
    assert (picture[10, 5 + SIDE + GAP] == 20).all()
    assert (picture[height + 10, 5] == 80).all()
    caption = picture[SIDE : SIDE + CAPTION, :SIDE]
    assert caption.min() < 80  # ink
    assert mistakes_picture(snapshot_of(mistakes=0)) is None


def test_a_name_that_is_too_long_stays_below_its_picture(snapshot_of):
    picture = mistakes_picture(snapshot_of(mistakes=1, name="northern red-legged frog of a kind"))
    assert picture.shape[1] == SIDE
    caption = picture[SIDE + 2 :]
    written = np.flatnonzero((caption < 128).any(axis=(0, 2)))
    assert written.max() < SIDE - 1
    probability = mistakes_picture(snapshot_of(mistakes=1, name="x"))[SIDE + 2 :]
    assert not np.array_equal(caption, probability)


def test_a_confusion_has_the_color_of_its_share_of_the_row(snapshot_of):
    picture = confusion_picture(snapshot_of())
    margin = picture.shape[0] - 3 * CELL
    expected = {(0, 0): 0.75, (0, 1): 0.25, (0, 2): 0.0, (2, 0): 0.25}
    for (row, column), share in expected.items():
        corner = picture[margin + CELL * row + 2, margin + CELL * column + 2]
        assert np.array_equal(corner, heat_colors(np.array(share)))


def test_a_confusion_of_many_classes_is_a_matrix_without_names(snapshot_of):
    many = MOST_NAMED + 1
    picture = confusion_picture(snapshot_of(classes=many))
    assert picture.shape == (many * TINY_CELL, many * TINY_CELL, 3)


def test_filters_are_as_many_as_there_are(snapshot_of):
    picture = first_filters_picture(snapshot_of())
    white = (picture == 255).all(axis=(1, 2)).sum(), (picture == 255).all(axis=(0, 2)).sum()
    assert white == (2 * GAP, 2 * GAP)  # three rows and three columns


def test_a_network_whose_first_layer_sees_no_colors_has_no_picture_of_filters(snapshot_of):
    none = np.empty((0, 3, 1, 1), dtype=np.float32)
    assert first_filters_picture(replace(snapshot_of(), filters=none)) is None
