"""A model as tables: its result, which part of it is trained, and its scores by class."""

from collections.abc import Callable, Iterator

from rich import box
from rich.markup import escape
from rich.table import Column, Table

from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.model import FreezableConfig
from inat_ray.data.names import shown_name
from inat_ray.data.split import Split
from inat_ray.log.records import JSON
from inat_ray.models.build import hollow_model, network_name, structure_of
from inat_ray.models.complexity import complexity_of
from inat_ray.models.cut import Cut, bytes_of
from inat_ray.run.result import Result
from inat_ray.terminal.tables import folded, numbers, plain_table
from inat_ray.terminal.words import (
    counted,
    counts_text,
    interval_text,
    looks_text,
    metric_text,
    parameters_text,
    percent,
    seeds_text,
    value_text,
)
from inat_ray.training.features import cut_of, kept_views, pays, views_in_all
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import Assessment, confusions, hardest_first

SHOWN_CLASSES, SHOWN_CONFUSIONS = 20, 5

SHARES = ("accuracy", "_ece", "_precision", "_recall", "_f1")
"""Endings of the names of those numbers of a result that are shares of images."""


def result_table(result: Result) -> Table:
    """Returns a result's numbers, a line each; of the nested parts only the search is shown."""
    columns = Column(no_wrap=True, style="dim"), Column()
    table = Table(*columns, title="result", show_header=False, box=box.SIMPLE)
    table.title_justify = "left"
    for name, text in _result_rows(result):
        table.add_row(name, text)
    return table


def freeze_table(experiment: Experiment, split: Split, *, classes: int) -> Table:
    """Returns the layers, parameters, and multiply-accumulates that are trained and frozen."""
    model = experiment.model
    assert isinstance(model, FreezableConfig)
    network = hollow_model(experiment, classes=classes)
    structure = structure_of(network, experiment, classes=classes, count_macs=True)
    size = complexity_of(network, structure, experiment)
    columns = (Column(title, justify="right") for title in ("trained", "frozen", "share trained"))
    table = plain_table(
        Column(), *columns, title=f"{network_name(model)}: {_freeze_text(model)}", gap=2
    )
    for name, trained, total in (
        ("layers", size.trained_layers, size.layers),
        ("parameters", size.trainable_parameters, size.parameters),
        ("MACs with a backward pass", size.backward_macs, size.macs),
    ):
        table.add_row(name, f"{trained:,}", f"{total - trained:,}", percent(trained / total))
    views = views_in_all(experiment, split)
    table.caption = _features_text(
        experiment, cut_of(network, experiment, structure, views=views), views=views
    )
    return table


def _features_text(experiment: Experiment, cut: Cut | None, *, views: int) -> str | None:
    """Says whether features are kept, and how large they are; None if they cannot be."""
    if cut is None:
        return None
    size = f"{bytes_of(cut.shape) * views / 1e6:,.0f} MB"
    if not pays(cut, views=views):
        return f"features would take {size}: not cached"
    each = counted(len(kept_views(experiment)["train"]), "view")
    return f"the frozen part runs once, for {each} of each training image: {size}"


def class_table(assessment: Assessment, *, most: int = SHOWN_CLASSES) -> Table:
    """Returns precision, recall, and F1 of the classes, the lowest F1 first."""
    hardest = hardest_first(assessment.classes)
    columns = map(numbers, ("images", "precision", "recall", "F1"))
    table = plain_table(folded("class"), *columns, title="classes")
    for scores in hardest[:most]:
        shares = (scores.precision, scores.recall, scores.f1)
        texts = ("-" if share is None else percent(share) for share in shares)
        table.add_row(escape(shown_name(scores.name)), f"{scores.images:,}", *texts)
    if (more := len(hardest) - most) > 0:
        table.caption = f"and {more} more in result.json"
    return table


def confusions_table(predictions: Predictions, *, most: int = SHOWN_CONFUSIONS) -> Table:
    """Returns the most frequent mistakes: the true class and the predicted one."""
    columns = (folded("truth"), folded("predicted"), numbers("images"), numbers("share"))
    table = plain_table(*columns, title="most often confused")
    for pair in confusions(predictions)[:most]:
        names = (shown_name(pair.truth), shown_name(pair.prediction))
        table.add_row(*map(escape, names), f"{pair.images:,}", percent(pair.share))
    return table


def _freeze_text(model: FreezableConfig) -> str:
    settings = model.freeze.model_dump(exclude_none=True)
    strategy = settings.pop("strategy")
    details = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"freeze {strategy}" + (f" ({details})" if details else "")


def _result_rows(result: Result) -> Iterator[tuple[str, str]]:
    for key, value in result.items():
        if key == "search":
            yield from _search_rows(value)
        elif key.endswith("_interval"):
            yield key, interval_text(value)
        elif key == "test_looks":
            yield key, looks_text(value)
        elif not isinstance(value, dict | list):
            kept = "search" in result and key.startswith("val_")
            yield f"kept model: {key}" if kept else key, _shown(key, value)


def _search_rows(search: Result) -> Iterator[tuple[str, str]]:
    texts: dict[str, Callable[..., str]] = {"parameters": parameters_text, "trials": counts_text}
    texts["score"] = lambda value: (
        f"{metric_text(metric, value)}, optimistic: the best of all trials"
    )
    metric = next((key for key in search if key in METRICS), "")
    for key, value in search.items():
        if isinstance(value, list):
            continue  # the study has a table of its own
        whose = "best trial" if key in ("score", metric) else "search"
        yield f"{whose}: {key}", texts[key](value) if key in texts else _shown(key, value)
    for sure in search.get("confirmed", [])[:1]:
        text = seeds_text(metric, mean=sure["mean"], sd=sure["sd"], n=sure["n"])
        yield "confirmed: score", text


def _shown(key: str, value: JSON) -> str:
    if isinstance(value, float) and key.endswith(SHARES):
        return percent(value)
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value_text(value)
