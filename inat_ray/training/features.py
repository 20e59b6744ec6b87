"""Features: what the frozen part of a network makes of the images, computed once, kept on disk.

Where the last layers alone train, those before would do the same work every epoch and in every
trial. Their features are a folder of two arrays in `data.cache`, named by all that they depend on,
so the trials of a sweep over the rest share them.

With augmentation, each training image has `feature_views` augmented views; an epoch takes one of
them for each image, drawn from the epoch's seed.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor, nn

from inat_ray.config.experiment import AugmentConfig, Experiment
from inat_ray.config.model import FreezableConfig, ModuleConfig
from inat_ray.data.augment import (
    Normalize,
    augment,
    draw_augmentation,
    generator,
    moved,
    plain_view,
)
from inat_ray.data.batches import (
    Batch,
    Images,
    rank_share,
    shuffled_batches,
    steps_per_epoch,
    subset_images,
)
from inat_ray.data.dataset import DataSet
from inat_ray.data.progress import advancing
from inat_ray.data.resident import Key, resident
from inat_ray.data.split import Split, SubsetName
from inat_ray.models.cut import Cut, HeadCut, bytes_of, graph_cut, head_cut
from inat_ray.models.freeze import freezing_of
from inat_ray.models.head import head_name
from inat_ray.models.layers import layers_of
from inat_ray.models.trace import Structure, in_mode
from inat_ray.storage.disk import remove
from inat_ray.training.device import autocast, on_host, synchronize
from inat_ray.training.evaluation import lay_out
from inat_ray.training.ranks import Ranks

BATCH_SIZE = 128

FORMAT = 1
"""Part of the fingerprint: features of another format, or of a view drawn otherwise, are computed
again."""

MOST_BYTES = 4_000_000_000
"""All features of a run. More would not stay in the memory of a small machine beside the pack, and
each step would then wait for the disk."""

VIEWS_SEED = 20_231
"""Of the augmented views: not the run's, so that runs of all seeds share them."""

EPOCH_VIEWS = 1
"""Keeps the draw of an epoch's views apart from the other draws of (seed, epoch)."""


def caches_features(experiment: Experiment) -> bool:
    """Whether a training may work on features: the first layers stay frozen, and no epoch mixes
    pixels or scales them.

    On fixed views, layers see less variety than on an epoch's own. So first_k and fraction
    have them only if they are asked for; without augmentation there is one view anyway.
    """
    model, recipe = experiment.model, experiment.recipe
    if not (isinstance(model, FreezableConfig) and model.cache_features):
        return False
    if experiment.scales or (recipe.augment and recipe.augmentation.mixes):
        return False
    if model.freeze.strategy in ("first_k", "fraction"):
        return not recipe.augment or model.cache_features == "any_cut"
    return model.freeze.strategy == "head_only"


def cut_of(
    model: nn.Module, experiment: Experiment, structure: Structure, *, views: int
) -> Cut | None:
    """Returns the place whose features a training could work on; None if there is none.

    The network is on the CPU or the meta device. `views` is how many views of images there are in
    all: features that take more than MOST_BYTES are not worth it.
    """
    if not caches_features(experiment):
        return None
    side = experiment.image_size
    images = torch.zeros(2, 3, side, side, device=next(model.parameters()).device)
    if not images.is_meta:
        images.uniform_(generator=generator(VIEWS_SEED))
    head = head_name(model, experiment.model)
    # What runs after the head would be missing from a training that sees the head alone.
    freezing = freezing_of(model, experiment.model, structure)
    head_alone = freezing.freeze.strategy == "head_only" and structure.ends_in_last_layer
    if head_alone and head is not None:
        return head_cut(model, head, images)
    trained = freezing.trained(0)
    layers = layers_of(model, structure)
    return graph_cut(model, layers, trained, images, most=MOST_BYTES // views)


def pays(cut: Cut, *, views: int) -> bool:
    """Whether the features of all views are kept. Those of a head are small, and always are."""
    return isinstance(cut, HeadCut) or bytes_of(cut.shape) * views <= MOST_BYTES


def views_in_all(experiment: Experiment, split: Split) -> int:
    """Returns how many views would be kept of all images together."""
    views = kept_views(experiment)
    return sum(len(getattr(split, subset)) * len(views[subset]) for subset in views)


def kept_views(experiment: Experiment) -> dict[SubsetName, list[AugmentConfig | bool]]:
    """Returns each subset's views: an augmentation, or whether the plain view is mirrored."""
    model, recipe = experiment.model, experiment.recipe
    count = model.feature_views if isinstance(model, FreezableConfig) else 1
    return {
        "train": [recipe.augmentation] * count if recipe.augment else [False],
        "validation": [False, True] if recipe.flip_average else [False],
    }


@dataclass(frozen=True)
class Features:
    """Of one subset."""

    values: NDArray[np.float32] | Tensor
    """(views, n, ...): mapped from disk, or on a GPU that has room."""
    labels: NDArray[np.int64]
    """(n,)."""
    device: torch.device

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> tuple[list[Tensor], Tensor]:
        """Every view (b, ...) of some images, and their labels (b,): see `evaluation.Views`."""
        views = [self._gather(np.full(len(rows), v), rows) for v in range(len(self.values))]
        return views, self.labels_of(rows)

    def view(self, views: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """One view (b, ...) of each of some images, and their labels (b,)."""
        return self._gather(views, rows), self.labels_of(rows)

    def of_rows(self, rows: NDArray[np.bool_]) -> "Features":
        """Returns the features of some images."""
        values = self.values
        some = values[:, torch.from_numpy(rows)] if isinstance(values, Tensor) else values[:, rows]
        return replace(self, values=some, labels=self.labels[rows])

    def labels_of(self, rows: NDArray[np.int64]) -> Tensor:
        return moved(torch.from_numpy(self.labels[rows]), self.device)

    def _gather(self, views: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor:
        if isinstance(self.values, Tensor):
            places = np.stack([views, rows])
            view, row = moved(torch.from_numpy(places), self.device)
            return self.values[view, row]
        return moved(torch.from_numpy(self.values[views, rows]), self.device)


@dataclass(frozen=True)
class FeatureBatches:
    """The training features of a run, as one rank sees them epoch by epoch."""

    features: Features
    batch_size: int
    """Over all ranks."""
    seed: int
    ranks: Ranks

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of all training images."""
        return self.features.labels

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return steps_per_epoch(len(self.features), self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """This rank's share of each step, in the order that the images themselves would have."""
        count = len(self.features)
        rng = np.random.default_rng([self.seed, epoch, EPOCH_VIEWS])
        views = rng.integers(len(self.features.values), size=count)
        for rows in shuffled_batches(
            count, batch_size=self.batch_size, seed=self.seed, epoch=epoch
        ):
            mine = rank_share(rows, rank=self.ranks.rank, world_size=self.ranks.world_size)
            values, labels = self.features.view(views[mine], mine)
            yield Batch(images=values, labels=labels, total=len(rows))


class FeatureStore:
    """The features of one network at one cut, on one split of the data."""

    def __init__(
        self,
        experiment: Experiment,
        data: DataSet,
        *,
        model: nn.Module,
        cut: Cut,
        normalize: Normalize,
    ) -> None:
        self._experiment, self._data = experiment, data
        self._model, self._cut, self._normalize = model, cut, normalize
        self._frozen_part = cut.before(model)
        self._device = next(model.parameters()).device
        cache = Path(experiment.data.cache).expanduser() / "features"
        self.folder = cache / self._fingerprint()

    def open(self, *, progress: bool = False) -> tuple[Features, Features]:
        """Of the training and the validation images; computed first where the node has none.

        Of several processes that want the same features one computes them and the others wait.
        """
        if (found := self._find()) is None:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder.with_suffix(".lock")):
                if self._find() is None:
                    self._compute(progress=progress)
            found = self._find()
            assert found is not None
        return self._map("train", found["train"]), self._map("validation", found["validation"])

    def _find(self) -> dict[str, NDArray[np.float32]] | None:
        """The arrays of both subsets; None where they are not here, or are damaged."""
        found: dict[str, NDArray[np.float32]] = {}
        for subset, views in kept_views(self._experiment).items():
            try:
                values = np.load(self.folder / f"{subset}.npy", mmap_mode="r")
            except (OSError, ValueError, EOFError):
                return None
            if values.dtype != np.float32 or values.shape != self._shape(subset, len(views)):
                return None
            found[subset] = values
        return found

    def _shape(self, subset: SubsetName, views: int) -> tuple[int, ...]:
        return views, len(self._data.subset(subset)), *self._cut.shape

    def _map(self, subset: SubsetName, values: NDArray[np.float32]) -> Features:
        rows = self._data.subset(subset)
        key = Key(str(self.folder), subset, rows.tobytes())
        on_gpu = resident(key, lambda: np.array(values), size=values.nbytes, device=self._device)
        return Features(
            values=values if on_gpu is None else on_gpu,
            labels=self._data.pack.labels[rows],
            device=self._device,
        )

    def _compute(self, *, progress: bool) -> None:
        """Into a folder of another name first, so that a killed process leaves no features."""
        partial = self.folder.with_suffix(".partial")
        remove(partial)
        partial.mkdir()
        with in_mode(self._model, training=False):
            for subset, plans in kept_views(self._experiment).items():
                self._write(partial / f"{subset}.npy", subset, plans, progress=progress)
        remove(self.folder)  # one that is damaged
        partial.replace(self.folder)

    def _write(
        self, path: Path, subset: SubsetName, views: list[AugmentConfig | bool], *, progress: bool
    ) -> None:
        images = subset_images(self._data, subset, self._device)
        shape = self._shape(subset, len(views))
        values = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        batches = [
            np.arange(start, min(start + BATCH_SIZE, len(images)))
            for start in range(0, len(images), BATCH_SIZE)
        ]
        with advancing(
            f"features of {subset}",
            total=len(views) * len(images),
            unit="images",
            shown=progress,
        ) as advance:
            for view, rows in product(range(len(views)), batches):
                key = (view, int(rows[0]))
                pixels = self._pixels(images, rows, plan=views[view], key=key)
                values[view, rows] = self._features(pixels)
                advance(len(rows))
        values.flush()

    def _pixels(
        self,
        images: Images,
        rows: NDArray[np.int64],
        *,
        plan: AugmentConfig | bool,
        key: tuple[int, int],
    ) -> Tensor:
        size = self._experiment.image_size
        pixels, _ = images.take(rows)
        if isinstance(plan, bool):
            view = plain_view(pixels, size=size, normalize=self._normalize)
            return view.flip(3) if plan else view
        draw = draw_augmentation(plan, len(rows), generator(VIEWS_SEED, *key))
        return augment(pixels, draw, size=size, normalize=self._normalize)

    @torch.inference_mode()
    def _features(self, pixels: Tensor) -> NDArray[np.float32]:
        recipe = self._experiment.recipe
        with autocast(recipe, self._device):
            features = self._frozen_part(lay_out(pixels, recipe))
        return features.float().cpu().numpy()

    def _fingerprint(self) -> str:
        """Equal exactly where the features are."""
        experiment, recipe = self._experiment, self._experiment.recipe
        kept = kept_views(experiment)
        about = {
            "format": FORMAT,
            "pack": self._data.pack.path.name,
            "image_size": experiment.image_size,
            "scale": self._normalize.scale.flatten().tolist(),
            "shift": self._normalize.shift.flatten().tolist(),
            "views": {subset: [repr(v) for v in views] for subset, views in kept.items()},
            "numbers": [str(self._device.type), recipe.precision, recipe.channels_last],
        }
        if isinstance(experiment.model, ModuleConfig):  # whose weights do not say what it computes
            about["code"] = experiment.model.model_dump(include={"sha256", "target", "args"})
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        digest.update(self._cut.text.encode())
        digest.update(self._data.split.train.tobytes())
        digest.update(self._data.split.validation.tobytes())
        state = self._model.state_dict()
        frozen = on_host({name: tensor for name, tensor in state.items() if self._cut.owns(name)})
        synchronize(self._device)
        for tensor in frozen.values():
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()[:24]
