"""Images/s of a training epoch: `Fit`, its bound, and other ways to the same steps.

    python -m tests.benchmarks.epoch --data ~/photos
    python -m tests.benchmarks.epoch --data ~/photos --large

The same model takes an epoch of steps, in turn, several times in one run, each way in a process
of its own. `Fit` is what `train` runs; the bound is the same on batches that are augmented already
and in memory. The others, which also train on the fifth that ours validates on, read the
photographs as their documentation shows: a loop over torchvision's ImageFolder and a DataLoader
with a process a core; Lightning with that loader; the loop again with all that `Fit` does besides
(channels_last, the fused optimiser, kept memory), so that only the images' way differs; and that
on the batches of NVIDIA DALI, the fastest loader of JPEGs known to us that installs from PyPI. All
step with AdamW. Where photographs are large the others decode longer and ours does not, so ours
over plain PyTorch says how large they are; ours over its bound is what it can be held to.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.batches import Batch
from inat_ray.data.dataset import open_dataset
from inat_ray.training.fit import Fit
from inat_ray.training.sums import Sums
from tests.benchmarks.apart import Apart, Way
from tests.benchmarks.comparison import TINY, Data, Part, Rounds, Settings, Short, alternate
from tests.benchmarks.copies import LARGE, enlarged
from tests.benchmarks.loops import dali, image_folder, lightning, plain, tuned

STUDY = Path("experiments/cnn_best.yaml")


def fit_epoch(experiment: Experiment) -> Way:
    """An epoch as `train` has it, without the validation after it."""
    fit = Fit(experiment, open_dataset(experiment.data))
    return _steps_of(fit, fit.inputs.batches.epoch)


def bound_epoch(experiment: Experiment) -> Way:
    """The steps of one and the same epoch, whose batches are in memory."""
    fit = Fit(experiment, open_dataset(experiment.data))
    ready = list(fit.inputs.batches.epoch(0))
    return _steps_of(fit, lambda _: iter(ready))


def _steps_of(fit: Fit, batches: Callable[[int], Iterator[Batch]]) -> Way:
    fit.prepare(0)

    def images_per_second(epoch: int) -> float:
        begin = time.perf_counter()
        sums = Sums(len(fit.data.classes), fit.device)
        for batch in batches(epoch):
            fit.step(batch, sums)
        return sums.tally().images / (time.perf_counter() - begin)

    return images_per_second


def our_first_batch(experiment: Experiment) -> Way:
    """Seconds from nothing but the pack on the disk."""

    def seconds(_: int) -> float:
        begin = time.perf_counter()
        next(Fit(experiment, open_dataset(experiment.data)).inputs.batches.epoch(0))
        return time.perf_counter() - begin

    return seconds


def their_first_batch(experiment: Experiment, folder: Path) -> Way:
    """Seconds of a new ImageFolder and DataLoader."""

    def seconds(_: int) -> float:
        begin = time.perf_counter()
        batches = iter(image_folder(experiment, folder))
        next(batches)
        return time.perf_counter() - begin  # and the loader's processes end

    return seconds


def main(
    data: Data,
    rounds: Rounds = 5,
    large: Annotated[bool, typer.Option("--large", help=f"Enlarged to {LARGE} pixels.")] = False,
    study: Annotated[Path, typer.Option(help="The model and its recipe.")] = STUDY,
    settings: Settings = None,
    short: Short = False,
    out: Path | None = None,
) -> None:
    folder, part = Path(data), Part("epoch", out=out)
    if large:
        folder = enlarged(folder)
    small = TINY if short else []
    experiment = load_experiment(
        study,
        settings=["data.image_size=64", "recipe.optimizer=adamw", *small, *(settings or [])],
        options={"data.source": ("--data", str(folder))},
    )
    open_dataset(experiment.data)
    with _apart(_ways(part, experiment, folder, large=large)) as ways:
        titles = {name: f"{name}, {LARGE}" if large else name for name in ways}
        speeds = alternate(
            ways,
            rounds=1 if short else rounds,
            warm_up=0 if short else 1,
            keep=lambda name, values: part.add(titles[name], values, unit="images/s"),
        )
        for name, title in titles.items():
            part.add(f"{title}: peak memory", [ways[name].peak_memory()], unit="MB")
    for name in [name for name in ways if name != "Fit"]:
        suffix = "_800x600" if large else ""
        part.compare(f"{RATIOS[name]}{suffix}", speeds["Fit"], speeds[name])
    if not large:
        _measure_first_batches(part, experiment, folder, rounds=1 if short else 3)
    part.tell()


RATIOS = {
    "bound": "epoch_over_bound",
    "plain PyTorch": "epoch_over_plain",
    "plain PyTorch, tuned": "epoch_over_tuned_plain",
    "Lightning": "epoch_over_lightning",
    "DALI": "epoch_over_dali",
}


def _ways(
    part: Part, experiment: Experiment, folder: Path, *, large: bool
) -> dict[str, tuple[Any, ...]]:
    """What each way is made by, and from; those whose package is there."""
    ways: dict[str, tuple[Any, ...]] = {
        "Fit": (fit_epoch, experiment),
        "bound": (bound_epoch, experiment),
        "plain PyTorch": (plain, experiment, folder),
        "plain PyTorch, tuned": (tuned, experiment, folder),
    }
    if not large and part.installed("lightning", title="Lightning"):
        ways["Lightning"] = (lightning, experiment, folder)
    if part.installed("nvidia.dali", title="DALI"):
        ways["DALI"] = (dali, experiment, folder)
    return ways


def _measure_first_batches(
    part: Part, experiment: Experiment, folder: Path, *, rounds: int
) -> None:
    made = {
        "Fit": (our_first_batch, experiment),
        "plain PyTorch": (their_first_batch, experiment, folder),
    }
    with _apart(made) as ways:
        for name, values in alternate(ways, rounds=rounds).items():
            part.add(f"{name}: first batch", values, unit="s", digits=2)


@contextmanager
def _apart(made: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Apart]]:
    """The ways, each in a process of its own until the context ends."""
    ways = {name: Apart(make, *args) for name, (make, *args) in made.items()}
    try:
        yield ways
    finally:
        for way in ways.values():
            way.close()


if __name__ == "__main__":
    typer.run(main)
