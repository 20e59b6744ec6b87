"""What the parts of the benchmark share: ways that take turns, and figures with n and spread."""

import json
import multiprocessing
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import InitVar, asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from rich.console import Console
from rich.table import Table

from inat_ray.training.machine import machine

Data = Annotated[
    str,
    typer.Option(
        metavar="FOLDER",
        help="Photographs with train/ and val/.",
        # Absolute, for commands that run in another folder.
        callback=lambda folder: str(Path(folder).expanduser().absolute()),
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As in `train`.")
]
Rounds = Annotated[int, typer.Option(metavar="N", help="How often every way takes its turn.")]
Short = Annotated[bool, typer.Option("--short", help="A small turn: proves that it runs.")]

TINY = [
    *("data.image_size=32", "model.filters=[4,4,8,8,8]", "model.dense=8"),
    *("recipe.batch_size=8", "recipe.epochs=1"),
]
"""Settings of a small turn."""

PACKAGES = ["torch", "torchvision", "ray", "lightning", "nvidia-dali-cuda130", "optuna"]

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """Measurements of one thing in one run of the benchmark."""

    values: Sequence[float]
    unit: str = ""
    digits: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    def __str__(self) -> str:
        return f"{self.median:,.{self.digits}f}{self.unit and ' '}{self.unit}"

    @property
    def between(self) -> str:
        low, high = self.spread
        return f"{low:,.{self.digits}f} - {high:,.{self.digits}f}"


@dataclass
class Part:
    """What one part found: ratios and what they are made of.

    With `out`, each figure is in that file as soon as it is found: a run that is killed keeps them.
    """

    name: str
    ratios: dict[str, Figure] = field(default_factory=dict)
    figures: dict[str, Figure] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """What was not measured, for want of a package."""
    out: InitVar[Path | None] = None

    def __post_init__(self, out: Path | None) -> None:
        self._out = out

    def add(self, name: str, values: Sequence[float], *, unit: str, digits: int = 0) -> None:
        self.figures[name] = Figure(list(values), unit, digits)
        self._write()

    def installed(self, package: str, *, title: str) -> bool:
        """Whether a package is there; what needs it is told to be left out where it is not."""
        try:
            found = find_spec(package) is not None
        except ModuleNotFoundError:  # not even the package around it
            found = False
        if not found:
            self.left_out.append(title)
            Console(stderr=True).print(f"left out: {title}: {package} is not installed")
        return found

    def compare(self, name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
        """Adds the ratio ours / theirs, round by round."""
        pairs = zip(ours, theirs, strict=True)
        self.ratios[name] = Figure([our / their for our, their in pairs], digits=3)
        self._write()

    def tell(self) -> None:
        """A table for whoever looks on, and JSON as the last line where there is no file."""
        Console(stderr=True).print(table_of([self]))
        if self._out is None:
            sys.stdout.write(json.dumps(asdict(self)) + "\n")
        self._write()

    def _write(self) -> None:
        if self._out is not None:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self._out.write_text(json.dumps(asdict(self)))


def part_from(tree: Mapping[str, Any]) -> Part:
    """The part that `asdict` made `tree` of."""
    kinds = {
        kind: {name: Figure(**figure) for name, figure in tree[kind].items()}
        for kind in ("ratios", "figures")
    }
    return Part(tree["name"], **kinds, left_out=tree.get("left_out", []))


def table_of(parts: Sequence[Part]) -> Table:
    """Figures first, the ratios that they give below them."""
    table = Table("", "what", "median", "smallest - largest", "n")
    for part in parts:
        for number, (name, figure) in enumerate((part.figures | part.ratios).items()):
            style = "bold" if name in part.ratios else None
            cells = [name, str(figure), figure.between, str(figure.n)]
            table.add_row("" if number else part.name, *cells, style=style)
        table.add_section()
    return table


def alternate(
    ways: Mapping[str, Callable[[int], float]],
    *,
    rounds: int,
    warm_up: int = 1,
    keep: Callable[[str, list[float]], None] = lambda _name, _values: None,
) -> dict[str, list[float]]:
    """What each way measured, round by round; every way once a round, in turn.

    The rounds of the warm-up come first and are not told. A way gets the number of its round.
    `keep` gets what a way has measured so far, after each of its turns.
    """
    measured: dict[str, list[float]] = {name: [] for name in ways}
    console = Console(stderr=True)
    for number in range(warm_up + rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            value = way(number)
            console.out(f"{name}: {value:,.3g}, {time.perf_counter() - begin:.1f} s")
            if number >= warm_up:
                measured[name].append(value)
                keep(name, measured[name])
    return measured


def in_own_process(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What a new process returns, so that memory is of this call alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


def peak_memory_mb(device: torch.device) -> float:
    """Most memory that this process had: of the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if platform.system() == "Darwin" else 2**10)


def conditions(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """When, where and with what it is measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        **machine(),
        "python": platform.python_version(),
        "versions": {name: found for name in packages if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
