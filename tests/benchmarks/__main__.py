"""The parts of the benchmark, one after the other: a table, and one file of all figures.

    python -m tests.benchmarks --data ~/photos --out runs/benchmark
    python -m tests.benchmarks --data ~/photos --part epoch
    python -m tests.benchmarks --short

`make benchmark DATA=... [PART=...]` does it, with 1,500 of the photographs, so that no part takes
more than six minutes on two cores however many there are. Each is a process of its own, and what it
found is kept at once. On a machine with a GPU the epoch and the frozen ResNet are measured there at
the sizes that GPUs are for, and trials share the GPU by fractions. `--short` takes a small turn of
every part, on pictures that are drawn, to prove that it runs.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from inat_ray.data.walk import images_below
from tests.benchmarks.comparison import Figure, Part, conditions, part_from, table_of
from tests.benchmarks.copies import selected
from tests.benchmarks.driver import draw_pictures

RESNET = "experiments/resnet50_freeze.yaml"
PARTS = {
    "start": ["start"],
    "pack": ["pack"],
    "epoch": ["epoch"],
    "epoch, 800 x 600": ["epoch", "--large", "--rounds", "3"],
    "sweep": ["sweep"],
    "sweep, other tools": ["sweep", "--others"],
    "freeze": ["freeze"],
    "workers": ["workers"],
}
"""Part -> module and options, besides --data and --out."""

ON_A_GPU = {
    "epoch, CNN, 128 px": ["epoch", "--set", "data.image_size=128"],
    "epoch, CNN, 224 px": ["epoch", "--set", "data.image_size=224"],
    **{
        f"epoch, ResNet50, {size} px": [
            *("epoch", "--study", RESNET, "--set", f"data.image_size={size}"),
            *("--set", "model.weights=none", "--set", "search.parameters={}"),
        ]
        for size in (128, 224)
    },
    "freeze, 224 px": ["freeze", "--set", "data.image_size=224"],
    "trials that share a GPU": ["sharing"],
}


def main(
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Photographs with train/ and val/.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER")] = Path("runs/benchmark"),
    part: Annotated[str, typer.Option(help="Parts whose name begins with this.")] = "",
    photographs: Annotated[int, typer.Option(help="Of the data, at most.")] = 1_500,
    short: Annotated[
        bool, typer.Option("--short", help="A small turn of each, to try it.")
    ] = False,
) -> None:
    if sys.platform != "linux":
        raise typer.BadParameter("memory is read, and other tools run, on Linux alone")
    if data is None and not short:
        raise typer.BadParameter("--data: is needed")
    lines = PARTS | (ON_A_GPU if torch.cuda.is_available() else {})
    chosen = {name: line for name, line in lines.items() if name.startswith(part)}
    if not chosen:
        raise typer.BadParameter(f"--part {part}: there are {'; '.join(lines)}")
    with ExitStack() as stack:
        if data is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inat_ray-drawn-")))
            for seed, role in enumerate(("train", "val")):
                draw_pictures(data / role, seed=seed)
        folder = selected(data.expanduser(), most=photographs)
        options = ["--data", str(folder), *(["--short"] if short else [])]
        failed = _run_all(chosen, options, folder=folder, out=out, whole=chosen == lines)
    if failed:
        raise typer.Exit(1)


def _run_all(
    chosen: Mapping[str, Sequence[str]],
    options: Sequence[str],
    *,
    folder: Path,
    out: Path,
    whole: bool,
) -> list[str]:
    """Runs the parts, writes all figures after each, and returns the names of those that failed."""
    console, begin = Console(stderr=True), time.perf_counter()
    count = sum(1 for _ in images_below(folder))
    parts, failed = [], []
    for name, line in chosen.items():
        console.rule(f"{name}, after {(time.perf_counter() - begin) / 60:.1f} minutes")
        try:
            parts.append(run(name, [*line, *options], folder=out))
        except subprocess.CalledProcessError:  # it has said why; the others are worth having
            failed.append(name)
            continue
        minutes = (time.perf_counter() - begin) / 60
        tree = summary(parts) | {"minutes": round(minutes, 1), "photographs": count}
        done = whole and len(parts) == len(chosen)
        path = out / ("benchmark.json" if done else "some_parts.json")
        path.write_text(json.dumps(tree, indent=1) + "\n")
        console.print(f"{minutes:.1f} minutes; all of it: {path}")
    Console().print(table_of(parts))
    for each in parts:
        for title in each.left_out:
            console.print(f"left out of {each.name}: {title}, which is not installed")
    if failed:
        console.print(f"failed: {', '.join(failed)}")
    return failed


def run(name: str, line: Sequence[str], *, folder: Path) -> Part:
    """A part in a process of its own, under its name. Raises CalledProcessError."""
    path = folder / "parts" / f"{name.replace(', ', '_').replace(' ', '_')}.json"
    module, *options = line
    python = [sys.executable, "-m", f"tests.benchmarks.{module}"]
    subprocess.run([*python, *options, "--out", str(path)], check=True)
    part = part_from(json.loads(path.read_text()))
    part.name = name
    return part


def summary(parts: Sequence[Part]) -> dict[str, Any]:
    """The ratios of the parts by name, with n and spread; then everything."""
    ratios: dict[str, Any] = {}
    for part in parts:
        prefix = f"{part.name}: " if part.name in ON_A_GPU else ""
        for name, figure in part.ratios.items():
            ratios |= flat(prefix + name, figure)
    details = {part.name: details_of(part.ratios | part.figures) for part in parts}
    return {**ratios, "conditions": conditions(), "parts": details}


def flat(name: str, figure: Figure) -> dict[str, Any]:
    """NAME: the median; NAME_n and NAME_spread, [smallest, largest], beside it."""
    spread = [round(each, 4) for each in figure.spread]
    return {name: round(figure.median, 4), f"{name}_n": figure.n, f"{name}_spread": spread}


def details_of(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {
        name: {"values": [round(each, 6) for each in figure.values], "unit": figure.unit,
               "digits": figure.digits}
        for name, figure in figures.items()
    }  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
