"""How a winner is best chosen: of each pair of seeds in a record, one chooses and the other judges.

    python -m tests.benchmarks.choice experiments/tables/flowers_32px.parquet

No model of the curves is needed. In each repetition, half of the configurations that were trained
with two seeds are the trials of a search, and of each one seed, drawn at random, is what the search
saw. A rule chooses one by that. The other seed's training judges, by the mean of its last five
epochs: shortfall is how far that is below the best of the half, overstatement how far the score
that chose is above it. Standard errors are of a bootstrap over the configurations.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from inat_ray.config.distributions import canonical
from inat_ray.config.metrics import METRICS
from inat_ray.config.space import SEED
from inat_ray.log.score import STRETCH, score_of
from inat_ray.run.curve_files import read_all_curves
from inat_ray.search.curves import CurveTable
from inat_ray.terminal.tables import numbers, plain_table

REPETITIONS, BOOTSTRAPS = 2_000, 200
LAST = 5

Array = NDArray[np.float64]


def main(
    tables: Annotated[list[Path], typer.Argument(help="Records of sweeps: files or run folders.")],
    seed: int = 0,
) -> None:
    console = Console()
    for path in tables:
        record = read_all_curves([path])
        metric = METRICS[record.experiment.search.metric.name]
        curves = pairs_of(record, turned=metric.score)
        table = plain_table(
            *("rule", numbers("shortfall ± se"), numbers("overstatement ± se")),
            title=f"{path.name}: n = {len(curves)} pairs of seeds; {metric.name} in points",
        )
        before, now = (100 * judged(curves, stretch=n, seed=seed) for n in (1, STRETCH))
        rows = {
            "best epoch": before,
            "score": now,
            "difference": now - before,
        }
        for name, found in rows.items():
            errors = found[1:].std(axis=0, ddof=1)
            table.add_row(
                name, *(f"{m:.2f} ± {e:.2f}" for m, e in zip(found[0], errors, strict=True))
            )
        console.print(table)


def pairs_of(record: CurveTable, *, turned: Callable[[float], float]) -> Array:
    """The metric, turned so that higher is better: shape (configurations, 2 seeds, epochs)."""
    longest = max(curve.epochs for curve in record.curves)
    found: dict[str, list[list[float]]] = {}
    for curve in record.curves:
        if curve.epochs == longest:
            point = {name: value for name, value in curve.parameters.items() if name != SEED}
            values = curve.metrics[record.experiment.search.metric.name]
            found.setdefault(canonical(point), []).append([*map(turned, values)])
    return np.array([curves[:2] for curves in found.values() if len(curves) > 1])


def judged(curves: Array, *, stretch: int, seed: int) -> Array:
    """[shortfall, overstatement] of the record, and below it of each bootstrap."""
    rng = np.random.default_rng(seed)
    scores = np.array([[_score(values, stretch) for values in pair] for pair in curves.tolist()])
    truths = curves[:, :, -LAST:].mean(axis=2)
    everyone = np.arange(len(curves))
    again = [rng.choice(everyone, len(everyone)) for _ in range(BOOTSTRAPS)]
    return np.array([_mean(scores, truths, of, rng=rng) for of in (everyone, *again)])


def _score(values: list[float], stretch: int) -> float:
    score = score_of(values, planned=len(values), stretch=stretch)
    return -np.inf if score is None else score.value


def _mean(
    scores: Array, truths: Array, of: NDArray[np.int64], *, rng: np.random.Generator
) -> Array:
    """[shortfall, overstatement] in the mean of the repetitions."""
    found = []
    for _ in range(REPETITIONS):
        half = rng.permutation(of)[: len(of) // 2]
        seen = rng.integers(2, size=len(half))
        score, truth = scores[half, seen], truths[half, 1 - seen]
        chosen = score.argmax()
        found.append([truth.max() - truth[chosen], score[chosen] - truth[chosen]])
    means: Array = np.mean(found, axis=0)
    return means


if __name__ == "__main__":
    typer.run(main)
