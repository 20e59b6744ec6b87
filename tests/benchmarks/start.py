"""Seconds from a command to its first word, its first record and its first epoch.

    python -m tests.benchmarks.start --data ~/photos
    python -m tests.benchmarks.start --data ~/photos --beside ../before

`train` and `sweep` of a tiny network on some of the photographs, in turn; their pack is built in a
turn that does not count. What is measured is all that a trial does not need: Python, imports, Ray,
the processes of the trials. Once an epoch is in the log, the command is ended as by Ctrl-C. Another
checkout of inat_ray, `--beside` this one, takes turns with it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated

import typer

from tests.benchmarks.comparison import Data, Part, Rounds, Settings, Short

HERE = Path(__file__).parents[2]

TINY = [
    *("data.image_size=32", "data.share=0.1", "model.filters=[4,4,8,8,8]", "model.dense=8"),
    *("recipe.epochs=1", "resources.gpus_per_worker=0"),
]

COMMANDS = {
    "train": ["train", "experiments/cnn_best.yaml"],
    "sweep": ["sweep", "experiments/cnn_bayes.yaml", "--trials", "4"],
}

MARKS = {"first record": b'"kind":"run_started"', "first epoch": b'"kind":"epoch_ended"'}

SECONDS_TO_START = 120.0


def started(command: str, *, data: str, settings: list[str], tree: Path) -> dict[str, float]:
    """Seconds from the start of a command of a checkout to each of the things that are timed."""
    options = [part for each in settings for part in ("--set", each)]
    with tempfile.TemporaryDirectory(prefix="inat_ray-start-") as scratch:
        run = Path(scratch) / "run"
        name, *arguments = COMMANDS[command]
        line = [sys.executable, "-m", f"inat_ray.{name}", *arguments, "--data", data, *options]
        begin = time.time()
        with (Path(scratch) / "said").open("w+b", buffering=0) as said:
            process = subprocess.Popen(
                [*line, "--out", str(run)],
                cwd=tree,
                env=os.environ | {"PYTHONPATH": str(tree)},
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
            try:
                return _watched(process, run / "log" / "events.jsonl", said, begin=begin)
            finally:
                _end(process)


def _watched(
    process: "subprocess.Popen[bytes]", log: Path, said: IO[bytes], *, begin: float
) -> dict[str, float]:
    found: dict[str, float] = {}
    while "first epoch" not in found:
        if "first word" not in found and os.fstat(said.fileno()).st_size:
            found["first word"] = time.time() - begin
        for line in log.read_bytes().splitlines() if log.exists() else ():
            for name, mark in MARKS.items():
                if name not in found and mark in line:
                    found[name] = json.loads(line)["time"] - begin
        late = time.time() - begin > SECONDS_TO_START
        if "first epoch" not in found and (late or process.poll() is not None):
            said.seek(0)
            raise RuntimeError(f"no epoch came: {said.read()[-2000:].decode()}")
        time.sleep(0.01)
    return found


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)  # SIGINT is ignored below a shell's `&`
    process.wait(60)


def main(
    data: Data,
    rounds: Rounds = 5,
    beside: Annotated[Path | None, typer.Option(help="Another checkout, in turn.")] = None,
    settings: Settings = None,
    short: Short = False,
    out: Path | None = None,
) -> None:
    rounds = 1 if short else rounds
    trees = {"": HERE} | ({", before": beside.resolve()} if beside else {})
    told: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="inat_ray-benchmark-") as cache:
        given = [f"data.cache={cache}", *TINY, *(settings or [])]
        for number in range(1 if short else 0, rounds + 1):  # short: the pack is built in it
            for command in COMMANDS:
                for suffix, tree in trees.items():
                    times = started(command, data=data, settings=given, tree=tree)
                    print(f"{command}{suffix}:", _shown(times), file=sys.stderr, flush=True)
                    for name, seconds in times.items() if number else ():
                        told[command + suffix][name].append(seconds)
    part = Part("start", out=out)
    for command, times in told.items():
        for name in ("first word", *MARKS):
            part.add(f"{command}: {name}", times[name], unit="s", digits=2)
    for command in COMMANDS if beside else ():
        for name in ("first word", "first epoch"):
            ours, theirs = told[command][name], told[f"{command}, before"][name]
            part.compare(f"{command}_{name.replace(' ', '_')}_over_before", ours, theirs)
    part.tell()


def _shown(times: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in times.items())


if __name__ == "__main__":
    typer.run(main)
