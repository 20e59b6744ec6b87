"""What may be wrong with the photographs of a run, and the tables that keep it."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from inat_ray.data.dataset import DataSet
from inat_ray.data.near_duplicates import Pair
from inat_ray.data.split import SubsetName
from inat_ray.storage.disk import replacing
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import likely_wrong_labels

FEWEST: dict[SubsetName, int] = {"train": 20, "validation": 10, "test": 10}
"""Images of a class. With fewer to train on a network hardly learns it; of 10 that are evaluated,
8 right are anything from 49 to 94 % (95 % interval)."""

LABELS = ("image", "part", "label", "prediction", "probability", "probability_of_label")
PAIRS = ("image", "part", "label", "other_image", "other_part", "other_label", "correlation")

LABELS_FILE, PAIRS_FILE = "labels_to_check.csv", "near_duplicates.csv"


@dataclass(frozen=True)
class DataCheck:
    """Findings about the data of a run; nothing of it is changed."""

    data: DataSet
    judged: dict[SubsetName, Predictions]
    """What models say of images that they were not trained on."""
    pairs: list[Pair]
    """Near-duplicates."""

    @cached_property
    def wrong(self) -> dict[SubsetName, list[int]]:
        """The rows of `judged` whose label is likely wrong, the likeliest first."""
        return {name: likely_wrong_labels(said) for name, said in self.judged.items()}

    @cached_property
    def few(self) -> list[tuple[str, dict[SubsetName, int]]]:
        """The classes that have too few images in a part, with their images in each."""
        labels = self.data.pack.labels
        images = {name: Counter(labels[self.data.subset(name)].tolist()) for name in FEWEST}
        found = (
            (class_name, {name: images[name][label] for name in FEWEST})
            for label, class_name in enumerate(self.data.classes)
        )
        return [(c, n) for c, n in found if any(n[name] < FEWEST[name] for name in FEWEST)]

    def labels(self) -> list[tuple[str, str, str, str, float, float]]:
        """Returns a row of LABELS for each label that is likely wrong, the likeliest first."""
        found = []
        for part, rows in self.wrong.items():
            for row in rows:
                name, label, prediction, sure, of_label = self.judged[part].told(row)
                found.append((name, part, label, prediction, sure, of_label))
        return sorted(found, key=lambda row: row[-1] - row[-2])

    def duplicates(self) -> Iterator[tuple[str, str, str, str, str, str, float]]:
        """Yields a row of PAIRS for each pair of near-duplicates."""
        for pair in self.pairs:
            yield *self.place(pair.first), *self.place(pair.second), round(pair.correlation, 4)

    def place(self, index: int) -> tuple[str, str, str]:
        """Returns an image's name, its part of the split, and its class."""
        pack = self.data.pack
        return pack.names[index], self._parts[index], pack.classes[pack.labels[index]]

    @cached_property
    def _parts(self) -> dict[int, str]:
        return {int(i): name for name in self.data.SUBSETS for i in self.data.subset(name)}

    def write(self, folder: Path) -> None:
        """Writes both tables, as files for a spreadsheet."""
        _write(folder / LABELS_FILE, LABELS, self.labels())
        _write(folder / PAIRS_FILE, PAIRS, self.duplicates())


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
