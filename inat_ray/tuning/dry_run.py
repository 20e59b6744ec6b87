"""Finds what a sweep would do: its first points, its largest model, the time it takes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inat_ray.config.distributions import JSON, Categorical, Parameter, canonical
from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.config.search import MAX_TRIALS
from inat_ray.config.space import SearchSpace
from inat_ray.config.trial import experiment_at, trial_experiment
from inat_ray.config.variants import image_sizes
from inat_ray.data.dataset import DataSet
from inat_ray.log.history import History
from inat_ray.log.records import TrialKnown
from inat_ray.models.complexity import Complexity, complexity
from inat_ray.search.agenda import (
    Work,
    next_work,
    planned_trials,
    points_of,
    run_started,
    search_agenda,
)
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveOf
from inat_ray.search.limits import Limit, limit_of, no_limit
from inat_ray.search.simulate import Cluster, Simulation
from inat_ray.training.rehearsal import Rehearsal, rehearse
from inat_ray.tuning.engine import worker_device
from inat_ray.tuning.search import check_limits

SHOWN_SUGGESTIONS = 8
SIMULATED_TRIALS = 100
"""The time of further trials is extrapolated."""
TRIED_VALUES = 5
"""How many values of a numeric parameter are tried in search of the largest model."""


class Estimate(NamedTuple):
    """What a search is likely to take."""

    trials: int
    seconds: float
    beyond: float
    """Share of the points that are beyond the limits."""


@dataclass(frozen=True)
class DryRun:
    """The findings of a dry run."""

    suggestions: list[Work]
    image_sizes: list[int]
    """Of all trials, in pixels, ascending; of a range, its ends."""
    pack_size: int
    """Side of the stored squares, in pixels."""
    largest: dict[str, JSON]
    """The point with the most work in a step."""
    complexity: Complexity
    rehearsal: Rehearsal
    trials: int
    seconds: float
    beyond: float
    """These three as in `Estimate`."""


def dry_run(
    experiment: Experiment,
    space: SearchSpace,
    *,
    data: DataSet,
    resources: Resources,
    slots: int,
    known: Sequence[TrialKnown] = (),
) -> DryRun:
    """Trains the largest model for a few steps and estimates the search; `slots`: trials at once.

    `known` are trials of other runs.

    Raises RunFailedError if that model does not train, UserError if one of the first trials is not
    a valid experiment, or as `check_limits`.
    """
    classes = len(data.classes)
    check_limits(experiment, space, classes=classes)
    limit = limit_of(experiment, classes=classes)
    first = first_suggestions(experiment, space, limit=limit, known=known)
    for work in first:
        trial_experiment(experiment, parameters=work.parameters, seed=work.seed)
    largest = largest_point(experiment, space, classes=classes, limit=limit)
    tried = experiment_at(experiment, largest)
    assert tried is not None
    device, threads = worker_device(resources, tried), resources.cpus_per_worker
    rehearsal = rehearse(tried, data, device=device, threads=threads)
    steps = len(data.split.train) / rehearsal.images
    # Validation is a forward pass, a third of a training step's work.
    epoch = rehearsal.seconds * (steps + len(data.split.validation) / rehearsal.images / 3)
    curve_of = made_up_curves(
        experiment, classes=classes, unit=epoch / _work(tried, classes=classes)
    )
    return DryRun(
        suggestions=first,
        image_sizes=image_sizes(experiment, space),
        pack_size=experiment.data.pack_side,
        largest=largest,
        complexity=complexity(tried, classes=classes),
        rehearsal=rehearsal,
        **estimated(experiment, space, curve_of, slots=slots, limit=limit)._asdict(),
    )


def first_suggestions(
    experiment: Experiment,
    space: SearchSpace,
    *,
    limit: Limit = no_limit,
    known: Sequence[TrialKnown] = (),
) -> list[Work]:
    """Returns the trials that would begin first, while none has a result yet."""
    agenda = search_agenda(experiment, space, limit)
    history = History.of([run_started(experiment, space), *known])
    works: list[Work] = []
    while len(works) < SHOWN_SUGGESTIONS:
        work = next_work(agenda, history, history.add)
        if not isinstance(work, Work):
            break
        works.append(work)
        history.add(work.record())
    return works


def largest_point(
    experiment: Experiment,
    space: SearchSpace,
    *,
    classes: int,
    limit: Limit = no_limit,
) -> dict[str, JSON]:
    """Finds the point with the most multiply-accumulates in a step, of those within the limits.

    It begins at the costliest of the first trials, so that none of them takes more, and goes on
    parameter by parameter. Work grows with each of the parameters that matter, whatever the others
    are, so one pass finds it; if two values do not go together, the pass keeps to what does.
    """
    first = [work.parameters for work in first_suggestions(experiment, space, limit=limit)]
    point = max(first, key=lambda point: _work_at(experiment, point, classes=classes))
    most = _work_at(experiment, point, classes=classes)
    # A value of every parameter, so that none is missing once its condition is met.
    middle = {name: parameter.from_unit(0.5) for name, parameter in space.parameters.items()}
    for name, parameter in space.parameters.items():
        for value in _tried_values(parameter):
            there = space.existing({**middle, **point, name: value})
            work = _work_at(experiment, there, classes=classes)
            if work > most and limit(there) is None:
                point, most = there, work
    return point


def _tried_values(parameter: Parameter) -> list[JSON]:
    if isinstance(parameter, Categorical):
        return [parameter.at(place) for place in range(parameter.size)]
    return [parameter.from_code(code) for code in np.linspace(0, 1, TRIED_VALUES)]


def estimated(
    experiment: Experiment,
    space: SearchSpace,
    curve_of: CurveOf,
    *,
    slots: int,
    limit: Limit = no_limit,
) -> Estimate:
    """Returns what the search is likely to take, from a simulation on made-up curves.

    Of a search that only its target ends: what its first hundred trials take.
    """
    planned = planned_trials(experiment.search, space)
    simulated = min(planned, SIMULATED_TRIALS)
    search = experiment.search.model_copy(
        update={"method": "random", "trials": simulated, "target": None}
    )
    drawn = experiment.model_copy(update={"search": search})
    simulation = Simulation(drawn, space, curve_of, Cluster(workers=slots), limit=limit)
    done = simulation.run()
    trials, beyond = len(done.searched), len(done.beyond) / done.suggested
    if done.ended in ("epochs", "time") or trials < simulated:  # few are within the limits
        return Estimate(trials, simulation.clock, beyond)
    if (points := points_of(experiment.search, space)) is not None:
        planned = min(planned, round(points * (1 - beyond)))
    longer = planned / simulated
    for budget, spent in ((search.time, simulation.clock), (search.epochs, done.epochs_spent)):
        longer = longer if budget is None else min(longer, budget / spent)
    if longer * simulated >= MAX_TRIALS:
        longer = 1
    return Estimate(round(longer * simulated), longer * simulation.clock, beyond)


def made_up_curves(experiment: Experiment, *, classes: int, unit: float) -> CurveOf:
    """Returns curves whose times follow from the trial's work, and whose ranks are drawn by lot.

    `unit` is how many seconds an epoch takes for each multiply-accumulate of an image.
    """
    known: dict[str, Curve] = {}

    def curve_of(parameters: Mapping[str, JSON]) -> Curve:
        name = canonical(dict(parameters))
        if name not in known:
            tried = experiment_at(experiment, parameters)
            seconds = unit * _work(tried, classes=classes) if tried else 0.0
            epochs = tried.recipe.epochs if tried else 1
            lot = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
            metrics = {metric: [lot] * epochs for metric in CURVE_METRICS}
            known[name] = Curve(parameters, 0, metrics, seconds=[seconds] * epochs)
        return known[name]

    return curve_of


def _work_at(base: Experiment, parameters: Mapping[str, JSON], *, classes: int) -> float:
    """Returns a step's multiply-accumulates: a larger batch takes more memory, if not time."""
    tried = experiment_at(base, parameters)
    return _work(tried, classes=classes) * tried.recipe.batch_size if tried else 0.0


def _work(experiment: Experiment, *, classes: int) -> float:
    """Returns an image's multiply-accumulates, forward and backward."""
    size = complexity(experiment, classes=classes)
    return float(size.macs + 2 * size.backward_macs)
