"""All parts of the benchmark, one after the other: a table, and one file of all figures.

    python -m tests.benchmarks --data ~/photos --out runs/benchmark

`make benchmark DATA=...` does it, with 1,500 of the photographs, so that it takes half an hour on
two cores however many there are. Each part is a process of its own and can be run by itself. On a
machine with a GPU the epoch and the frozen ResNet are measured there at the sizes that GPUs are
for, and trials share the GPU by fractions.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from inat_ray.data.walk import images_below
from tests.benchmarks.comparison import Data, Figure, Part, conditions, part_from, table_of
from tests.benchmarks.copies import selected

RESNET = "experiments/resnet50_freeze.yaml"
PHOTOGRAPHS = {
    "pack": ["pack"],
    "epoch": ["epoch"],
    "sweep": ["sweep"],
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
    data: Data,
    out: Annotated[Path, typer.Option(metavar="FOLDER")] = Path("runs/benchmark"),
    only: Annotated[str, typer.Option(help="Parts whose name has this in it.")] = "",
    photographs: Annotated[int, typer.Option(help="Of the data, at most.")] = 1_500,
) -> None:
    if sys.platform != "linux":
        raise typer.BadParameter("memory is read, and other tools run, on Linux alone")
    folder = selected(Path(data).expanduser(), most=photographs)
    given = ["--data", str(folder)]
    lines = {name: [*line, *given] for name, line in PHOTOGRAPHS.items()}
    if torch.cuda.is_available():
        lines |= {name: [*line, *given] for name, line in ON_A_GPU.items()}
    chosen = {name: line for name, line in lines.items() if only in name}
    if not chosen:
        raise typer.BadParameter(f"--only {only}: no part; there are {', '.join(lines)}")
    console, begin = Console(stderr=True), time.perf_counter()
    parts, failed = [], []
    for name, line in chosen.items():
        console.rule(f"{name}, after {(time.perf_counter() - begin) / 60:.1f} minutes")
        try:
            parts.append(run(name, line, folder=out))
        except subprocess.CalledProcessError:  # it has said why; the others are worth having
            failed.append(name)
    minutes = (time.perf_counter() - begin) / 60
    count = sum(1 for _ in images_below(folder))
    tree = summary(parts) | {"minutes": round(minutes, 1), "photographs": count}
    path = out / ("some_parts.json" if only or failed else "benchmark.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree, indent=1) + "\n")
    Console().print(table_of(parts))
    console.print(f"{minutes:.1f} minutes; all of it: {path}")
    if failed:
        console.print(f"failed: {', '.join(failed)}")
        raise typer.Exit(1)


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
