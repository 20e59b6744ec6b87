"""Predicts the classes of photographs without labels, seen exactly as evaluation sees them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import nn

from inat_ray.data.augment import Normalize
from inat_ray.data.names import as_text
from inat_ray.data.photographs import Photograph, decoded_batches
from inat_ray.storage.disk import replacing
from inat_ray.training.checkpoint import LoadedModel
from inat_ray.training.evaluation import BATCH_SIZE, average_probabilities, pixel_views
from inat_ray.training.predictions import predictions_schema


@dataclass(frozen=True)
class Predicted:
    """A photograph with the probability of each class, or the reason why it cannot be read."""

    path: Path
    probabilities: NDArray[np.float32]
    """(classes,), summing to one; empty where there is a reason."""
    reason: str | None = None

    @property
    def name(self) -> str:
        """Returns the path as text, whatever bytes a file's name is made of."""
        return as_text(str(self.path))

    def top(self, count: int, classes: Sequence[str]) -> list[tuple[str, float]]:
        """Returns the likeliest classes with their probabilities, the first of equals first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(classes[index], float(self.probabilities[index])) for index in order]


def predict(
    model: LoadedModel, paths: Sequence[Path], *, device: torch.device
) -> Iterator[list[Predicted]]:
    """Yields the photographs in order, a batch at a time; one that cannot be read has a reason."""
    network = model.model_on(device).eval()
    for batch in decoded_batches(paths, config=model.experiment.data, batch_size=BATCH_SIZE):
        rows = iter(_probabilities(model, network, batch))
        nothing = np.empty(0, dtype=np.float32)
        yield [
            Predicted(p.path, nothing if p.pixels is None else next(rows), reason=p.reason)
            for p in batch
        ]


@contextmanager
def prediction_file(
    path: Path | None, classes: Sequence[str]
) -> Iterator[Callable[[Sequence[Predicted]], None]]:
    """Opens a Parquet file for batches; it gets its name once the context ends without an error.

    Photographs that cannot be read are not in it. Without a path nothing is written.
    """
    if path is None:
        yield lambda _: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = predictions_schema(("path", "prediction"), classes)
    with replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        yield lambda batch: writer.write_table(_table(batch, classes, schema))


def _table(batch: Sequence[Predicted], classes: Sequence[str], schema: pa.Schema) -> pa.Table:
    good = [predicted for predicted in batch if predicted.reason is None]
    columns = {
        "path": [predicted.name for predicted in good],
        "prediction": [predicted.top(1, classes)[0][0] for predicted in good],
        "probabilities": [predicted.probabilities for predicted in good],
    }
    return pa.table(columns, schema=schema)


@torch.inference_mode()
def _probabilities(
    model: LoadedModel, network: nn.Module, batch: Sequence[Photograph]
) -> NDArray[np.float32]:
    """Returns the probabilities (b, classes) of those photographs that have pixels."""
    squares = [photograph.pixels for photograph in batch if photograph.pixels is not None]
    if not squares:
        return np.empty((0, len(model.classes)), dtype=np.float32)
    device = next(network.parameters()).device
    views = pixel_views(
        torch.from_numpy(np.stack(squares)).to(device).permute(0, 3, 1, 2),
        size=model.experiment.image_size,
        normalize=Normalize(model.mean, model.std, device),
        mirrored=model.experiment.recipe.flip_average,
    )
    found = average_probabilities(
        network, views, model.experiment.recipe, temperatures=model.temperatures
    )
    probabilities: NDArray[np.float32] = found.cpu().numpy()
    return probabilities
