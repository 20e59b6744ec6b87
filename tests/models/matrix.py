"""The matrix of docs/models.md: what each family of networks can do, found by doing it.

    python -m tests.models.matrix            # all families, half an hour on two cores
    python -m tests.models.matrix resnet18   # the row of one

Random weights and small images: what is asked is whether it works, not how well.
"""

import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

import pytest
import ray
import torch
import typer

from inat_ray.config.code import own_code
from inat_ray.config.epoch import EpochMetrics
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.resources import Resources
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.page.attribution import (
    UnexplainedError,
    busiest_neurons,
    grad_cam,
    guided_backpropagation,
    watch,
)
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import LoadedModel, load_model, model_writer
from inat_ray.training.export import SUFFIXES, Format, export
from inat_ray.training.features import FeatureBatches
from inat_ray.training.fit import Fit
from inat_ray.training.loop import Job
from inat_ray.training.worker_group import WorkerGroup

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- matrix: begin -->\n", "<!-- matrix: end -->\n"

TORCHVISION = (
    *("resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t"),
    *("densenet121", "regnet_y_400mf"),
)
TIMM = (
    *("tf_efficientnet_lite0", "mobilenetv4_conv_small", "convnext_atto", "vit_tiny_patch16_224"),
    "repvgg_a0",
)
OWN = f"{ROOT}/experiments/own_network.py:TinyNet"

FAMILIES: dict[str, dict[str, object]] = {
    "cnn": {"kind": "cnn", "filters": [8, 8, 16, 16, 16], "dense": 16},
    **{f"torchvision {name}": {"kind": "pretrained", "backbone": name} for name in TORCHVISION},
    **{f"timm {name}": {"kind": "pretrained", "source": "timm", "backbone": name} for name in TIMM},
    "own_network.py": {"kind": "module", "target": OWN},
}

CPU = torch.device("cpu")

DATA = {"source": "demo", "demo_images_per_class": 10, "share": 0.5, "image_size": 64}
RECIPE = {"batch_size": 16, "epochs": 2, "lr": 1e-3}


class Tried:
    """One family, and what is tried with it: each method fails where the feature does.

    State: `saved`, a model after an epoch, for all that comes after training.
    """

    def __init__(self, family: str, folder: Path, workers: WorkerGroup) -> None:
        self._model, self._folder, self._workers = FAMILIES[family], folder, workers

    def trains(self) -> None:
        metrics, moved = self._epoch()
        assert torch.tensor([metrics.train_loss, metrics.val_loss]).isfinite().all()
        assert moved[0]
        assert moved[-1]

    def freezes(self) -> None:
        _, moved = self._epoch(freeze={"strategy": "fraction", "fraction": 0.5})
        half = round(len(moved) * 0.5)
        assert not any(moved[:half])
        assert moved[-1]

    def caches_features(self) -> None:
        head_only = {"freeze": {"strategy": "head_only"}, "feature_views": 1}
        fit = Fit(self._experiment(**head_only), self._data, device=CPU)
        assert isinstance(fit.inputs.batches, FeatureBatches)
        cached = fit.epoch()
        pixels = fit.validated
        model_writer(fit)(Place.at(self._folder / "head.safetensors"))
        loaded = load_model(self._folder / "head.safetensors")
        assert pixels is not None
        seen = loaded.evaluate(self._data, "validation", device=CPU)
        torch.testing.assert_close(pixels.probabilities, seen.probabilities)
        assert cached.val_loss == pytest.approx(seen.tally.loss, rel=1e-4)

    def trains_on_two_workers(self) -> None:
        checkpoints = Place.at(self._folder / "two")
        job = Job(self._experiment(), self._data, checkpoints=checkpoints)
        done = self._workers.epoch(job, epochs_done=0, resume_from=None)
        assert torch.tensor([done.metrics.train_loss, done.metrics.val_loss]).isfinite().all()

    def resumes_exactly(self) -> None:
        whole = Fit(self._experiment(), self._data, device=CPU)
        first = whole.epoch()
        state = copy.deepcopy(whole.state_dict())
        second = whole.epoch()
        resumed = Fit(self._experiment(), self._data, device=CPU)
        resumed.load_state_dict(state)
        again = resumed.epoch()
        assert (again.train_loss, again.val_loss) == (second.train_loss, second.val_loss)
        assert again.train_loss != first.train_loss

    def has_grad_cam(self) -> None:
        seen = watch(self.saved.model, self._image)
        heats = [grad_cam(seen, label=label)[1] for label in range(len(self.saved.classes))]
        assert max(float(heat.max()) for heat in heats) == 1

    def has_guided_backpropagation(self) -> None:
        seen = watch(self.saved.model, self._image)
        last = seen.stages[-1]
        neurons = busiest_neurons(last.of(last.output), 3)
        gradients = guided_backpropagation(self.saved.model, seen, neurons)
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)

    def exports_onnx(self) -> None:
        self._export("onnx")

    def exports_torch(self) -> None:
        self._export("torch")

    @cached_property
    def saved(self) -> LoadedModel:
        fit = Fit(self._experiment(), self._data, device=CPU)
        fit.epoch()
        model_writer(fit)(Place.at(self._folder / "m.safetensors"))
        return load_model(self._folder / "m.safetensors")

    def _export(self, form: Format) -> None:
        path = self._folder / f"exported{SUFFIXES[form]}"
        export(self.saved, path, form=form)  # which compares the numbers
        path.unlink()

    def _epoch(self, **model: object) -> tuple[EpochMetrics, list[bool]]:
        """Trains an epoch; returns its metrics, and whether each layer moved."""
        fit = Fit(self._experiment(**model), self._data, device=CPU)
        before = {key: tensor.clone() for key, tensor in fit.model.state_dict().items()}
        metrics = fit.epoch()
        after = fit.model.state_dict()
        still = {key for key in before if after[key].equal(before[key])}
        return metrics, [
            any(layer.owns(key) and key not in still for key in before) for layer in fit.layers
        ]

    def _experiment(self, **model: object) -> Experiment:
        started = {} if self._model["kind"] == "cnn" else {"weights": "none"}
        tree = {
            "data": {**DATA, "cache": str(self._folder.parent / "cache")},
            "recipe": RECIPE,
            "model": {**self._model, **started, **model},
        }
        settings = [f"{name}={json.dumps(value)}" for name, value in tree.items()]
        return own_code(load_experiment(None, settings=settings))

    @cached_property
    def _data(self) -> DataSet:
        return open_dataset(self._experiment().data)

    @property
    def _image(self) -> torch.Tensor:
        return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


FEATURES: dict[str, Callable[[Tried], None]] = {
    "train": Tried.trains,
    "freeze": Tried.freezes,
    "cached features": Tried.caches_features,
    "two workers": Tried.trains_on_two_workers,
    "resume exactly": Tried.resumes_exactly,
    "Grad-CAM": Tried.has_grad_cam,
    "guided backpropagation": Tried.has_guided_backpropagation,
    "ONNX": Tried.exports_onnx,
    "torch.export": Tried.exports_torch,
}


def cells_of(family: str, folder: Path, workers: WorkerGroup) -> list[str]:
    """Returns "yes" or "no" for each feature; a failure that says nothing to users is raised."""
    tried = Tried(family, folder, workers)
    cells = []
    for feature in FEATURES.values():
        try:
            feature(tried)
        except (UnexplainedError, UserError) as reason:
            print(f"{family}: {reason}")
            cells.append("no")
        else:
            cells.append("yes")
    return cells


def two_workers(storage: Path) -> WorkerGroup:
    resources = Resources(workers_per_trial=2, gpus_per_worker=0, max_failures=0)
    return WorkerGroup(resources, storage=Place.at(storage))


def table(rows: Mapping[str, list[str]]) -> str:
    """Returns the rows, by family, as Markdown."""
    lines = [["network", *FEATURES], ["---"] * (len(FEATURES) + 1)]
    lines += [[family, *cells] for family, cells in rows.items()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def read_rows() -> dict[str, list[str]]:
    """Returns the rows that the page has."""
    _, _, rest = PAGE.read_text().partition(BEGIN)
    lines = rest.partition(END)[0].splitlines()[2:]
    rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {family: cells for family, *cells in rows}


def write_rows(rows: Mapping[str, list[str]]) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    ordered = {family: rows[family] for family in FAMILIES if family in rows}
    PAGE.write_text(f"{before}{BEGIN}{table(ordered)}{END}{rest.partition(END)[2]}")


def main(only: Annotated[str, typer.Argument()] = "") -> None:
    """Tries the families whose name has `only` in it."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder, two_workers(Path(folder) / "ray") as workers:
        for family in (family for family in FAMILIES if only in family):
            own = Path(folder) / "family"
            own.mkdir()
            write_rows(read_rows() | {family: cells_of(family, own, workers)})
            shutil.rmtree(own)


if __name__ == "__main__":
    typer.run(main)
