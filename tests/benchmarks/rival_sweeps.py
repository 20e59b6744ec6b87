"""The same trials as other tools run them, each as its documentation shows.

    python -m tests.benchmarks.rival_sweeps stock --data ~/photos --trials 4

Run by tests/benchmarks/sweep.py. A trial has the model, the number of images, the epochs and the
threads of ours. What differs is who starts it, and the script in it: a plain loop over a
DataLoader, without what makes our steps faster (the epoch's benchmark tells that apart). Prints
the seconds of the start (Ray's, after the imports) and of the search as JSON.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.models.build import build_model
from tests.benchmarks.comparison import Data, Settings
from tests.benchmarks.loops import MEAN, STD, augmentation

LEARNING_RATES = (1e-3, 1e-2)
DROPOUTS = (0.0, 0.5)
METRIC = "val_accuracy"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Trials = Annotated[int, typer.Option(metavar="N", help="Of the sweep.")]
Report = Callable[[dict[str, float]], None]
Trainable = Callable[[dict[str, float]], None]


def train(experiment: Experiment, *, lr: float, dropout: float, report: Report) -> float:
    """One trial; returns the last epoch's validation accuracy."""
    torch.manual_seed(0)
    folder = Path(experiment.data.source).expanduser() / "train"
    training, validation = _loaders(experiment, folder)
    model = experiment.model.model_copy(update={"dropout": dropout})
    tree = experiment.model_copy(update={"model": model})
    net = build_model(tree, classes=len(list(folder.iterdir())), weights=None)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr)
    accuracy = 0.0
    for epoch in range(experiment.recipe.epochs):
        net.train()
        for images, labels in training:
            optimizer.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            right = sum(int((net(x).argmax(1) == y).sum()) for x, y in validation)
        accuracy = right / len(validation.dataset)  # type: ignore[arg-type]
        report({"epoch": epoch + 1, METRIC: accuracy})
    return accuracy


def _loaders(experiment: Experiment, folder: Path) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """80 % and 20 % of the images that `data.share` leaves, read by one process a trial."""
    size = experiment.data.image_size
    whole = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()]
    view = transforms.Compose([*whole, transforms.Normalize(MEAN, STD)])
    augmented = datasets.ImageFolder(folder, augmentation(experiment))
    plain = datasets.ImageFolder(folder, view)
    order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(0)).tolist()
    kept = order[: round(experiment.data.share * len(order))]
    cut = round(0.8 * len(kept))
    batch = experiment.recipe.batch_size
    return (
        DataLoader(
            Subset(augmented, kept[:cut]),
            batch_size=batch,
            shuffle=True,
            drop_last=True,
            num_workers=1,
            persistent_workers=True,
        ),
        DataLoader(Subset(plain, kept[cut:]), batch_size=128, num_workers=1),
    )


@app.command()
def stock(data: Data, trials: Trials, settings: Settings = None) -> None:
    """Ray Tune's function trainables."""
    begin = time.perf_counter()
    from ray import tune

    experiment = _experiment(data, settings)

    def trainable(config: dict[str, float]) -> None:
        train(experiment, **config, report=tune.report)

    _start_ray()
    ready = time.perf_counter()
    _search(trainable, cpus=1, trials=trials)
    _tell(begin, ready)


@app.command()
def nested(data: Data, trials: Trials, settings: Settings = None) -> None:
    """A TorchTrainer of one worker inside each of Ray Tune's functions."""
    begin = time.perf_counter()
    import ray.train
    from ray import tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    experiment = _experiment(data, settings)
    storage = tempfile.mkdtemp()

    def worker(config: dict[str, float]) -> None:
        train(experiment, **config, report=ray.train.report)

    def driver(config: dict[str, float]) -> None:
        TorchTrainer(
            worker,
            train_loop_config=config,
            scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
            run_config=ray.train.RunConfig(
                name=tune.get_context().get_trial_id(),
                storage_path=storage,
                callbacks=[TuneReportCallback()],
            ),
        ).fit()

    _start_ray()
    ready = time.perf_counter()
    # Next to nothing for the driver, which waits: with a core it would take its worker's.
    _search(driver, cpus=0.001, trials=trials, max_concurrent_trials=os.cpu_count())
    _tell(begin, ready)


@app.command()
def optuna(data: Data, trials: Trials, settings: Settings = None) -> None:
    """An Optuna study in one process, which has all cores and a process that reads."""
    begin = time.perf_counter()
    import optuna as package

    package.logging.set_verbosity(package.logging.ERROR)
    experiment = _experiment(data, settings)

    def objective(trial: package.Trial) -> float:
        return train(
            experiment,
            lr=trial.suggest_float("lr", *LEARNING_RATES, log=True),
            dropout=trial.suggest_float("dropout", *DROPOUTS),
            report=lambda result: trial.report(result[METRIC], int(result["epoch"])),
        )

    ready = time.perf_counter()
    study = package.create_study(
        direction="maximize", sampler=package.samplers.RandomSampler(seed=0)
    )
    study.optimize(objective, n_trials=trials)
    _tell(begin, ready)


def _experiment(data: str, settings: list[str] | None) -> Experiment:
    return load_experiment(
        Path("experiments/cnn_best.yaml"),
        settings=settings or [],
        options={"data.source": ("--data", data)},
    )


def _start_ray() -> None:
    import ray

    paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )


def _search(function: Trainable, *, cpus: float, trials: int, **config: Any) -> None:
    """A random search by Ray Tune; raises RuntimeError where a trial fails."""
    from ray import tune

    tuner = tune.Tuner(
        tune.with_resources(function, {"cpu": cpus}),
        param_space={
            "lr": tune.loguniform(*LEARNING_RATES),
            "dropout": tune.uniform(*DROPOUTS),
        },
        tune_config=tune.TuneConfig(num_samples=trials, metric=METRIC, mode="max", **config),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
    )
    results = tuner.fit()
    if results.num_errors or len(results) != trials:
        raise RuntimeError(f"{results.num_errors} of {trials} trials failed: {results.errors}")


def _tell(begin: float, ready: float) -> None:
    told = {"start": ready - begin, "search": time.perf_counter() - ready}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    app()
