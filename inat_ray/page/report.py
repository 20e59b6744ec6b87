"""The report: a run, or several, on one page."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from inat_ray.config.errors import UserError
from inat_ray.page.comparison import comparison_sections
from inat_ray.page.explanation import explanation_section
from inat_ray.page.model import model_sections
from inat_ray.page.overview import lead_text, setting_section, summary_section
from inat_ray.page.page import write_page
from inat_ray.page.parameters import parameters_section, scored_trials
from inat_ray.page.parts import Section, missing
from inat_ray.page.reported_run import ReportedRun
from inat_ray.page.studies import freeze_section, is_freeze_study, study_section
from inat_ray.page.trials import (
    curves_section,
    leaderboard_section,
    progress_section,
    rungs_section,
)
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.study import seed_is_searched
from inat_ray.search.winner import is_confirmed
from inat_ray.training.predictions import read_predictions

WINNER = "The model"


def write_report(run: ReportedRun, path: Path) -> None:
    """Writes the page of one run: its search, its winner, how that fails, and what it looks at."""
    write_page(path, title=run.name, lead=lead_text(run), sections=list(run_sections(run)))


def write_comparison(runs: Sequence[ReportedRun], path: Path) -> None:
    """Writes a page that compares several runs."""
    names = ", ".join(run.name for run in runs)
    title = f"{len(runs)} runs compared"
    write_page(path, title=title, lead=names, sections=comparison_sections(runs))


def run_sections(run: ReportedRun) -> Iterator[Section]:
    """The sections for which the run has content."""
    yield summary_section(run)
    yield setting_section(run)
    if run.history.started is None:
        return
    if run.is_search:
        yield from _search_sections(run)
    elif any(trial.epochs for trial in run.history.trials.values()):
        yield curves_section(run.history)
    yield from _winner_sections(run)
    if run.model is not None:
        yield explanation_section(run.model, run.data)


def _winner_sections(run: ReportedRun) -> Iterator[Section]:
    """How the kept model did on the test images, from the predictions of the look at them."""
    if run.look is None:
        text = "The test set has not been looked at yet."
        yield Section(WINNER, "model", missing(text))
        return
    try:
        predictions = read_predictions(run.folder.path / run.look.predictions)
    except UserError as error:
        yield Section(WINNER, "model", missing(f"The predictions could not be read: {error}"))
        return
    yield from model_sections(predictions, subset="test", data=run.data, result=run.result)


def _search_sections(run: ReportedRun) -> Iterator[Section]:
    history = run.history
    if not history.leaderboard():
        text = "No trial gave a result, so there is nothing to rank or to draw."
        yield Section("Results", "results", missing(text))
        if history.searched:
            yield leaderboard_section(history)
        return
    yield leaderboard_section(history)
    yield progress_section(history)
    yield curves_section(history)
    if history.run.method == "ablation":
        yield study_section(history, purpose="search", title="One change at a time")
    elif seed_is_searched(history):
        yield study_section(history, purpose="search", title="Over seeds")
    if is_confirmed(history):
        yield study_section(history, purpose="confirm", title="Confirmation")
    if is_freeze_study(history) and run.experiment is not None and run.data is not None:
        yield freeze_section(history, run.experiment, classes=len(run.data.classes))
    scored = scored_trials(history, run.experiment)
    if scored.names:
        yield parameters_section(scored)
    if run.experiment is not None:
        early = run.experiment.search.early_stopping
        if SCHEDULERS[early.kind].has_rungs:
            yield rungs_section(history, early)
