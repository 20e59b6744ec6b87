"""A snapshot of a training's best epoch: its confusion, worst mistakes and first filters.

The small file outlives the checkpoints: TensorBoard and the report draw from it. It holds its
pictures itself, so that whoever draws needs neither the data nor the model.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from inat_ray.data.augment import Normalize
from inat_ray.data.batches import TrainingBatches, rank_share
from inat_ray.storage.place import Place
from inat_ray.training.evaluation import Evaluation
from inat_ray.training.fit import Fit
from inat_ray.training.inputs import training_batches
from inat_ray.training.ranks import ALONE, Ranks

VERSION = "1"
"""Version of the file's format."""

MISTAKES, AUGMENTED, FILTERS = 12, 16, 64
"""The most pictures of each kind."""

SIDE = 96
"""The longest side of a picture, in pixels."""

JPEG_QUALITY = 90
"""Raw, the pictures of a thousand trials would take 800 MB; so they take about 100."""

Pictures = NDArray[np.uint8]
"""(n, s, s, 3)."""


@dataclass(frozen=True)
class Mistakes:
    """The n validation images that the network got wrong, the ones it was surest of first."""

    indices: NDArray[np.int64]
    """(n,), into the pack."""
    truths: NDArray[np.int64]
    predictions: NDArray[np.int64]
    """(n,), labels."""
    probabilities: NDArray[np.float64]
    """(n,), which the network gave its predictions."""
    pictures: Pictures


@dataclass(frozen=True)
class Snapshot:
    """What an epoch makes of the validation images, and samples of the training images."""

    epoch: int
    """Counted from 1."""
    classes: list[str]
    confusion: NDArray[np.int64]
    """(m, 3): truth, prediction, count of the cells that are not empty, by truth and prediction.
    Its size is bounded by the number of images, however many classes there are."""
    mistakes: Mistakes
    filters: NDArray[np.float32]
    """(n, 3, k, k), of the first convolution; none if it is not one on the three colors."""
    augmented: Pictures
    """The first batch of the first epoch, as the network saw it. If it sees features of a frozen
    backbone: the images as the recipe augments them."""


def take_snapshot(fit: Fit, *, augmented: Pictures) -> Snapshot:
    """Describes the epoch that `fit` has just ended. All ranks must take part."""
    evaluation = fit.validated
    assert evaluation is not None
    rows, count = fit.data.subset("validation"), len(fit.inputs.validation)
    mine = rank_share(np.arange(count), rank=fit.ranks.rank, world_size=fit.ranks.world_size)
    worst = worst_of_all(worst_mistakes(evaluation, indices=rows[mine]), fit.ranks, fit.device)
    indices, truths, predictions = (column.long().numpy() for column in worst.T[:3])
    return Snapshot(
        epoch=fit.epochs_done,
        classes=fit.data.classes,
        confusion=filled_cells(evaluation.tally.confusion.numpy()),
        mistakes=Mistakes(
            indices=indices,
            truths=truths,
            predictions=predictions,
            probabilities=worst[:, 3].numpy(),
            pictures=shrunk(fit.data.pack.images[indices]),
        ),
        filters=_shown_filters(fit),
        augmented=augmented,
    )


def worst_mistakes(evaluation: Evaluation, *, indices: NDArray[np.int64]) -> Tensor:
    """Returns (n, 4) float64, n <= MISTAKES: index, truth, prediction, probability; surest first.

    `indices` (len(evaluation.labels),) are the images' places in the pack. An image whose
    probabilities are NaN is left out.
    """
    surest, predictions = evaluation.probabilities.double().max(dim=1)
    wrong = (predictions != evaluation.labels) & surest.isfinite()
    named = torch.from_numpy(np.asarray(indices, dtype=np.int64))
    columns = [named, evaluation.labels, predictions, surest]
    found = torch.stack([column[wrong].double() for column in columns], dim=1)
    return _surest(found)


def worst_of_all(mistakes: Tensor, ranks: Ranks, device: torch.device) -> Tensor:
    """Returns the worst of all ranks' mistakes (n, 4), on each rank."""
    # Every rank must send the same shape: rows of padding have a probability of -1.
    padded = torch.full((MISTAKES, 4), -1.0, dtype=torch.float64)
    padded[: len(mistakes)] = mistakes
    sent = padded.to(device) if ranks.world_size > 1 else padded
    everyone = ranks.gather(sent).cpu().flatten(0, 1)
    return _surest(everyone[everyone[:, 3] >= 0])


def _surest(mistakes: Tensor) -> Tensor:
    """Sorts equals in the order of the pack, so that it does not matter which rank has which."""
    mistakes = mistakes[mistakes[:, 0].argsort(stable=True)]
    return mistakes[mistakes[:, 3].argsort(descending=True, stable=True)][:MISTAKES]


def filled_cells(confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turns a matrix (k, k) into rows (m, 3): truth, prediction, count."""
    truths, predictions = np.nonzero(confusion)
    return np.stack([truths, predictions, confusion[truths, predictions]], axis=1)


def first_filters(model: nn.Module, layers: Iterable[str]) -> Tensor | None:
    """Returns the weights (n, 3, k, k) of the first convolution on three colors, on the CPU.

    `layers` are named in forward order. None if there is no such convolution. One of single pixels,
    as a RepVGG has beside the other, is passed over.
    """
    convolutions = (m for m in map(model.get_submodule, layers) if isinstance(m, nn.Conv2d))
    weights = (module.weight for module in convolutions)
    for weight in weights:
        if weight.shape[1] == 3 and weight[0, 0].numel() > 1:
            return weight.detach().float().cpu().contiguous()
    return None


def _shown_filters(fit: Fit) -> NDArray[np.float32]:
    filters = first_filters(fit.evaluated_model, [layer.name for layer in fit.layers])
    return np.empty((0, 3, 1, 1), np.float32) if filters is None else filters[:FILTERS].numpy()


def augmented_pictures(fit: Fit) -> Pictures:
    """Returns the first images of the training. No random state changes: draws are keyed."""
    batches = fit.inputs.batches
    if not isinstance(batches, TrainingBatches):
        batches = training_batches(
            fit.experiment,
            fit.data,
            normalize=Normalize(fit.mean, fit.std, torch.device("cpu")),
            device=torch.device("cpu"),
            ranks=ALONE,
        )
    views = next(batches.epoch(0)).images[:AUGMENTED].float().cpu()
    mean, std = (torch.tensor(channels).view(1, 3, 1, 1) for channels in (fit.mean, fit.std))
    pixels = ((views * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    return shrunk(pixels.permute(0, 2, 3, 1).numpy())


def shrunk(pictures: Pictures) -> Pictures:
    """Scales pictures (n, S, S, 3) down to sides of at most `SIDE` pixels."""
    if not len(pictures) or pictures.shape[1] <= SIDE:
        return np.ascontiguousarray(pictures)
    resized = [
        np.asarray(Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
        for each in pictures
    ]
    return np.stack(resized)


def write_snapshot(place: Place, snapshot: Snapshot) -> None:
    """Writes one safetensors file, whole or not at all."""
    mistakes = vars(snapshot.mistakes) | {"pictures": _jpeg(snapshot.mistakes.pictures)}
    arrays: dict[str, NDArray[Any]] = {
        "confusion": snapshot.confusion,
        **{f"mistakes.{name}": column for name, column in mistakes.items()},
        "filters": snapshot.filters,
        "augmented": _jpeg(snapshot.augmented),
    }
    about = {
        "version": VERSION,
        "epoch": str(snapshot.epoch),
        "classes": json.dumps(snapshot.classes),
    }
    # safetensors writes the memory as it lies: a view of a column would bring its neighbors.
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    place.write(safetensors.numpy.save(whole, metadata=about))


def read_snapshot(place: Place) -> Snapshot | None:
    """Returns None if there is no snapshot, or a damaged one: it is never worth an error."""
    content = place.glance()
    if content is None:
        return None
    try:
        arrays = safetensors.numpy.load(content)
        return _checked(arrays, _metadata(content))
    except Exception:  # a damaged file can fail in any way
        return None


def _checked(arrays: dict[str, NDArray[Any]], about: dict[str, str]) -> Snapshot:
    """Raises an error if the parts do not belong together."""
    classes = json.loads(about["classes"])
    columns = {field.name: arrays[f"mistakes.{field.name}"] for field in fields(Mistakes)}
    mistakes = Mistakes(**columns | {"pictures": _pictures(columns["pictures"])})
    labels = np.concatenate(
        [mistakes.truths, mistakes.predictions, arrays["confusion"][:, :2].ravel()]
    )
    lengths = {len(column) for column in vars(mistakes).values()}
    if about["version"] != VERSION or len(lengths) > 1:
        raise ValueError("another format")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError("labels without a class")
    return Snapshot(
        epoch=int(about["epoch"]),
        classes=classes,
        confusion=arrays["confusion"],
        mistakes=mistakes,
        filters=arrays["filters"],
        augmented=_pictures(arrays["augmented"]),
    )


def _metadata(content: bytes) -> dict[str, str]:
    """Reads the metadata of a safetensors file: its header is JSON after its length in 8 bytes."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata


def _jpeg(pictures: Pictures) -> NDArray[np.uint8]:
    """Encodes pictures below each other in one file; no bytes if there are none."""
    if not len(pictures):
        return np.empty(0, dtype=np.uint8)
    content = io.BytesIO()
    strip = pictures.reshape(-1, *pictures.shape[2:])
    Image.fromarray(strip).save(content, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return np.frombuffer(content.getvalue(), dtype=np.uint8)


def _pictures(jpeg: NDArray[np.uint8]) -> Pictures:
    if not len(jpeg):
        return np.empty((0, SIDE, SIDE, 3), dtype=np.uint8)
    strip = np.asarray(Image.open(io.BytesIO(jpeg.tobytes())).convert("RGB"))
    return strip.reshape(-1, strip.shape[1], strip.shape[1], 3)
