"""Reads a W&B sweep as an experiment: what it says in our words, and what it leaves to be asked.

W&B searches the arguments of somebody's script, and what these mean only the script knows. Those
that have a usual name are taken for our settings (`names.py`); a question stands where that
would be a guess. An answer is a `--set` line: with a key of the sweep file
(`parameters.NAME=null` leaves one out) or of the experiment.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from inat_ray.config.distributions import JSON, Tree
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS
from inat_ray.config.overrides import PARAMETERS, put, settings_in
from inat_ray.config.wandb.names import DROPPED_KEYS, ERRORS, METRICS_THERE
from inat_ray.config.wandb.parameters import read_parameters
from inat_ray.config.wandb.translation import Row, Translation
from inat_ray.config.wandb.values import number, plain

READ_KEYS = {"method", "metric", "parameters", "early_terminate", "run_cap", "command"}
READ_KEYS |= {"name", "project", "entity"}

NO_METRIC = "is not measured here"

NO_METRICS = {
    "test": "the test set is looked at once, after the search",
    "train": "a search goes by the validation images",
}
"""Why there is no metric whose name begins so."""

SPEC_KEYS = {"value", "values", "probabilities", "distribution", "min", "max", "mu", "sigma", "q"}


def is_wandb_sweep(tree: Mapping[str, Any]) -> bool:
    """Returns whether a file's content is a W&B sweep and no experiment."""
    ours = Experiment.model_fields.keys() - READ_KEYS
    return isinstance(tree.get("parameters"), Mapping) and tree.keys().isdisjoint(ours)


def answer(sweep: Tree, given: Iterable[tuple[str, JSON]]) -> list[str]:
    """Changes the sweep as `given`, dotted keys and values, says; returns the keys that did so.

    Its parameters become one flat mapping, with dotted names for nested ones and with the
    arguments that its command fixes.
    """
    flat = _flat(sweep["parameters"])
    command = sweep.get("command")
    flat = {**_fixed_by(command if isinstance(command, list) else []), **flat}
    sweep["parameters"] = flat
    of_sweep = {*READ_KEYS, *DROPPED_KEYS, *sweep} - {"name"}
    taken = []
    for key, value in given:
        top, _, rest = key.partition(".")
        if top not in of_sweep or top in Experiment.model_fields or key == "parameters":
            continue
        taken.append(key)
        if top == "parameters":
            _change(flat, rest, value)
        elif value is None:
            sweep.pop(top, None)
        else:
            put(sweep, key, value)
    return taken


def _flat(parameters: Mapping[str, Any], prefix: str = "") -> Tree:
    flat: Tree = {}
    for name, spec in parameters.items():
        below = spec.get("parameters") if isinstance(spec, Mapping) else None
        if isinstance(below, Mapping):
            flat |= _flat(below, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = spec
    return flat


def _fixed_by(command: list[Any]) -> Tree:
    """Returns the arguments that a command gives to its program, as constants."""
    words = [str(word) for word in command]
    programs = [k for k, word in enumerate(words) if word == "${program}" or word.endswith(".py")]
    words = words[programs[0] + 1 :] if programs else []
    fixed: Tree = {}
    for word, after in pairwise([*words, "-"]):
        name, separator, text = word.lstrip("-").partition("=")
        if word.startswith("-") and not word.startswith("${"):
            fixed[name] = {"value": text if separator else after}
            if not separator and after.startswith(("-", "${")):
                fixed[name] = {"value": True}
    return fixed


def _change(flat: Tree, key: str, value: JSON) -> None:
    """Changes a parameter, or one key of it; null leaves it out, with all below it."""
    within = [name for name in flat if key == name or key.startswith(f"{name}.")]
    head, _, last = key.rpartition(".")
    name = max(within, key=len, default=head if head and last in SPEC_KEYS else key)
    part = key[len(name) + 1 :]
    if value is None and not part:
        for each in [each for each in flat if each == key or each.startswith(f"{key}.")]:
            del flat[each]
    elif not part:
        flat[name] = value
    elif part in ("value", "values"):
        flat[name] = {part: value}
    else:
        spec = flat.get(name)
        flat[name] = {**(spec if isinstance(spec, Mapping) else {}), part: value}


def translate(sweep: Tree, *, given: Mapping[str, JSON], name: str) -> Translation:
    """Returns the experiment that a sweep stands for; see `answer`, which comes before.

    `given`: the settings of the experiment that were named on the command line, which take
    precedence and leave nothing to be asked. `name`: of the sweep if it has none.
    """
    found = Translation()
    given = settings_in(given)
    _head(found, sweep, given, name)
    for key, read in (("metric", _metric), ("early_terminate", _early_stopping)):
        try:
            read(found, sweep.get(key), given)
        except (ValueError, TypeError):
            found.ask(key, "holds text in place of a number", f"--set {key}=null leaves it out")
    read_parameters(found, sweep["parameters"], given=given)
    _fair_schedule(found, given)
    for key in sweep:
        if key in READ_KEYS:
            continue
        if key in DROPPED_KEYS:
            found.drop(key, DROPPED_KEYS[key])
        else:
            found.ask(key, "W&B has no such key", f"--set {key}=null leaves it out")
    return found


def _head(found: Translation, sweep: Tree, given: Mapping[str, JSON], name: str) -> None:
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", str(sweep.get("name") or name)).strip("-._")
    found.say("name" if sweep.get("name") else "", "name", words or "sweep")
    method = sweep.get("method")
    if method in ("random", "grid", "bayes"):
        note = "TPE here, a Gaussian process there" if method == "bayes" else ""
        found.say("method", "search.method", method, note)
    elif "search.method" not in given:
        what = f"{method!r} is none" if method else "is not given"
        found.ask("method", f"{what} of random, grid, bayes", "--set method=random chooses one")
    if "run_cap" in sweep and "search.trials" in given:
        found.drop("run_cap", "search.trials is on the command line")
    elif "run_cap" in sweep:
        found.say("run_cap", "search.trials", sweep["run_cap"])
    elif method != "grid" and "search.trials" not in given:
        note = "W&B goes on until it is stopped; here --trials N, 10 if it is not given"
        found.rows.append(Row("", "search.trials", None, note))
    for key in ("project", "entity"):
        if sweep.get(key):
            found.say(key, f"tracking.wandb.{key}", sweep[key], "with --track wandb")


def _metric(found: Translation, metric: JSON, given: Mapping[str, JSON]) -> None:
    if metric is None or "search.metric.name" in given:
        return
    said = metric if isinstance(metric, Mapping) else {"name": metric}
    name, goal = plain(said.get("name")), said.get("goal", "minimize")
    ours = "val_accuracy" if name in ERRORS else METRICS_THERE.get(name)
    if ours is None:
        why = next((why for start, why in NO_METRICS.items() if name.startswith(start)), NO_METRIC)
        answer = f"--set metric.name=NAME names one of {', '.join(METRICS)}"
        found.ask("metric.name", f"{said.get('name')!r}: {why}", answer)
        return
    wanted = "minimize" if name in ERRORS else METRICS[ours].goal
    if goal != wanted and "goal" in said:
        reason = f"{goal!r}: {said['name']} is to {wanted}"
        found.ask("metric.goal", reason, f"--set metric.goal={wanted} says so")
        return
    note = "" if name.startswith(("val", "eval", "dev", "best")) else "of the validation images"
    if name in ERRORS:
        note = "the share of errors is 1 - accuracy, of the validation images"
    elif "goal" not in said and wanted == "maximize":
        note = "maximized, though W&B minimizes where no goal is given"
    found.say("metric.name", "search.metric.name", ours, note)
    put(found.tree, "search.metric.goal", METRICS[ours].goal)
    if "target" in said:
        target = number(said["target"])
        found.say("metric.target", "search.target", 1 - target if name in ERRORS else target)


def _early_stopping(found: Translation, rule: JSON, given: Mapping[str, JSON]) -> None:
    is_given = "search.early_stopping.kind" in given
    said = rule if isinstance(rule, Mapping) else {"type": rule}
    if rule is None and not is_given:
        note = "W&B stops nothing early without early_terminate"
        found.say("", "search.early_stopping.kind", "none", note)
    elif said.get("type") == "hyperband":
        _hyperband(found, said)
    elif not is_given:
        reason = f"{said.get('type')!r}: only hyperband is known"
        found.ask("early_terminate.type", reason, "--set early_terminate=null leaves it out")


def _hyperband(found: Translation, said: Mapping[str, JSON]) -> None:
    eta = number(said.get("eta", 3))
    if eta < 2 or int(eta) != eta:
        reason = f"{eta}: a whole number from 2 on is allowed"
        found.ask("early_terminate.eta", reason, "--set early_terminate.eta=3 is W&B's default")
        return
    bands = _bands(said, eta)
    if not bands:
        reason = "needs min_iter, or max_iter with an s that leaves a first comparison"
        found.ask("early_terminate", reason, "--set early_terminate.min_iter=1 gives one")
        return
    first = bands[0]
    note = "what W&B counts in logged steps is counted in epochs"
    if "max_iter" in said and (bands != [first * int(eta) ** k for k in range(len(bands))]):
        note += f"; W&B compares after {', '.join(map(str, bands))}"
    ours = {"kind": "asha", "min_epochs": first, "reduction_factor": int(eta)}
    found.say("early_terminate", "search.early_stopping", ours, note)


def _fair_schedule(found: Translation, given: Mapping[str, JSON]) -> None:
    """Where trials are compared early, replaces the default schedule, which peaks late."""
    rule = found.tree.get("search", {}).get("early_stopping", {}).get("kind", "none")
    stops = given.get("search.early_stopping.kind", rule) != "none"
    named = {"recipe.schedule", f"{PARAMETERS}recipe.schedule"} & given.keys()
    if stops and not named and not found.holds("recipe.schedule"):
        note = "with 5 % of warm-up; the default, one_cycle, would have warm-ups compared"
        found.say("", "recipe.schedule", "cosine", note)
        put(found.tree, "recipe.warmup_fraction", 0.05)


def _bands(rule: Mapping[str, Any], eta: float) -> list[int]:
    """Returns the steps after which W&B compares, in order; endless ones by the first alone."""
    if "max_iter" not in rule:
        first = number(rule.get("min_iter", 0))
        return [int(first)] if first >= 1 else []
    count = min(int(number(rule.get("s", 0))), 50)
    steps = [number(rule["max_iter"]) / eta**k for k in range(1, count + 1)]
    return sorted(int(step) for step in steps if step >= 1)
