"""A model as tables: its result, which part of it is trained, and its scores by class."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group
from rich.markup import escape
from rich.table import Column, Table

from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.model import FreezableConfig
from inat_ray.data.names import shown_name
from inat_ray.data.split import Split
from inat_ray.log.history import History
from inat_ray.models.build import hollow_model, network_name, structure_of
from inat_ray.models.complexity import complexity_of
from inat_ray.models.cut import Cut, bytes_of
from inat_ray.run.result import Result
from inat_ray.run.result_content import PREFIXES
from inat_ray.search.winner import over_seeds, searched_winner
from inat_ray.terminal.run_texts import score_label, score_value_text
from inat_ray.terminal.tables import folded, numbers, plain_table
from inat_ray.terminal.words import (
    amount_text,
    counted,
    duration,
    interval_text,
    looks_text,
    metric_text,
    parameters_text,
    percent,
    spread_text,
)
from inat_ray.training.features import cut_of, kept_views, pays, views_in_all
from inat_ray.training.predictions import Predictions
from inat_ray.training.scores import Assessment, confusions, hardest_first

SHOWN_CLASSES, SHOWN_CONFUSIONS = 20, 5


def result_table(result: Result, history: History | None = None) -> Group:
    """Returns the numbers that count, each with its worth, and below them what they belong to.

    `history`: of the run, where the result is that of a search or of a training.
    """
    return Group(
        "",
        _grid(_numbers(result, history), styles=("", "bold", "dim")),
        "",
        _grid(_facts(result, history), styles=("dim", "")),
        "",
    )


def _grid(rows: Iterable[tuple[str, ...]], *, styles: Sequence[str]) -> Table:
    *short, last = (Column(style=style) for style in styles)
    for column in short:
        column.no_wrap = True
    grid = Table.grid(*short, last, padding=(0, 2, 0, 0))
    for row in rows:
        grid.add_row(*map(escape, row))
    return grid


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


def class_table(assessment: Assessment) -> Table:
    """Returns precision, recall, and F1 of the classes, the lowest F1 first."""
    hardest = hardest_first(assessment.classes)
    columns = map(numbers, ("images", "precision", "recall", "F1"))
    table = plain_table(folded("class"), *columns, title="classes")
    for scores in hardest[:SHOWN_CLASSES]:
        shares = (scores.precision, scores.recall, scores.f1)
        texts = ("-" if share is None else percent(share) for share in shares)
        table.add_row(escape(shown_name(scores.name)), f"{scores.images:,}", *texts)
    if (more := len(hardest) - SHOWN_CLASSES) > 0:
        table.caption = f"and {more} more in result.json"
    return table


def confusions_table(predictions: Predictions) -> Table:
    """Returns the most frequent mistakes: the true class and the predicted one."""
    columns = (folded("truth"), folded("predicted"), numbers("images"), numbers("share"))
    table = plain_table(*columns, title="most often confused")
    for pair in confusions(predictions)[:SHOWN_CONFUSIONS]:
        names = (shown_name(pair.truth), shown_name(pair.prediction))
        table.add_row(*map(escape, names), f"{pair.images:,}", percent(pair.share))
    return table


def _freeze_text(model: FreezableConfig) -> str:
    settings = model.freeze.model_dump(exclude_none=True)
    strategy = settings.pop("strategy")
    details = ", ".join(f"{name} {value}" for name, value in settings.items())
    return f"freeze {strategy}" + (f" ({details})" if details else "")


def _numbers(result: Result, history: History | None) -> Iterator[tuple[str, str, str]]:
    """Yields each number that counts: its name, its value, and what it is worth."""
    if history is not None and not history.is_training:
        yield from _search_numbers(history)
    elif history is not None:
        worth = f"after epoch {result['best_epoch']} of {result['epochs']}"
        worth += ", the last" if history.numbered[0].keeps_last else ", the best, so optimistic"
        yield "validation accuracy", percent(result["val_accuracy"]), worth
    for subset, prefix in PREFIXES.items():
        if (ends := result.get(f"{prefix}_accuracy_interval")) is not None:
            images = counted(result[f"{prefix}_images"], "image")
            worth = f"{interval_text(ends)} (95 % interval), {images}"
            yield f"{subset} accuracy", percent(result[f"{prefix}_accuracy"]), worth


def _search_numbers(history: History) -> Iterator[tuple[str, str, str]]:
    """Yields what the best trial has, and what is left of that with other seeds."""
    metric, best, sure = history.run.metric, history.leader, over_seeds(history)
    assert best is not None
    text = score_value_text(history, best)
    assert text is not None
    trials = counted(len(history.searched), "trial")
    worth = f"{best.trial_id}, the best of {trials}, so optimistic"
    if text.startswith("("):  # no trial has a whole stretch of epochs
        worth = f"{best.trial_id}, the luckiest epoch of {trials}"
    yield f"best {score_label(history)}", text, worth
    if history.picked is None and sure is not None and sure.sd is not None:
        winner = searched_winner(history) or best
        worth = f"mean ± sd of {winner.trial_id}'s configuration"
        yield f"over {counted(sure.n, 'seed')}", spread_text(metric, sure.mean, sure.sd), worth


def _facts(result: Result, history: History | None) -> Iterator[tuple[str, str]]:
    """Yields what the numbers belong to: the configuration, the model, its other metrics."""
    search = None if history is None or history.is_training else history
    if search and (chosen := search.picked or searched_winner(search)) is not None:
        name = "winner" if search.picked is None else "picked"
        yield name, f"{chosen.trial_id}: {parameters_text(chosen.parameters)}"
    trained = result.get("trainable_parameters") or result["parameters"]
    size = size_text(result["parameters"], result["macs"], trained=trained)
    yield "kept model" if search else "model", size
    for subset, prefix in PREFIXES.items():
        leads = not (search and prefix == "val")
        if text := _other_metrics_text(result, prefix, leads=leads):
            yield f"on {subset}", text
    if temperature := calibration_text(result):
        # A training's own numbers are those of its epochs, from before it was fitted.
        without = "" if history is None else "; loss and ECE on validation are without it"
        yield "calibrated", temperature + without
    if search and (before := result.get("search", {}).get("images")):
        images = result["data"]["images"]
        moved = f"{images['train'] - before['train']:,} of which validated in the search"
        left = f"{images['validation']:,} still validated"
        yield "trained on", f"{images['train']:,} images, {moved}; {left}"
    if (looks := result.get("test_looks", 1)) > 1:
        yield "looks at test", looks_text(looks)
    if history is not None:
        saved = history.epochs_saved
        text = f"{duration(history.seconds)}, {counted(history.epochs_trained, 'epoch')}"
        yield "took", text + (f"; {saved:,} saved by stopping early" if saved else "")


def calibration_text(result: Result) -> str:
    """Returns 'by temperature 0.44, fitted on validation'; '' if nothing was calibrated."""
    found = [each for each in result.get("temperatures", ()) if each != 1]
    if not found:
        return ""
    word = "temperature" if len(found) == 1 else "temperatures"
    return f"by {word} {', '.join(f'{each:.2f}' for each in found)}, fitted on validation"


def size_text(parameters: int, macs: int, *, trained: int) -> str:
    """Returns '4.14 M parameters, 2.71 M trained; 40.9 M MACs an image'."""
    part = f", {amount_text(trained)} trained" if trained < parameters else ""
    return f"{amount_text(parameters)} parameters{part}; {amount_text(macs)} MACs an image"


def _other_metrics_text(result: Result, prefix: str, *, leads: bool) -> str:
    """Returns 'loss 1.142, ECE 18.6 %': a subset's metrics without those that lead the result."""
    known = {
        metric: value
        for metric in METRICS
        if (value := result.get(metric.replace("val", prefix, 1))) is not None
    }
    if leads:
        known.pop("val_accuracy", None)
    return ", ".join(
        f"{METRICS[metric].label.removeprefix('val ')} {metric_text(metric, value)}"
        for metric, value in known.items()
    )
