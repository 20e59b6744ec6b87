"""How a run was made: its search, its data, and its machine."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from markupsafe import Markup

from inat_ray.config.experiment import Experiment
from inat_ray.config.space import IMAGE_SIZE, search_space
from inat_ray.page.html import Section, facts, folded, paragraph, subheading
from inat_ray.page.reported_run import ReportedRun
from inat_ray.search.limits import MOST_IN_A_ROW
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.searchers import SEARCHERS
from inat_ray.search.sources import Source, sources
from inat_ray.terminal.run_texts import steering_texts
from inat_ray.terminal.words import amount_text, counted

ENDINGS = {
    "trials": "when all trials were done",
    "points": "when every point of the space was tried",
    "limits": f"when {MOST_IN_A_ROW} points in a row were beyond its limits",
    "epochs": "when its budget of epochs was spent",
    "time": "when its time had run out",
    "target": "when its target was reached",
    "asked": "when a person asked for its end",
    None: "not yet: it was cut off or is still running",
}

Facts = Iterator[tuple[str, str]]


def lead_text(run: ReportedRun) -> str:
    """Returns a sentence below the title: kind of run, name, when."""
    if run.history.started is None:
        return "A run that recorded nothing."
    started = run.history.run
    when = datetime.fromtimestamp(started.time).astimezone().strftime("%d %B %Y, %H:%M")
    kind = _method(started.method)
    return f"{kind[0].upper()}{kind[1:]} for {started.name}, started {when}."


def setting_section(run: ReportedRun) -> Section:
    """Shows what it takes to repeat the run: experiment, data, versions, and machine."""
    parts = [subheading("Search"), facts(_search_facts(run))]
    if steering := steering_texts(run.history.steering):
        parts += [subheading("Changed since it began"), *map(paragraph, steering)]
    if run.result.get("data"):
        parts += [subheading("Data"), facts(_data_facts(run))]
    if "versions" in run.result:
        parts += [subheading("Made with"), facts(_made_with(run))]
    if run.experiment is not None:
        text = run.folder.experiment.read_text(encoding="utf-8")
        body = Markup('<pre tabindex="0">{}</pre>').format(text)
        parts.append(folded(body, summary="The whole experiment (experiment.yaml)"))
    return Section("What was done", "setting", *parts)


def _search_facts(run: ReportedRun) -> Facts:
    history = run.history
    if history.started is None:
        return
    yield "Method", _method(history.run.method)
    if run.is_search:
        yield "Metric", f"{history.run.metric}, to {history.run.goal}"
        if run.experiment is not None and run.experiment.search.limits is not None:
            limits = run.experiment.search.limits.model_dump(exclude_none=True)
            yield "Limits", ", ".join(f"{amount_text(v)} {name}" for name, v in limits.items())
        yield "Early stopping", _early_stopping(run.experiment)
        yield "The search ended", ENDINGS[history.ended]
        if history.known and run.experiment is not None:
            found = sources(
                search_space(run.experiment), history, run.experiment.search.early_stopping
            )
            yield "Known from other runs", "; ".join(map(_source_text, found))
    yield "Seed", str(run.experiment.seed) if run.experiment else "unknown"


def _source_text(source: Source) -> str:
    """'50 trials of runs/first (agreement 0.42)'; why it is not followed, if it is not."""
    text = f"{counted(len(source.trials), 'trial')} of {source.name}"
    if source.agreement is None:
        return text
    other = f"; own results among each other {source.own:.2f}, so no longer followed"
    return f"{text} (agreement {source.agreement:.2f}{'' if source.is_believed else other})"


def _method(name: str) -> str:
    return SEARCHERS[name].label if name in SEARCHERS else "one training, no search"


def _early_stopping(experiment: Experiment | None) -> str:
    if experiment is None:
        return "unknown"
    settings = experiment.search.early_stopping
    return SCHEDULERS[settings.kind].summary(settings)


def _data_facts(run: ReportedRun) -> Facts:
    data = run.result["data"]
    yield "Images", ", ".join(f"{count:,} {name}" for name, count in data["images"].items())
    yield f"{len(data['classes'])} classes", ", ".join(data["classes"])
    unreadable, duplicates = len(data["quarantined"]), len(data["duplicates"])
    yield "Left out", f"{unreadable} that cannot be read, {duplicates} duplicates"
    if run.experiment is not None:
        settings = run.experiment.data
        yield "Image size", _image_size(run.experiment)
        yield "Split", f"by class, seed {settings.split_seed}; the same for every trial"


def _image_size(experiment: Experiment) -> str:
    size, stored = experiment.data.image_size, experiment.data.pack_side
    if size is None or IMAGE_SIZE in experiment.search.parameters:
        return f"each trial's own, from squares of {stored} x {stored} pixels"
    return f"{size} x {size} pixels"


def _made_with(run: ReportedRun) -> Facts:
    yield "Versions", ", ".join(f"{k} {v}" for k, v in run.result["versions"].items())
    if machine := run.result.get("machine"):
        yield "Machine", _machine_text(machine)


def _machine_text(machine: dict[str, Any]) -> str:
    """Returns 'AMD EPYC, 2 cores, Linux; a cluster of 3 nodes of 4 CPUs, 1 GPUs (A100)'."""
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
