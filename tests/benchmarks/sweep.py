"""Wall clock of a sweep: ours, its bound, and the same trials with other tools.

    python -m tests.benchmarks.sweep --data ~/photos
    python -m tests.benchmarks.sweep --data ~/photos --others

All on CPUs. The bound is what the trials' own epochs take, added up over the trials and divided
by those that run at once. The others are Ray Tune with function trainables and a DataLoader, a
TorchTrainer nested in each of Tune's trials, and an Optuna study in one process. Compared are the
seconds of a search over its trials, from the first that is begun to the end of the last; what a
tool does before (our pack is built by then) and after (the winner's training) is not in them. Our
search starts its processes once, so it has gained from its 12 trials a core what the others, which
take longer for each and run 2 a core or 1, would not gain. And a trial of ours trains as `Fit`
does, on the pack; one of theirs is a plain script with a DataLoader, as their documentation has it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import typer

from inat_ray.log.records import AnyRecord, EpochEnded, SearchEnded, TrialStarted
from inat_ray.log.run_log import read_records
from tests.benchmarks.comparison import TINY, Data, Part, Rounds, Settings, Short
from tests.benchmarks.rival_sweeps import DROPOUTS, LEARNING_RATES

SHORT = ["data.share=0.65", "recipe.epochs=1"]
"""About 5 s a trial on one core, with 1,200 photographs to train and validate on."""

LONG = ["data.share=1", "recipe.epochs=4"]
"""About 30 s."""

SEARCH = [
    "search.method=random",
    "search.early_stopping={kind: none}",
    "search.parameters={"
    f"recipe.lr: {{distribution: log_uniform_values, min: {LEARNING_RATES[0]},"
    f" max: {LEARNING_RATES[1]}}}, model.dropout: {{min: {DROPOUTS[0]}, max: {DROPOUTS[1]}}}}}",
]

RIVALS = {
    "stock": "sweep_over_stock_tune",
    "nested": "sweep_over_nested_trainer",
    "optuna": "sweep_over_optuna",
}
"""Tool -> the name of the ratio: how many times as long it takes for a trial."""


@dataclass(frozen=True)
class Sweep:
    """Seconds of a sweep."""

    trials: int
    start: float
    """Until the first trial is begun: ours with Python and its imports, theirs without."""
    search: float
    """From there to the end of the last, the start of the trials' processes within."""
    epochs: float = float("nan")
    """Of all trials, added up."""
    begun: float = float("nan")
    """When the first trial was, as time.time() tells."""

    @property
    def each(self) -> float:
        return self.search / self.trials

    @property
    def bound(self) -> float:
        """Of the search, where a trial has a core."""
        return self.epochs / min(self.trials, os.cpu_count() or 1)


def our_sweep(data: str, *, trials: int, settings: list[str]) -> Sweep:
    """`python -m inat_ray.sweep`, by what its log says."""
    with tempfile.TemporaryDirectory(prefix="inat_ray-benchmark-") as scratch:
        run = Path(scratch) / "run"
        line = ["inat_ray.sweep", "experiments/cnn_best.yaml", "--data", data, "--out", str(run)]
        begin = time.time()
        with (Path(scratch) / "said").open("w+") as said:
            sweep = subprocess.Popen(
                _command(line, trials=trials, settings=[*settings, *SEARCH]),
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            records = _until_searched(sweep, run / "log" / "events.jsonl", said)
    first = next(r.time for r in records if isinstance(r, TrialStarted))
    last = next(r.time for r in records if isinstance(r, SearchEnded))
    epochs = [r.seconds for r in records if isinstance(r, EpochEnded) and r.time <= last]
    return Sweep(trials, first - begin, search=last - first, epochs=sum(epochs), begun=first)


def _until_searched(sweep: subprocess.Popen[bytes], log: Path, said: IO[str]) -> list[AnyRecord]:
    """The log once the search is over; the winner's training after it is ended as by Ctrl-C."""
    while True:
        records = list(read_records(log)) if log.exists() else []
        if any(isinstance(record, SearchEnded) for record in records):
            sweep.send_signal(signal.SIGINT)
            try:
                sweep.wait(60)
            except subprocess.TimeoutExpired:  # SIGINT is ignored below a shell's `&`
                sweep.terminate()
                sweep.wait()
            return records
        if sweep.poll() is not None:
            said.seek(0)
            raise RuntimeError(f"the sweep ended with {sweep.returncode}: {said.read()[-2000:]}")
        time.sleep(1)


def their_sweep(tool: str, data: str, *, trials: int, settings: list[str]) -> Sweep:
    """A command of `rival_sweeps`, by its own clock."""
    line = ["tests.benchmarks.rival_sweeps", tool, "--data", data]
    told = json.loads(_python(line, trials=trials, settings=settings).splitlines()[-1])
    return Sweep(trials, **told)


def _python(line: list[str], *, trials: int, settings: list[str]) -> str:
    command = _command(line, trials=trials, settings=settings)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _command(line: list[str], *, trials: int, settings: list[str]) -> list[str]:
    options = [part for each in settings for part in ("--set", each)]
    return [sys.executable, "-m", *line, "--trials", str(trials), *options]


def main(
    data: Data,
    rounds: Rounds = 2,
    trials: Annotated[int, typer.Option(help="Short ones for a core.")] = 12,
    their_trials: Annotated[int, typer.Option(help="The same with other tools.")] = 2,
    nested_trials: Annotated[int, typer.Option(help="The same with nested trainers.")] = 1,
    long_trials: Annotated[int, typer.Option(help="Long ones for a core.")] = 4,
    others: Annotated[bool, typer.Option("--others", help="Other tools, not the bound.")] = False,
    settings: Settings = None,
    short: Short = False,
    out: Path | None = None,
) -> None:
    given = [
        *("data.image_size=64", "recipe.optimizer=adamw", "resources.gpus_per_worker=0"),
        *(settings or []),
    ]
    part, cores = Part("sweep", out=out), os.cpu_count() or 1
    counts = dict.fromkeys(RIVALS, cores * their_trials) | {"nested": cores * nested_trials}
    if short:
        rounds, cores, trials, long_trials = 1, 1, 2, 2
        counts = {"stock": 1, "optuna": 1}  # a nested trainer takes a minute to start
    small = TINY if short else []
    if others:
        settings = [*given, *SHORT, *small]
        _compare_with_others(
            part, data, counts, trials=cores * trials, settings=settings, rounds=rounds
        )
    else:
        settings = [*given, *LONG, *small]
        sweeps = [
            our_sweep(data, trials=cores * long_trials, settings=settings) for _ in range(rounds)
        ]
        _add_bound(part, sweeps, name="a long trial")
        part.compare("sweep_over_bound", [s.search for s in sweeps], [s.bound for s in sweeps])
    part.tell()


def _compare_with_others(
    part: Part,
    data: str,
    counts: dict[str, int],
    *,
    trials: int,
    settings: list[str],
    rounds: int,
) -> None:
    """Adds a trial of ours and of other tools; `counts`: how many trials each of these runs."""
    if "optuna" in counts and not part.installed("optuna", title="Optuna"):
        del counts["optuna"]
    told: dict[str, list[Sweep]] = defaultdict(list)
    for _ in range(rounds):
        told["ours"].append(our_sweep(data, trials=trials, settings=settings))
        for tool, count in counts.items():
            told[tool].append(their_sweep(tool, data, trials=count, settings=settings))
    _add_bound(part, told["ours"], name="a short trial")
    for tool, sweeps in told.items():
        part.add(f"{tool}: a short trial", [s.each for s in sweeps], unit="s", digits=2)
        part.add(f"{tool}: before the first", [s.start for s in sweeps], unit="s", digits=1)
    for tool in counts:
        part.compare(RIVALS[tool], [s.each for s in told[tool]], [s.each for s in told["ours"]])


def _add_bound(part: Part, sweeps: list[Sweep], *, name: str) -> None:
    """How long the epochs of a trial are, and what the search takes for them."""
    part.add(f"{name}: its epochs", [s.epochs / s.trials for s in sweeps], unit="s", digits=1)
    part.add(f"{name}: a sweep of {sweeps[0].trials}", [s.search for s in sweeps], unit="s")
    part.add(f"{name}: the sweep's bound", [s.bound for s in sweeps], unit="s")


if __name__ == "__main__":
    typer.run(main)
