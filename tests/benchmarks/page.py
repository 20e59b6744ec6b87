"""The measured parts of docs/benchmarks.md, written from what the benchmarks found.

    python -m tests.benchmarks.page runs/benchmark/benchmark.json
    python -m tests.benchmarks.page runs/search.json

The files are kept beside this one, so that a test can hold the page to them.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from tests.benchmarks import search_page
from tests.benchmarks.comparison import Figure

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
MEASURED = Path(__file__).with_name("measured.json")
SEARCHED = Path(__file__).with_name("searched.json")

RATIOS = {
    "epoch_over_bound": "training, of its bound: the same steps on batches in memory",
    "epoch_over_plain": "training, over a plain PyTorch script (ImageFolder, DataLoader)",
    "epoch_over_plain_800x600": "the same, photographs of 800 x 600",
    "epoch_over_tuned_plain": "over that script with channels_last, fused AdamW, kept memory",
    "epoch_over_tuned_plain_800x600": "the same, photographs of 800 x 600",
    "epoch_over_bound_800x600": "training, of its bound, photographs of 800 x 600",
    "epoch_over_lightning": "training, over Lightning with that loader",
    "epoch_over_dali": "training, over the tuned script with NVIDIA DALI's loader",
    "epoch_over_dali_800x600": "the same, photographs of 800 x 600",
    "sweep_over_bound": "a search of 8 trials of four epochs, of its bound: their epochs alone",
    "sweep_over_stock_tune": "a trial of an epoch as a script in Ray Tune (of 4), over ours (24)",
    "sweep_over_nested_trainer": "the same script in a TorchTrainer nested in Tune (of 2)",
    "sweep_over_optuna": "the same script in an Optuna study in one process (of 4)",
    "pack_over_decode": "building the pack, of decoding alone on all cores, 800 x 600",
    "pack_over_decode_as_given": "the same, the photographs as they are",
    "frozen80_step_ratio": "a step of ResNet50 with 80 % frozen, of one with nothing frozen",
    "cached_head_speedup": "a step of head_only, over one on cached features",
    "two_workers_ratio": "training on two workers, over one (a thread each)",
    "two_workers_over_torchrun": "two workers, over these steps under torchrun, batches in memory",
}
"""In the order of the table."""


def section(tree: Mapping[str, Any]) -> str:
    """Markdown: conditions, ratios, and all figures behind them."""
    return "\n".join([*_conditions(tree), "", *_ratios(tree), "", *_figures(tree)]) + "\n"


def _conditions(tree: Mapping[str, Any]) -> Iterator[str]:
    found = tree["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    gpus = ", ".join(found.get("gpus", [])) or "no GPU"
    yield (
        f"Measured by `make benchmark` in {tree['minutes']:.0f} minutes on {found['date']}, with"
        f" {tree['photographs']:,} of these photographs: {found['processor']}, {found['cores']}"
        f" cores, {gpus}; Python {found['python']}, {versions}. Medians; each comparison took turns"
        " in one run."
    )


def _ratios(tree: Mapping[str, Any]) -> Iterator[str]:
    yield "| ratio | median | smallest - largest | n |"
    yield "|---|---|---|---|"
    measured = [name for name in tree if f"{name}_spread" in tree]
    for name in sorted(measured, key=[*RATIOS, *measured].index):
        meaning = RATIOS.get(name, name)  # those of a GPU have names of their own
        low, high = tree[f"{name}_spread"]
        spread, n = f"{_short(low)} - {_short(high)}", tree[f"{name}_n"]
        yield f"| {meaning} | **{_short(tree[name])}** | {spread} | {n} |"


def _short(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _figures(tree: Mapping[str, Any]) -> Iterator[str]:
    yield "<details><summary>What the ratios are made of</summary>"
    yield ""
    yield "| | | median | smallest - largest | n |"
    yield "|---|---|---|---|---|"
    for part, figures in tree["parts"].items():
        shown = {name: figure for name, figure in figures.items() if figure["unit"]}
        for number, (name, about) in enumerate(shown.items()):
            figure = Figure(**about)
            title = "" if number else part
            yield f"| {title} | {name} | {figure} | {figure.between} | {figure.n} |"
    yield ""
    yield "</details>"


def replaced(page: str, new: str, *, name: str) -> str:
    """The page with the section between the marks of this name replaced."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    assert page.count(begin) == page.count(end) == 1
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{new}{end}{after}"


def main(measured: Path) -> None:
    tree = json.loads(measured.read_text())
    is_search = "tables" in tree
    kept = SEARCHED if is_search else MEASURED
    text = search_page.section(tree) if is_search else section(tree)
    PAGE.write_text(replaced(PAGE.read_text(), text, name=kept.stem))
    if measured.resolve() != kept:
        shutil.copy(measured, kept)


if __name__ == "__main__":
    typer.run(main)
