"""Every reader on files that have gone bad: a sentence or a right result, and nothing else.

An exception that is no sentence fails a test by itself, and so do a warning and a hang.
"""

import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from inat_ray.config.errors import RunFailedError, UserError
from inat_ray.config.experiment import DataConfig, Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.model import ResnetConfig
from inat_ray.config.space import search_space
from inat_ray.data.augment import Normalize
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.data.decode import UndecodableError, decode_square
from inat_ray.data.inaturalist import fetch_inaturalist
from inat_ray.data.pack import open_pack
from inat_ray.data.split import Split
from inat_ray.log.run_log import EVENTS, RunLog, read_history, read_stored
from inat_ray.models.cut import HeadCut
from inat_ray.models.weights import read_weights
from inat_ray.run.curve_files import read_curves, write_curves
from inat_ray.run.folder import RunFolder
from inat_ray.run.listing import read_run
from inat_ray.run.result import read_result
from inat_ray.run.warm_start import warm_start
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import load_checkpoint, load_model
from inat_ray.training.features import FeatureStore
from inat_ray.training.fit import Fit
from inat_ray.training.loop import Job, Training
from inat_ray.training.predictions import Predictions, read_predictions, write_predictions
from inat_ray.training.snapshot import read_snapshot
from tests.damage import damaged, wait_for_the_disk
from tests.run.made_up_runs import make_run, search_records, write_log

pytestmark = [pytest.mark.slow, pytest.mark.timeout(10, func_only=True)]

INPUTS = 45
"""Damaged inputs of each reader."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Subject:
    """A file that can go bad, and what reads it."""

    file: Path
    read: Callable[[], Any]
    has_checksum: bool = False
    """Whether a reader can know that a byte has changed: what it gives must then be right."""


@pytest.fixture(scope="session")
def experiment(data_folder, small_settings) -> Experiment:
    settings = [
        *small_settings,
        f"data.source={data_folder}",
        "device=cpu",
        "recipe.batch_size=16",
        "search.parameters={recipe.lr: {values: [0.1, 0.2]}}",
    ]
    return load_experiment(None, settings=settings)


@pytest.fixture(scope="session")
def data(experiment) -> DataSet:
    return open_dataset(experiment.data)


@pytest.fixture(scope="session")
def run(experiment, data, tmp_path_factory) -> Path:
    """A run with every file that a run leaves, and its place in a storage."""
    folder = tmp_path_factory.mktemp("damage")
    storage = {"resources": {"storage_path": str(folder / "storage")}}
    tree = experiment.model_dump(mode="json") | storage
    path = make_run(folder / "run", [], **tree)
    place = RunFolder(path)
    write_log(place, search_records())
    job = Job(
        experiment,
        data,
        checkpoints=Place.at(path / "checkpoints" / "a"),
        keeps_model=True,
        snapshot=Place.at(path / "snapshots" / "a.safetensors"),
    )
    Training(job, device=CPU).epoch()
    place.model.write_bytes(job.model(1).read())
    data.split.write(place.split, data.pack)
    counts = {"train": 1}
    about = {"classes": ["ash"], "images": counts, "quarantined": {}, "duplicates": []}
    machine = {"processor": "x", "cores": 2, "system": "Linux"}
    result = {"test_accuracy": 0.6, "versions": {"torch": "2"}, "machine": machine}
    result |= {"data": about | {"pack": str(data.pack.path)}, "parameters": 100, "macs": 10}
    place.result.write_text(json.dumps(result))
    predictions = Predictions(
        paths=[f"a/{n}.jpg" for n in range(50)],
        classes=["ash", "beech"],
        truths=np.arange(50) % 2,
        probabilities=np.full((50, 2), 0.5, dtype=np.float32),
    )
    write_predictions(predictions, path / "p")
    write_curves(read_curves(path), path / "curves.parquet", provenance={})
    return path


def weights_of(path: Path) -> ResnetConfig:
    return ResnetConfig(kind="resnet", backbone="resnet18", weights=str(path))


def weights_file(folder: Path, *, suffix: str) -> Subject:
    path = folder / f"w.{suffix}"
    state = {"a.weight": torch.randn(8, 8), "a.bias": torch.randn(8)}
    about = {"mean": "[0.1, 0.2, 0.3]", "std": "[0.4, 0.5, 0.6]"}
    save_file(state, path, metadata=about) if suffix == "safetensors" else torch.save(state, path)

    def read() -> Any:
        return {name: t.tolist() for name, t in read_weights(weights_of(path)).state.items()}

    return Subject(path, read, has_checksum=suffix == "pth")


def archive(folder: Path) -> Subject:
    path = folder / "cache" / "inaturalist-12k" / "archive.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as whole:
        for number in range(5):
            whole.writestr(f"inaturalist_12K/train/ash/{number}.jpg", bytes([number]) * 300)

    def read() -> Any:
        cache = {"cache": str(folder / "cache")}
        config = Experiment.model_validate({"data": cache}).data
        shutil.rmtree(path.parent / "images", ignore_errors=True)
        images = fetch_inaturalist(config, size=path.stat().st_size)
        return {p.name: p.read_bytes() for p in sorted(images.rglob("*")) if p.is_file()}

    return Subject(path, read)


def picture(folder: Path, *, suffix: str) -> Subject:
    path = folder / f"p.{suffix}"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(path)

    def read() -> Any:
        try:
            return decode_square(path.read_bytes(), side=32, fit="crop")
        except UndecodableError as error:
            raise UserError(str(error)) from None

    return Subject(path, read)


def pixels(config: DataConfig) -> list[Any]:
    found: list[Any] = open_pack(config).images.tolist()
    return found


def pack(folder: Path, data: DataSet, config: DataConfig) -> Subject:
    cache = folder / "cache"
    file = cache / "packs" / data.pack.path.name
    file.parent.mkdir(parents=True)
    shutil.copy(data.pack.path, file)
    own = config.model_copy(update={"cache": str(cache)})
    return Subject(file, lambda: pixels(own), has_checksum=True)


def features(folder: Path, experiment: Experiment, data: DataSet) -> Subject:
    tree = experiment.model_dump(mode="json")
    tree["data"]["cache"] = str(folder)
    tree["model"] = {"kind": "resnet", "backbone": "resnet18", "weights": "none"}
    tree["model"]["freeze"] = {"strategy": "head_only"}
    tree["recipe"]["augment"] = False
    fit = Fit(Experiment.model_validate(tree), data, device=CPU)
    [store] = [p for p in (folder / "features").iterdir() if p.is_dir()]

    def read() -> Any:
        normalize = Normalize(fit.mean, fit.std, CPU)
        cut = HeadCut("fc", (512,))
        found = FeatureStore(fit.experiment, data, model=fit.model, cut=cut, normalize=normalize)
        train, _ = found.open()
        return np.asarray(train.values).shape

    return Subject(store / "train.npy", read)


def checkpoint(path: Path) -> Subject:
    file = path / "checkpoints" / "a" / "epoch_0001.pt"

    def read() -> Any:
        state = load_checkpoint(Place.at(file), CPU)
        return {name: tensor.tolist() for name, tensor in state["fit"]["model"].items()}

    return Subject(file, read, has_checksum=True)


@dataclass(frozen=True)
class Scene:
    """A copy of the run and of its place in a storage, which may go bad."""

    folder: Path
    run: RunFolder
    stored: Place
    experiment: Experiment
    data: DataSet

    @property
    def events(self) -> Path:
        return self.run.log / EVENTS

    @property
    def segment(self) -> Path:
        segments = (self.folder / "storage" / "log" / "segments").iterdir()
        return max(segments, key=lambda path: path.stat().st_size)

    def file(self, name: str, read: Callable[[Path], Any]) -> Subject:
        path = self.run.path / name
        return Subject(path, lambda: read(path))


READERS: dict[str, Callable[[Scene], Subject]] = {
    "log": lambda s: Subject(s.events, lambda: read_history(s.run.log)),
    "log, opened": lambda s: Subject(s.events, lambda: RunLog(s.run.log).close()),
    "segment": lambda s: Subject(s.segment, lambda: list(read_stored(s.stored))),
    "run in the list": lambda s: Subject(s.events, lambda: read_run(s.run.path)),
    "warm start": lambda s: Subject(
        s.events, lambda: warm_start(s.run.path, s.experiment, search_space(s.experiment))
    ),
    "curves of a run": lambda s: Subject(s.events, lambda: read_curves(s.run.path)),
    "result": lambda s: s.file("result.json", read_result),
    "experiment": lambda s: s.file("experiment.yaml", load_experiment),
    "split": lambda s: s.file("split.json", lambda path: Split.read(path, s.data.pack)),
    "curves": lambda s: s.file("curves.parquet", read_curves),
    "predictions": lambda s: s.file("p", read_predictions),
    "model": lambda s: s.file("best.safetensors", load_model),
    "snapshot": lambda s: s.file(
        "snapshots/a.safetensors", lambda path: read_snapshot(Place.at(path))
    ),
    "checkpoint": lambda s: checkpoint(s.run.path),
    "weights.pth": lambda s: weights_file(s.folder, suffix="pth"),
    "weights.safetensors": lambda s: weights_file(s.folder, suffix="safetensors"),
    "pack": lambda s: pack(s.folder, s.data, s.experiment.data),
    "archive": lambda s: archive(s.folder),
    "picture.png": lambda s: picture(s.folder, suffix="png"),
    "picture.jpg": lambda s: picture(s.folder, suffix="jpg"),
}


@pytest.fixture
def scene(run, experiment, data, tmp_path) -> Scene:
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run.parent / "storage" / "run", tmp_path / "storage")
    stored = Place.at(tmp_path / "storage")
    return Scene(tmp_path, RunFolder(tmp_path / "run"), stored, experiment, data)


@pytest.mark.parametrize("seed", range(INPUTS))
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_answered_with_a_sentence_or_read_right(name, seed, scene):
    subject = READERS[name](scene)
    content = subject.file.read_bytes()
    right = subject.read() if subject.has_checksum else None
    wait_for_the_disk()
    subject.file.write_bytes(damaged(content, seed=seed))
    with suppress(UserError, RunFailedError):
        found = subject.read()
        assert not subject.has_checksum or found == right


@pytest.mark.timeout(60, func_only=True)
def test_damaged_features_are_read_in_their_shape(experiment, data, tmp_path):
    subject = features(tmp_path, experiment, data)
    content, right = subject.file.read_bytes(), subject.read()
    for seed in range(10):
        subject.file.write_bytes(damaged(content, seed=seed))
        assert subject.read() == right


FILES = [f"log/{EVENTS}", "result.json", "experiment.yaml", "split.json", "best.safetensors", "p"]


@pytest.mark.timeout(60, func_only=True)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("file", FILES)
def test_commands_answer_damaged_runs_with_a_sentence(file, seed, run, told, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(run, path)
    (path / file).write_bytes(damaged((path / file).read_bytes(), seed=seed))
    commands: list[tuple[object, ...]] = [
        ("runs", tmp_path),
        ("sweep", "--status", path),
        ("simulate", path, "--seeds", 1),
        ("report", path, "--out", tmp_path / "report.html"),
        ("predict", path / "best.safetensors", tmp_path / "none"),
    ]
    for line in commands:
        code, text = told(*line)
        assert code in (0, 1, 2), text
        assert "Traceback" not in text
        assert code == 0 or "error:" in text or "Usage" in text
