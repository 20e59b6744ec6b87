"""The report: a run, or several, on one page."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from inat_ray.config.errors import UserError
from inat_ray.page.comparison import comparison_sections
from inat_ray.page.curves import curves_section
from inat_ray.page.explanation import explanation_section
from inat_ray.page.figure import Figure
from inat_ray.page.html import Section, missing, write_page
from inat_ray.page.lead import lead_section
from inat_ray.page.leaderboard import leaderboard_section
from inat_ray.page.model_sections import examples, model_sections
from inat_ray.page.overview import lead_text, setting_section
from inat_ray.page.parameters import parameters_section
from inat_ray.page.progress import progress_section
from inat_ray.page.reported_run import ReportedRun, open_run
from inat_ray.page.scored import scored_trials
from inat_ray.page.studies import freeze_section, is_freeze_study, study_section
from inat_ray.page.trials import front_section, rungs_section
from inat_ray.run.folder import RunFolder
from inat_ray.search.front import fronts
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.study import seed_is_searched
from inat_ray.search.winner import confirmed
from inat_ray.terminal.say import note
from inat_ray.terminal.words import command_text


def write_report(run: ReportedRun, path: Path) -> list[Figure]:
    """Writes the page of one run: its search, its winner, how that fails, and what it looks at.

    Returns its figures.
    """
    sections = list(_sections(run))
    write_page(path, title=run.name, lead=lead_text(run), sections=sections)
    return [figure for section in sections for figure in section.figures]


def report_at_end(console: Console, *, run: RunFolder) -> None:
    """Writes the report of a run that ends. A page that fails is a note: the run itself is safe."""
    try:
        write_report(open_run(run.path), run.report)
        run.keep(run.report)
    except Exception as error:  # whatever its kind: it must not look as if the search had failed
        note(
            console, f"there is no report ({error!r}); {command_text('report', run.path)} shows why"
        )


def write_comparison(runs: Sequence[ReportedRun], path: Path) -> list[Figure]:
    """Writes a page that compares several runs; returns its figures."""
    names = ", ".join(run.name for run in runs)
    sections = comparison_sections(runs)
    write_page(path, title=f"{len(runs)} runs compared", lead=names, sections=sections)
    return [figure for section in sections for figure in section.figures]


def _sections(run: ReportedRun) -> Iterator[Section]:
    """Yields the sections for which the run has content."""
    found = run.predictions
    yield lead_section(run, examples=[] if found is None else examples(found, run.data))
    if run.is_search:
        yield from _search_sections(run)
    elif any(trial.epochs for trial in run.history.trials.values()):
        yield curves_section(run.history)
    if found is not None:
        yield from model_sections(found, subset="test", data=run.data, result=run.result)
    if run.model is not None:
        yield explanation_section(run.model, run.data)
    yield setting_section(run)


def _search_sections(run: ReportedRun) -> Iterator[Section]:
    history, experiment = run.history, run.experiment
    if not history.leaderboard():
        text = "No trial gave a result, so there is nothing to rank or to draw."
        yield Section("Results", "results", missing(text))
        if history.searched:
            yield leaderboard_section(history)
        return
    yield leaderboard_section(history)
    yield progress_section(history)
    yield curves_section(history)
    if found := fronts(history):
        yield front_section(history, found)
    yield from _study_sections(run)
    scored = scored_trials(history, experiment)
    if scored.names:
        yield parameters_section(scored)
    if experiment and SCHEDULERS[experiment.search.early_stopping.kind].has_rungs:
        yield rungs_section(history, experiment.search.early_stopping)


def _study_sections(run: ReportedRun) -> Iterator[Section]:
    """Yields the comparisons of configurations that the run made."""
    history = run.history
    freezing = _freezing(run) if is_freeze_study(history) else None
    if history.run.method == "ablation":
        yield study_section(history, purpose="search", title="One change at a time")
    elif seed_is_searched(history) and not (freezing and freezing.figures):
        yield study_section(history, purpose="search", title="Over seeds")
    if confirmed(history):
        yield study_section(history, purpose="confirm", title="Confirmation")
    if freezing:
        yield freezing


def _freezing(run: ReportedRun) -> Section:
    """Shows what freezing costs and saves, or why that is not known."""
    reason = "The photographs are not available, so the network's size is not known."
    if run.experiment is not None and run.data is not None:
        try:
            return freeze_section(run.history, run.experiment, classes=len(run.data.classes))
        except UserError as error:  # the code of a network of one's own is not named
            reason = str(error)
    return Section("What to freeze", "freeze", missing(reason))
