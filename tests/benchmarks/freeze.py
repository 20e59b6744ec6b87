"""Time and memory of a training step by how much of a ResNet is frozen, and of cached features.

    python tests/benchmarks/freeze.py --data ~/photos

Each strategy in a process of its own, so that its peak memory is its own; the processes take
turns, a strategy each, `rounds` times. Prints a table, and JSON as the last line.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from itertools import islice
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.training.fit import Fit
from inat_ray.training.metrics import Sums

STRATEGIES = {
    "none": "{strategy: none}",
    "fraction 0.3": "{strategy: fraction, fraction: 0.3}",
    "fraction 0.5": "{strategy: fraction, fraction: 0.5}",
    "fraction 0.8": "{strategy: fraction, fraction: 0.8}",
    "freeze_fc": "{strategy: freeze_fc}",
    "head_only": "{strategy: head_only}",
    "head_only, features cached": "{strategy: head_only}",
}
WARM_UP = 2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Settings = Annotated[list[str] | None, typer.Option("--set")]


@app.command()
def measure(data: str, name: str, steps: int, settings: Settings = None) -> None:
    """One strategy in this process: JSON of the seconds of each step, and of memory in MB."""
    experiment = load_experiment(
        None,
        settings=[
            "model={kind: resnet, backbone: resnet50, weights: none}",
            f"model.freeze={STRATEGIES[name]}",
            f"model.cache_features={'true' if 'cached' in name else 'false'}",
            "recipe.batch_size=32",
            *(settings or []),
        ],
        options={"data.source": ("--data", data)},
    )
    fit = Fit(experiment, open_dataset(experiment.data))
    fit.prepare(0)
    sums = Sums(len(fit.data.classes), fit.device)
    before = _peak_mb(fit.device)
    seconds = []
    for batch in islice(_forever(fit), WARM_UP + steps):
        begin = time.perf_counter()
        fit.step(batch, sums)
        _wait(fit.device)
        seconds.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    fit.validate()
    told = {
        "seconds": seconds[WARM_UP:],
        "peak_mb": _peak_mb(fit.device),
        "peak_mb_of_steps": _peak_mb(fit.device) - before,
        "steps_of_epoch": fit.inputs.batches.steps,
        "validation_seconds": time.perf_counter() - begin,
    }
    sys.stdout.write(json.dumps(told) + "\n")


@app.command()
def compare(
    data: Annotated[str, typer.Option(help="A folder of labelled photographs.")],
    rounds: int = 3,
    steps: int = 10,
    settings: Settings = None,
) -> None:
    """All strategies, in turn."""
    told: dict[str, list[dict[str, object]]] = {name: [] for name in STRATEGIES}
    for _ in range(rounds):
        for name in STRATEGIES:
            told[name].append(_in_own_process(data, name, steps, settings or []))
    table = Table(
        "strategy", "ms a step (median)", "min", "max", "time / none", "peak MB", "epoch, s"
    )
    medians = {name: _median_seconds(rows) for name, rows in told.items()}
    for name, rows in told.items():
        values = [1000 * s for row in rows for s in row["seconds"]]
        epoch = medians[name] * rows[0]["steps_of_epoch"] + statistics.median(
            row["validation_seconds"] for row in rows
        )
        table.add_row(
            name,
            f"{1000 * medians[name]:,.1f}",
            f"{min(values):,.1f}",
            f"{max(values):,.1f}",
            f"{medians[name] / medians['none']:.3f}",
            f"{statistics.median(row['peak_mb'] for row in rows):,.0f}",
            f"{epoch:,.2f}",
        )
    Console(stderr=True).print(table)
    sys.stdout.write(json.dumps(told) + "\n")


def _in_own_process(data: str, name: str, steps: int, settings: list[str]) -> dict[str, object]:
    options = [part for line in settings for part in ("--set", line)]
    line = [sys.executable, __file__, "measure", data, name, str(steps), *options]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _median_seconds(rows: list[dict[str, object]]) -> float:
    return statistics.median(s for row in rows for s in row["seconds"])


def _forever(fit: Fit):
    epoch = 0
    while True:
        yield from fit.inputs.batches.epoch(epoch)
        epoch += 1


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    app()
