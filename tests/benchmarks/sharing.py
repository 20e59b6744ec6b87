"""Several trials on one GPU by fractions: trials an hour, and how busy the GPU is.

python -m tests.benchmarks.sharing --data ~/photos
"""

import statistics
import subprocess
from pathlib import Path
from typing import Annotated

import torch
import typer

from tests.benchmarks.comparison import Data, Part, Rounds, Settings, Short
from tests.benchmarks.sampling import Sampled
from tests.benchmarks.sweep import our_sweep

FRACTIONS = (1, 0.5, 0.25, 0.125)
TRIAL = ["data.image_size=128", "recipe.epochs=3"]


def utilisation() -> float:
    """Share of the last moment in which the first GPU was at work, in percent."""
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    line = ["nvidia-smi", "--id=0", *query]
    return float(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main(
    data: Data,
    rounds: Rounds = 2,
    trials: Annotated[int, typer.Option(help="Of a sweep.")] = 16,
    settings: Settings = None,
    short: Short = False,
    out: Path | None = None,
) -> None:
    rounds, trials = (1, 2) if short else (rounds, trials)
    if not torch.cuda.is_available():
        raise typer.BadParameter("this machine has no GPU")
    part, hourly, busy = Part("sharing", out=out), {}, {}
    for fraction in FRACTIONS * rounds:
        given = [*TRIAL, f"resources.gpus_per_worker={fraction}", *(settings or [])]
        with Sampled(utilisation, seconds=1) as at_work:
            sweep = our_sweep(data, trials=trials, settings=given)
        hourly.setdefault(fraction, []).append(3600 / sweep.each)
        searching = at_work.between(sweep.begun, sweep.begun + sweep.search)
        busy.setdefault(fraction, []).append(statistics.mean(searching))
    for fraction in FRACTIONS:
        part.add(f"{fraction} of a GPU a trial", hourly[fraction], unit="trials/h")
        part.add(f"{fraction} of a GPU a trial: at work", busy[fraction], unit="%")
    for fraction in FRACTIONS[1:]:
        part.compare(f"sharing_{fraction}_over_whole", hourly[fraction], hourly[1])
    part.tell()


if __name__ == "__main__":
    typer.run(main)
