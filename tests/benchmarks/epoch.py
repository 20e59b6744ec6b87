"""Images/s of a training epoch: `Fit`, its bound, and other ways to the same steps.

    python -m tests.benchmarks.epoch --data ~/photos

The same model takes an epoch of steps, in turn, several times in one run, each way in a process
of its own. `Fit` is what `train` runs; the bound is the same on batches that are augmented already
and in memory. The others, which also train on the fifth that ours validates on, read the
photographs as their documentation shows: a loop over torchvision's ImageFolder and a DataLoader
with a process a core; Lightning with that loader; the loop again with all that `Fit` does besides
(channels_last, the fused optimiser, kept memory), so that only the images' way differs; and that
on the batches of NVIDIA DALI, the fastest loader of JPEGs known to us that installs from PyPI. All
step with AdamW.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.data.batches import Batch
from inat_ray.data.dataset import open_dataset
from inat_ray.training.fit import Fit
from inat_ray.training.sums import Sums
from tests.benchmarks.apart import Apart, Way
from tests.benchmarks.comparison import Data, Part, Rounds, Settings, alternate
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
    large_rounds: Annotated[int, typer.Option(help="Of the enlarged photographs.")] = 3,
    study: Annotated[Path, typer.Option(help="The model and its recipe.")] = STUDY,
    settings: Settings = None,
    out: Path | None = None,
) -> None:
    experiment = load_experiment(
        study,
        settings=["data.image_size=64", "recipe.optimizer=adamw", *(settings or [])],
        options={"data.source": ("--data", data)},
    )
    folder, part = Path(data).expanduser(), Part("epoch")
    open_dataset(experiment.data)
    ours = {"Fit": Apart(fit_epoch, experiment)}
    others = {
        "bound": Apart(bound_epoch, experiment),
        "plain PyTorch": Apart(plain, experiment, folder),
        "plain PyTorch, tuned": Apart(tuned, experiment, folder),
        "Lightning": Apart(lightning, experiment, folder),
        "DALI": Apart(dali, experiment, folder),
    }
    _measure(part, ours | others, rounds=rounds)
    _close(others)
    large = enlarged(folder)
    others = {
        f"plain PyTorch, {LARGE}": Apart(plain, experiment, large),
        f"plain PyTorch, tuned, {LARGE}": Apart(tuned, experiment, large),
        f"DALI, {LARGE}": Apart(dali, experiment, large),
    }
    _measure(part, ours | others, rounds=large_rounds)
    _close(others | ours)
    first = {
        "Fit": Apart(our_first_batch, experiment),
        "plain PyTorch": Apart(their_first_batch, experiment, folder),
    }
    for name, values in alternate(first, rounds=3).items():
        part.add(f"{name}: first batch", values, unit="s", digits=2)
    _close(first)
    part.tell(out)


RATIOS = {
    "bound": "epoch_over_bound",
    "plain PyTorch": "epoch_over_plain",
    "plain PyTorch, tuned": "epoch_over_tuned_plain",
    "Lightning": "epoch_over_lightning",
    "DALI": "epoch_over_dali",
    f"plain PyTorch, {LARGE}": "epoch_over_plain_800x600",
    f"plain PyTorch, tuned, {LARGE}": "epoch_over_tuned_plain_800x600",
    f"DALI, {LARGE}": "epoch_over_dali_800x600",
}


def _measure(part: Part, ways: dict[str, Apart], *, rounds: int) -> None:
    """Adds what is new in `ways`, and the ratios of `Fit` to the others of this measurement."""
    speeds = alternate(ways, rounds=rounds)
    for name in [name for name in ways if name not in part.figures]:
        part.add(name, speeds[name], unit="images/s")
        part.add(f"{name}: peak memory", [ways[name].peak_memory()], unit="MB")
    for name in [name for name in ways if name != "Fit"]:
        part.compare(RATIOS[name], speeds["Fit"], speeds[name])


def _close(ways: dict[str, Apart]) -> None:
    for way in ways.values():
        way.close()


if __name__ == "__main__":
    typer.run(main)
