from dataclasses import replace

import numpy as np
import pytest

from inat_ray.data.near_duplicates import Pair
from inat_ray.page.data_check import check_sections
from inat_ray.run.data_check import DataCheck


@pytest.fixture
def check(data, predictions) -> DataCheck:
    """All test images are said to be ash, and the more surely the less they are."""
    pair = Pair(int(data.subset("train")[0]), int(data.subset("test")[0]), correlation=0.99)
    surer = replace(predictions, probabilities=predictions.probabilities[::-1])
    return DataCheck(data, {"test": surer}, pairs=[pair])


def test_labels_come_with_pictures_and_both_probabilities(check, rows_of):
    labels, _, _ = check_sections(check)
    rows = rows_of(labels)
    assert len(rows) == len(check.wrong["test"]) > 0
    assert labels.body.count("data:image/jpeg") == len(rows)
    assert [row[0] for row in rows] == [row[0] for row in check.labels()]
    assert f"{len(rows)} of 15 test images" in labels.body


def test_a_pair_is_shown_as_two_pictures_with_part_and_class(check, data, rows_of):
    _, pairs, _ = check_sections(check)
    assert pairs.body.count("data:image/jpeg") == 2
    assert "train, ash" in pairs.body
    assert "test, ash" in pairs.body
    assert rows_of(pairs)[0][1:3] == ["train", "ash"]


def test_classes_with_few_images_have_a_table(check, rows_of):
    assert rows_of(check_sections(check)[2])[0] == ["ash", "16", "4", "5"]


def test_where_nothing_is_wrong_that_is_said(check, predictions, monkeypatch):
    right = replace(predictions, probabilities=np.eye(3, dtype="f4")[predictions.truths])
    monkeypatch.setattr(DataCheck, "few", [])
    labels, pairs, few = check_sections(DataCheck(check.data, {"test": right}, pairs=[]))
    assert "None of the 15 test images contradicts its label" in labels.body
    assert "No two images" in pairs.body
    assert "Every class has at least 20 for train" in few.body
