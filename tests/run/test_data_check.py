import csv

import numpy as np
import pytest

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.data.near_duplicates import Pair
from inat_ray.run.data_check import DataCheck
from inat_ray.training.predictions import Predictions


@pytest.fixture
def check(data_folder, small_settings) -> DataCheck:
    """Of 20 training, 4 validation and 5 test images a class; the model takes the first validation
    image of ash for cedar and the second test image of cedar, more surely, for ash."""
    settings = [*small_settings, f"data.source={data_folder}", "data.validation_fraction=0.2"]
    data = open_dataset(load_experiment(None, settings=settings).data)
    judged = {
        "validation": said_of(data, "validation", mistaken=(0, 0, 2), sure=0.8),
        "test": said_of(data, "test", mistaken=(2, 1, 0), sure=0.95),
    }
    first, last = int(data.subset("train")[0]), int(data.subset("test")[-1])
    return DataCheck(data, judged, pairs=[Pair(first, last, correlation=0.987654)])


def said_of(data, subset, *, mistaken, sure):
    """Every image at 0.7 for its own class, but the nth of a class at `sure` for another one."""
    rows = data.subset(subset)
    labels = data.pack.labels[rows]
    probabilities = np.full((len(rows), 3), 0.15, dtype=np.float32)
    probabilities[np.arange(len(rows)), labels] = 0.7
    label, place, other = mistaken
    row = np.flatnonzero(labels == label)[place]
    probabilities[row] = (1 - sure) / 2
    probabilities[row, other] = sure
    return Predictions([data.pack.names[i] for i in rows], data.classes, labels, probabilities)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_hold_the_likeliest_first_with_part_label_and_probabilities(check, tmp_path):
    check.write(tmp_path)
    first, second = rows_of(tmp_path / "labels_to_check.csv")
    assert (first["part"], first["label"], first["prediction"]) == ("test", "cedar", "ash")
    assert (second["part"], second["label"], second["prediction"]) == ("validation", "ash", "cedar")
    assert first["image"].startswith("test/cedar/")
    assert float(first["probability"]) == pytest.approx(0.95)
    assert float(first["probability_of_label"]) == pytest.approx(0.025)
    [pair] = rows_of(tmp_path / "near_duplicates.csv")
    assert (pair["part"], pair["label"], pair["other_part"]) == ("train", "ash", "test")
    assert (pair["other_label"], pair["correlation"]) == ("cedar", "0.9877")


def test_classes_with_too_few_images_in_any_part_are_named_with_their_counts(check):
    assert check.few == [
        (name, {"train": 16, "validation": 4, "test": 5}) for name in ("ash", "beech", "cedar")
    ]
