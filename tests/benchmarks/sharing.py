"""Several trials on one GPU by fractions: trials an hour, and how busy the GPU is.

python -m tests.benchmarks.sharing --data ~/photos
"""

import statistics
import subprocess
import threading
from pathlib import Path
from typing import Annotated, Self

import torch
import typer

from tests.benchmarks.comparison import Data, Part, Rounds, Settings
from tests.benchmarks.sweep import our_sweep

FRACTIONS = (1, 0.5, 0.25, 0.125)
TRIAL = ["data.image_size=128", "recipe.epochs=3"]


class Utilisation:
    """Share of the time in which the first GPU was at work, by nvidia-smi, once a second."""

    def __init__(self) -> None:
        self.percent: list[float] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._over.wait(1):
            told = subprocess.run(
                ["nvidia-smi", "--id=0", *query], check=True, stdout=subprocess.PIPE, text=True
            )
            self.percent.append(float(told.stdout))


def main(
    data: Data,
    rounds: Rounds = 2,
    trials: Annotated[int, typer.Option(help="Of a sweep.")] = 16,
    settings: Settings = None,
    out: Path | None = None,
) -> None:
    if not torch.cuda.is_available():
        raise typer.BadParameter("this machine has no GPU")
    part, hourly, busy = Part("sharing"), {}, {}
    for fraction in FRACTIONS * rounds:
        given = [*TRIAL, f"resources.gpus_per_worker={fraction}", *(settings or [])]
        with Utilisation() as utilisation:
            sweep = our_sweep(data, trials=trials, settings=given)
        hourly.setdefault(fraction, []).append(3600 / sweep.each)
        busy.setdefault(fraction, []).append(statistics.mean(utilisation.percent))
    for fraction in FRACTIONS:
        part.add(f"{fraction} of a GPU a trial", hourly[fraction], unit="trials/h")
        part.add(f"{fraction} of a GPU a trial: at work", busy[fraction], unit="%")
    for fraction in FRACTIONS[1:]:
        part.compare(f"sharing_{fraction}_over_whole", hourly[fraction], hourly[1])
    part.tell(out)


if __name__ == "__main__":
    typer.run(main)
