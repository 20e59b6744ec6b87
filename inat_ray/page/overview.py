"""The beginning of a run's report: its results, its search, its data, and its machine."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from markupsafe import Markup

from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.log.history import History
from inat_ray.page.html import (
    Section,
    facts,
    folded,
    missing,
    subheading,
)
from inat_ray.page.reported_run import ReportedRun
from inat_ray.search.winner import final_training, winning_trial
from inat_ray.terminal.standing import epochs_text, states_text
from inat_ray.terminal.words import (
    counted,
    duration,
    interval_text,
    metric_text,
    parameters_text,
    percent,
)
from inat_ray.training.assessment import wilson_interval

METHODS = {
    "random": "random search",
    "bayes": "Bayesian search (TPE)",
    "grid": "grid search",
    "ablation": "ablation: one change at a time",
    "train": "one training, no search",
}

Facts = list[tuple[str, str | Markup]]


def summary_section(run: ReportedRun) -> Section:
    """The numbers that a reader looks for first, and what the run lacks."""
    notes = [missing(text) for text in run.missing]
    return Section("Summary", "summary", facts(_key_figures(run), large=True), *notes)


def setting_section(run: ReportedRun) -> Section:
    """Experiment, data, versions, and machine: what it takes to repeat the run."""
    parts = [subheading("Search"), facts(_search_facts(run))]
    if run.result.get("data"):
        parts += [subheading("Data"), facts(_data_facts(run))]
    if "versions" in run.result:
        parts += [subheading("Made with"), facts(_made_with(run))]
    if run.experiment is not None:
        text = run.folder.experiment.read_text(encoding="utf-8")
        body = Markup('<pre tabindex="0">{}</pre>').format(text)
        parts.append(folded(body, summary="The whole experiment (experiment.yaml)"))
    return Section("What was done", "setting", *parts)


def lead_text(run: ReportedRun) -> str:
    """A sentence below the title: kind of run, name, when."""
    if run.history.started is None:
        return "A run that recorded nothing."
    started = run.history.run
    when = datetime.fromtimestamp(started.time).astimezone().strftime("%d %B %Y, %H:%M")
    kind = METHODS[started.method]
    return f"{kind[0].upper()}{kind[1:]} for {started.name}, begun {when}."


def _key_figures(run: ReportedRun) -> Facts:
    history = run.history
    figures: Facts = [*_best_figures(run)]
    if run.look is not None:
        right = round(run.look.accuracy * run.look.images)
        interval = interval_text(wilson_interval(right, run.look.images))
        figures.append((f"Test, 95 % within {interval}", percent(run.look.accuracy)))
    if run.is_search:
        figures.append(("Trials", str(len(history.searched))))
    figures.append(("Epochs trained", f"{history.epochs_trained:,}"))
    figures.append(("Time", duration(history.seconds)))
    if run.result.get("parameters"):
        figures.append(("Parameters", f"{run.result['parameters']:,}"))
    return figures


def _best_figures(run: ReportedRun) -> Iterator[tuple[str, str]]:
    """The metric of the best trial and of the kept model, which has a training of its own."""
    if (started := run.history.started) is None:
        return
    title = "Best trial's" if run.is_search else "Best"
    found = {title: winning_trial(run.history), "Kept model's": final_training(run.history)}
    for whose, trial in found.items():
        if trial is not None and (best := run.history.best_value(trial)) is not None:
            yield f"{whose} {METRICS[started.metric].label}", metric_text(started.metric, best)


def _search_facts(run: ReportedRun) -> Facts:
    history = run.history
    if history.started is None:
        return []
    found: Facts = [("Method", METHODS[history.run.method])]
    if run.is_search:
        found += [
            ("Metric", f"{history.run.metric}, to {history.run.goal}"),
            ("Trials", states_text(history)),
            ("Early stopping", _early_stopping(run.experiment)),
            ("Epochs", epochs_text(history)),
            ("The search ended", _ending(history)),
        ]
        if history.known:
            found.append(("Known from other runs", counted(len(history.known), "trial")))
    if winner := winning_trial(history):
        found.append(("Best configuration", parameters_text(winner.parameters) or "as given"))
    found.append(("Seed", str(run.experiment.seed) if run.experiment else "unknown"))
    found.append(("Looks at the test set", str(len(history.looks))))
    return found


def _early_stopping(experiment: Experiment | None) -> str:
    if experiment is None:
        return "unknown"
    settings = experiment.search.early_stopping
    if settings.kind == "none":
        return "none"
    if settings.kind == "median":
        return f"median of {settings.min_trials} or more, from epoch {settings.min_epochs}"
    return (
        f"{settings.kind}: the best 1/{settings.reduction_factor} go on, first after epoch"
        f" {settings.min_epochs}"
    )


def _ending(history: History) -> str:
    texts = {
        "trials": "when all trials were done",
        "points": "when every point of the space was tried",
        "epochs": "when its budget of epochs was spent",
        "time": "when its time had run out",
        "target": "when its target was reached",
        None: "not yet: it was cut off or is still running",
    }
    return texts[history.ended]


def _data_facts(run: ReportedRun) -> Facts:
    data = run.result["data"]
    images = ", ".join(f"{count:,} {name}" for name, count in data["images"].items())
    left_out = len(data["quarantined"])
    found: Facts = [
        ("Images", images),
        (f"{len(data['classes'])} classes", ", ".join(data["classes"])),
        ("Left out", f"{left_out} that cannot be read, {len(data['duplicates'])} duplicates"),
    ]
    if run.experiment is not None:
        settings = run.experiment.data
        found += [
            ("Image size", f"{settings.image_size} x {settings.image_size} pixels"),
            ("Split", f"by class, seed {settings.split_seed}; the same for every trial"),
        ]
    return found


def _made_with(run: ReportedRun) -> Facts:
    found: Facts = [("Versions", ", ".join(f"{k} {v}" for k, v in run.result["versions"].items()))]
    if machine := run.result.get("machine"):
        found.append(("Machine", _machine_text(machine)))
    return found


def _machine_text(machine: dict[str, Any]) -> str:
    """'AMD EPYC, 2 cores, Linux; a cluster of 3 nodes of 4 CPUs, 1 GPUs (A100)'."""
    parts = [machine["processor"], f"{machine['cores']} cores", machine["system"]]
    here = ", ".join([*parts, *machine.get("gpus", [])])
    nodes = machine.get("nodes", [])
    if sum(node["count"] for node in nodes) < 2:
        return here
    return f"{here}; a cluster of " + " and ".join(map(_nodes_text, nodes))


def _nodes_text(node: dict[str, Any]) -> str:
    kinds = f" ({', '.join(node['accelerators'])})" if node["accelerators"] else ""
    nodes = counted(node["count"], "node")
    return f"{nodes} of {node['cpus']:g} CPUs, {node['gpus']:g} GPUs{kinds}"
