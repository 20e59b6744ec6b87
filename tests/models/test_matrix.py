"""The table of docs/models.md is what each family can do."""

from collections.abc import Iterator

import pytest

from inat_ray.training.worker_group import WorkerGroup
from tests.models.matrix import (
    BEGIN,
    END,
    FAMILIES,
    FEATURES,
    PAGE,
    cells_of,
    read_rows,
    table,
    two_workers,
)

MISSING = {
    "freeze": {"cnn"},
    "cached features": {"cnn"},
    "guided backpropagation": {
        "torchvision vit_b_16",
        "torchvision swin_t",
        "timm vit_tiny_patch16_224",
    },
}
"""What the page explains below the table."""


def test_the_page_has_a_row_for_each_family_and_says_what_each_lacks():
    rows = read_rows()
    assert list(rows) == list(FAMILIES)
    assert f"{BEGIN}{table(rows)}{END}" in PAGE.read_text()
    for family, cells in rows.items():
        found = dict(zip(FEATURES, cells, strict=True))
        assert found == {
            feature: "no" if family in MISSING.get(feature, ()) else "yes" for feature in FEATURES
        }


@pytest.fixture(scope="module")
def workers(ray_instance, tmp_path_factory) -> Iterator[WorkerGroup]:
    with two_workers(tmp_path_factory.mktemp("workers")) as group:
        yield group


@pytest.mark.slow
@pytest.mark.timeout(900)
# Ray Train loads Ray Data, and the exporters warn of PyTorch's own code.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_can_do_what_its_row_says(family, workers, tmp_path):
    assert cells_of(family, tmp_path, workers) == read_rows()[family]
