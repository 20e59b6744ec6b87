"""The beginning of a report: what won, by how much, whether to believe it, and what it cost."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml
from markupsafe import Markup

from inat_ray.config.metrics import METRICS
from inat_ray.config.overrides import put
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import JSON, LookAtTest, in_words
from inat_ray.page.html import Section, facts, missing
from inat_ray.page.metrics import look_interval
from inat_ray.page.reported_run import ReportedRun
from inat_ray.search.study import Configuration, configurations
from inat_ray.search.winner import (
    chosen_trial,
    confirmed,
    final_training,
    over_seeds,
    searched_winner,
)
from inat_ray.terminal.run_texts import epochs_text, states_text
from inat_ray.terminal.search_tables import doubt
from inat_ray.terminal.words import (
    amount_text,
    counted,
    duration,
    gap_text,
    interval_text,
    looks_text,
    metric_text,
    percent,
    short_names,
    spread_text,
    value_text,
)

STEP = 0.05
"""The ends of the scale of shares are multiples of it."""

KEYS = {
    "seed": "a seed each",
    "range": "95 % interval",
    "point hollow": "one result, chosen for being the best",
    "other": "the other results",
}
"""What the marks of the tiles mean."""


@dataclass(frozen=True)
class Tile:
    """A result, with its place on a scale and what tells how sure it is: an interval, or seeds."""

    title: str
    text: str
    note: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    seeds: Sequence[float] = ()
    """The results of which it is the mean."""
    is_share: bool = True

    @property
    def places(self) -> list[float]:
        """Returns what its scale must have room for."""
        return [v for v in (self.value, *(self.interval or ()), *self.seeds) if v is not None]


def lead_section(run: ReportedRun, *, examples: Sequence[Markup] = ()) -> Section:
    """Shows the results and what the run lacks, then the best configuration and the costs.

    `examples` are test images with their predictions.
    """
    tiles = list(_tiles(run))
    drawn = Markup("").join(_tile(tile, tiles) for tile in tiles)
    parts = [Markup('<dl class="tiles">{}</dl>').format(drawn), _keys(drawn)] if tiles else []
    if verdict := [_unbroken(text) for text in _verdict(run) if text]:
        said = Markup('<p class="verdict"><b>{}</b> {}</p>')
        parts.append(said.format(verdict[0], " ".join(verdict[1:])))
    if run.missing:
        parts.append(missing(Markup("<br>").join(run.missing)))
    parts += examples
    best = chosen_trial(run.history) if run.history.started else None
    sides = [_costs(run)]
    if best is not None and best.parameters:
        sides.insert(0, _configuration(best.parameters))
    parts.append(Markup('<div class="beside">{}</div>').format(Markup("").join(sides)))
    return Section("Summary", "summary", *parts)


def _tiles(run: ReportedRun) -> Iterator[Tile]:
    history = run.history
    if history.started is None:
        return
    if history.leader is not None:
        yield _best_tile(run, history.leader)
        if run.is_search:
            yield _kept_tile(run)
    yield _test_tile(run.look)


def _best_tile(run: ReportedRun, best: TrialHistory) -> Tile:
    history, metric = run.history, run.history.run.metric
    score = history.score_of(best)
    assert score is not None
    value, what = history.turned(score.value), METRICS[metric].label
    if not score.whole:
        what += (
            f" of one epoch, as no trial has {min(history.stretch, best.planned_epochs)} in a row"
        )
    elif history.stretch > 1:
        what = f"mean {what} of {min(history.stretch, best.planned_epochs)} epochs in a row"
    note = f"{what} on validation, the {_which_epoch(run, best)}'s"
    if run.is_search:
        note = f"{what}; the best of {counted(len(history.searched), 'trial')}, so optimistic"
    title = f"Best trial, {best.trial_id}" if run.is_search else "Validation"
    return _validation_tile(metric, title, value=value, note=note)


def _which_epoch(run: ReportedRun, trial: TrialHistory) -> str:
    """Says 'best epoch', or 'last epoch, on the 29 images that still validated'."""
    which = "last epoch" if trial.keeps_last else "best epoch"
    if trial.purpose == "final" and "images" in run.result.get("search", {}):
        images = run.result["data"]["images"]["validation"]
        which += f", on the {counted(images, 'image')} that still validated"
    return which


def _kept_tile(run: ReportedRun) -> Tile:
    """Shows what new seeds say of the kept model's configuration, or else its own epoch."""
    history = run.history
    metric, kept, sure = history.run.metric, final_training(history), over_seeds(history)
    is_there = kept is not None and kept.is_over and kept.state != "failed"
    reached = history.best_value(kept) if kept is not None and is_there else None
    said = which = ""
    if kept is not None and reached is not None:
        which = f"its {_which_epoch(run, kept)}"
        said = f"the model itself: {metric_text(metric, reached)} at {which}"
    if history.picked is None and sure is not None:
        seeds = counted(sure.n, "new seed" if sure.trials[0].purpose == "confirm" else "seed")
        what = seeds if sure.sd is None else f"mean ± sd over {seeds}"
        origin = searched_winner(history) or sure.trials[0]
        note = f"configuration of {origin.trial_id}: {what}"
        note += f"; {said or 'no model was trained of it yet'}"
        title = "Kept model" if said else "Best configuration"
        return _validation_tile(metric, title, value=sure.mean, note=note, over=sure)
    if reached is not None:
        flattered = "" if kept is not None and kept.keeps_last else ", so optimistic"
        note = f"{which}{flattered}; not confirmed with new seeds"
        if history.picked is not None:
            note += f"; {history.picked.trial_id} was picked by hand"
        return _validation_tile(metric, "Kept model", value=reached, note=note)
    note = "the winner has not been trained for keeping"
    if kept is not None:
        trained = f"{len(kept.epochs)} of {counted(kept.planned_epochs, 'epoch')}"
        note = f"the winner's own training: {in_words(kept.state)} after {trained}"
    return Tile("Kept model", "none yet", note)


def _validation_tile(
    metric: str, title: str, *, value: float, note: str, over: Configuration | None = None
) -> Tile:
    text = spread_text(metric, value, over.sd if over else None)
    seeds = over.scores if over and over.n > 1 else ()
    return Tile(title, text, note, value, seeds=seeds, is_share=METRICS[metric].is_share)


def _test_tile(look: LookAtTest | None) -> Tile:
    if look is None:
        return Tile("Test", "not looked at", "so no number here is free of choice yet")
    ends = look_interval(look)
    note = f"accuracy on {counted(look.images, 'image')}, 95 % interval {interval_text(ends)}"
    return Tile("Test", percent(look.accuracy), note, look.accuracy, ends)


def _tile(tile: Tile, tiles: Sequence[Tile]) -> Markup:
    number, space, unit = tile.text.partition(" ")
    shown = Markup('<dd class="none">{}</dd>').format(tile.text)
    if tile.value is not None:
        alike = [each for each in tiles if each.is_share is tile.is_share]
        shown = Markup('<dd class="value">{}<small>{}{}</small></dd><dd>{}</dd>').format(
            number, space, unit, _interval(tile, alike)
        )
    return Markup('<div class="tile"><dt>{}</dt>{}<dd class="note">{}</dd></div>').format(
        tile.title, shown, _unbroken(tile.note)
    )


def _interval(tile: Tile, alike: Sequence[Tile]) -> Markup:
    """Draws a dot, what tells how sure it is, and ticks for the others on the same scale."""
    low, high = _scale([place for each in alike for place in each.places], tile.is_share)

    def mark(kind: str, start: float, end: float | None = None) -> Markup:
        left, right = ((value - low) / (high - low) for value in (start, end or start))
        width = Markup("") if end is None else Markup("; width: {:.1%}").format(right - left)
        return Markup('<i class="{}" style="left: {:.1%}{}"></i>').format(kind, left, width)

    values = [each.value for each in alike if each.value is not None and each is not tile]
    marks = [mark("other", value) for value in values]
    marks += [mark("range", *tile.interval)] if tile.interval else []
    is_sure = tile.interval or tile.seeds
    marks.append(mark("point" if is_sure else "point hollow", tile.value or 0.0))
    marks += [mark("seed", seed) for seed in tile.seeds]
    texts = (f"{end:.0%}" if tile.is_share else f"{end:.3g}" for end in (low, high))
    return Markup(
        '<div class="interval" role="img" aria-label="{}; {}">{}</div>'
        '<div class="ends"><span>{}</span><span>{}</span></div>'
    ).format(tile.text, tile.note, Markup("").join(marks), *texts)


def _keys(drawn: Markup) -> Markup:
    """Returns a legend of the marks that the tiles have."""
    there = (
        Markup('<span><span class="interval"><i class="{}"></i></span> {}</span>').format(*key)
        for key in KEYS.items()
        if f'class="{key[0]}"' in drawn
    )
    return Markup('<p class="caption keys">{}</p>').format(Markup(" ").join(there))


def _scale(places: Sequence[float], is_share: bool) -> tuple[float, float]:
    """Returns round ends of a scale that has room for all these places."""
    low, high = min(places), max(places)
    if is_share:
        low, high = (math.floor(low / STEP - 0.2) * STEP, math.ceil(high / STEP + 0.2) * STEP)
        return max(0.0, low), min(1.0, high)
    room = (high - low) / 2 or abs(high) / 10 or 1.0
    return low - room, high + room


def _unbroken(text: str) -> str:
    """Returns the text with percent signs that stay at their numbers."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _verdict(run: ReportedRun) -> Iterator[str | None]:
    """Yields what the results say together, the most important first."""
    history = run.history
    if history.picked is None and (sure := confirmed(history)) is not None:
        metric = history.run.metric
        if run.look is not None and metric == "val_accuracy" and sure.sd is not None:
            # What chose it, of which a winner may have had some to train on.
            search, data = run.result.get("search", {}), run.result.get("data", {})
            images = (data.get("images", {}) | search.get("images", {})).get("validation", math.inf)
            yield from _agreement(sure, run.look, images=images)
        yield _flattery(history, sure)
        yield doubt(configurations(history, purpose="confirm"), metric=metric)


def _agreement(sure: Configuration, look: LookAtTest, *, images: float) -> Iterator[str]:
    """Compares the test with what validation promised of one more model of the configuration.

    Two errors stand between them: that model's seed is one more than those of the mean, and both
    accuracies are shares of so many images; `images` of the validation.
    """
    gap = look.accuracy - sure.mean
    of_seeds = (sure.sd or 0.0) * math.sqrt(1 + 1 / sure.n)
    of_images = math.sqrt(sure.mean * (1 - sure.mean) * (1 / look.images + 1 / images))
    error = math.hypot(of_seeds, of_images)
    if abs(gap) <= 2 * error:
        expected = interval_text(look_interval(look))
        yield f"The test agrees with the confirmation: expect {expected}."
    elif gap < 0:
        yield f"Expect the test's {percent(look.accuracy)}: it is lower than validation promised."
    else:
        yield "The test is better than validation promised; its images may be easier."
    side, size = ("above" if gap > 0 else "below", gap_text("val_accuracy", abs(gap)))
    yield (
        f"The test is {size} {side} the confirmed mean, where seeds and numbers of images explain"
        f" {gap_text('val_accuracy', 2 * error)} (2 standard errors)."
    )


def _flattery(history: History, sure: Configuration) -> str | None:
    """Tells how much the best trial's score promised too much."""
    best = None if history.leader is None else history.score_value(history.leader)
    if best is None:
        return None
    gap = history.turned(best) - history.turned(sure.mean)
    if gap <= 0:
        return "New seeds gave what the search had promised."
    return (
        f"With new seeds the winner gives {gap_text(history.run.metric, gap)} less than the best"
        " trial did: being chosen flatters."
    )


def _configuration(parameters: Mapping[str, JSON]) -> Markup:
    """Shows what the kept model was made with, and lets a reader copy it."""
    tree: dict[str, JSON] = {}
    for name, value in parameters.items():
        put(tree, name, value)
    text = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)
    names = short_names(list(parameters))
    return Markup(
        '<div><div class="head"><h3>Best configuration</h3>'
        '<button type="button" data-copies="best-yaml">Copy as YAML</button></div>'
        '{}<pre id="best-yaml" hidden>{}</pre></div>'
    ).format(facts(((names[n], value_text(v)) for n, v in parameters.items()), kind="pairs"), text)


def _costs(run: ReportedRun) -> Markup:
    history = run.history
    pairs = [("Time", duration(history.seconds))]
    if run.is_search:
        pairs.append(("Trials", states_text(history)))
    pairs.append(("Epochs", f"{history.epochs_trained:,} trained"))
    if run.result.get("parameters"):
        pairs.append(("Parameters of the model", amount_text(run.result["parameters"])))
    if history.looks:
        pairs.append(("Looks at the test set", looks_text(len(history.looks))))
    saved = Markup("")
    if run.is_search and history.epochs_saved:
        share = history.epochs_spent / (history.epochs_spent + history.epochs_saved)
        saved = Markup(
            '<div class="meter"><i style="width: {:.1%}"></i></div><p class="caption">{}: {}.</p>'
        ).format(share, "The search", epochs_text(history))
    return Markup('<div><div class="head"><h3>What it cost</h3></div>{}{}</div>').format(
        facts(pairs, kind="pairs"), saved
    )
