import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from inat_ray.terminal.predictions_table import shown_predictions
from inat_ray.training.predict import Predicted

CLASSES = ["a rather long name", "oak", "[ash]"]


@pytest.mark.parametrize(("width", "others"), [(60, ["oak 30.0 %"]), (80, ["oak 30.0 %", "[ash]"])])
def test_each_photograph_is_a_line_with_as_many_classes_as_fit(width, others):
    probabilities = np.array([0.6, 0.3, 0.1], dtype=np.float32)
    predicted = [Predicted(Path(f"photos/{n}.jpg"), probabilities) for n in range(3)]
    console = Console(width=width, file=io.StringIO())
    console.print(shown_predictions(predicted, CLASSES, top=3, width=width))
    lines = console.file.getvalue().splitlines()
    rows = [line for line in lines if ".jpg" in line]
    assert len(rows) == 3
    assert all(other in rows[0] for other in others)
    assert ("[ash]" in rows[0]) == (width == 80)
    assert max(map(len, lines)) <= width
