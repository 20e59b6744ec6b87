"""Reading a section as a reader would, and predictions on photographs that exist."""

import csv
import io
import re
from collections.abc import Callable

import numpy as np
import pytest

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.page.html import Section
from inat_ray.training.predictions import Predictions


@pytest.fixture
def data_of() -> Callable[..., list[list[str]]]:
    """The data of a section's figure, as its CSV has them: series, trial, x, y, row by row."""

    def data(section: Section, name: str, view: str = "") -> list[list[str]]:
        (figure,) = (figure for figure in section.figures if figure.name == name)
        return list(csv.reader(io.StringIO(figure.data(view))))

    return data


@pytest.fixture
def rows_of() -> Callable[[Section], list[list[str]]]:
    """The text of each cell of a section's tables, row by row."""

    def rows(section: Section) -> list[list[str]]:
        bodies = re.findall(r"<tbody>(.*?)</tbody>", section.body, re.S)
        found = [row for body in bodies for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S)]
        return [[re.sub(r"<[^>]*>", "", c) for c in re.findall(r"<td.*?</td>", r)] for r in found]

    return rows


@pytest.fixture
def data(data_folder, small_settings) -> DataSet:
    experiment = load_experiment(None, settings=[*small_settings, f"data.source={data_folder}"])
    return open_dataset(experiment.data)


@pytest.fixture
def predictions(data: DataSet) -> Predictions:
    """On the 15 test images, 5 a class: all said to be the first class, ever less surely."""
    indices = data.subset("test")
    sure = np.linspace(0.98, 0.7, len(indices))
    return Predictions(
        paths=[data.pack.names[index] for index in indices],
        classes=data.classes,
        truths=data.pack.labels[indices],
        probabilities=np.stack([sure, (1 - sure) / 4, (1 - sure) * 3 / 4], axis=1).astype("f4"),
    )
