"""What a sweep would do, before it does it: first points, the largest model, the time it takes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from inat_ray.config.distributions import JSON, Categorical, canonical
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.resources import Resources
from inat_ray.config.space import SearchSpace, trial_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.log.history import History
from inat_ray.models.complexity import Complexity, complexity
from inat_ray.search.agenda import Work, run_started, search_agenda
from inat_ray.search.curves import CURVE_METRICS, Curve
from inat_ray.search.simulate import Cluster, Simulation
from inat_ray.training.rehearsal import Rehearsal, rehearse
from inat_ray.tuning.engine import worker_device

SHOWN_SUGGESTIONS = 8
SIMULATED_TRIALS = 100
"""The time of further trials is extrapolated."""
TRIED_VALUES = 5
"""How many values of a numeric parameter are tried in search of the largest model."""


@dataclass(frozen=True)
class DryRun:
    """The findings of a dry run."""

    suggestions: list[Work]
    largest: dict[str, JSON]
    """The point with the most work in a step."""
    complexity: Complexity
    rehearsal: Rehearsal
    trials: int
    seconds: float
    """Estimate for the search."""


def dry_run(
    experiment: Experiment,
    space: SearchSpace,
    *,
    data: DataSet,
    resources: Resources,
    slots: int,
) -> DryRun:
    """Trains the largest model for a few steps and estimates the search; `slots`: trials at once.

    Raises RunFailedError if that model does not train, UserError if one of the first trials is not
    a valid experiment.
    """
    classes = len(data.classes)
    first = first_suggestions(experiment, space)
    for work in first:
        trial_experiment(experiment, parameters=work.parameters, seed=work.seed)
    largest = largest_point(experiment, space, classes=classes)
    tried = _experiment_at(experiment, largest)
    assert tried is not None
    device, threads = worker_device(resources), resources.cpus_per_worker
    rehearsal = rehearse(tried, data, device=device, threads=threads)
    steps = len(data.split.train) / rehearsal.images
    # Validation is a forward pass, a third of a training step's work.
    epoch = rehearsal.seconds * (steps + len(data.split.validation) / rehearsal.images / 3)
    costs = Costs(experiment, classes=classes, unit=epoch / _work(tried, classes=classes))
    trials, seconds = estimated(experiment, space, costs, slots=slots)
    return DryRun(
        suggestions=first,
        largest=largest,
        complexity=complexity(tried, classes=classes),
        rehearsal=rehearsal,
        trials=trials,
        seconds=seconds,
    )


def first_suggestions(experiment: Experiment, space: SearchSpace) -> list[Work]:
    """The trials that would begin first, none of them with a result yet."""
    agenda, history = search_agenda(experiment, space), History()
    history.add(run_started(experiment, space))
    works: list[Work] = []
    while len(works) < SHOWN_SUGGESTIONS and isinstance(work := agenda(history), Work):
        works.append(work)
        history.add(work.record())
    return works


def largest_point(experiment: Experiment, space: SearchSpace, *, classes: int) -> dict[str, JSON]:
    """Finds the point with the most multiply-accumulates in a step, parameter by parameter.

    It begins at the costliest of the first trials, so that none of them takes more. Work grows with
    each of the parameters that matter, whatever the others are, so one pass finds it; where two
    values do not go together, the pass keeps to what does.
    """
    first = [work.parameters for work in first_suggestions(experiment, space)]
    point = max(first, key=lambda point: _work_at(experiment, point, classes=classes))
    most = _work_at(experiment, point, classes=classes)
    for name, parameter in space.parameters.items():
        for value in (
            [parameter.at(place) for place in range(parameter.size)]
            if isinstance(parameter, Categorical)
            else [parameter.from_code(code) for code in np.linspace(0, 1, TRIED_VALUES)]
        ):
            there = space.existing({**_middle(space), **point, name: value})
            work = _work_at(experiment, there, classes=classes)
            if work > most:
                point, most = there, work
    return point


def estimated(
    experiment: Experiment, space: SearchSpace, costs: "Costs", *, slots: int
) -> tuple[int, float]:
    """(trials, seconds) of the search, simulated on trials whose ranks are drawn by lot."""
    history = History()
    history.add(run_started(experiment, space))
    planned = history.planned_trials
    simulated = min(planned, SIMULATED_TRIALS)
    search = experiment.search.model_copy(
        update={"method": "random", "trials": simulated, "target": None}
    )
    drawn = experiment.model_copy(update={"search": search})
    simulation = Simulation(drawn, space, costs, Cluster(workers=slots))
    done = simulation.run()
    if done.ended in ("epochs", "time"):
        return len(done.searched), simulation.clock
    seconds = simulation.clock * planned / simulated
    limit = experiment.search.time
    return planned, seconds if limit is None else min(seconds, limit)


@dataclass
class Costs:
    """Curves of made-up trials: their times follow from their work, their ranks are drawn."""

    experiment: Experiment
    classes: int
    unit: float
    """Seconds of an epoch for a multiply-accumulate of an image."""
    _known: dict[str, Curve] = field(default_factory=dict)

    def curve(self, parameters: Mapping[str, JSON]) -> Curve:
        name = canonical(dict(parameters))
        if name not in self._known:
            tried = _experiment_at(self.experiment, parameters)
            seconds = self.unit * _work(tried, classes=self.classes) if tried else 0.0
            epochs = tried.recipe.epochs if tried else 1
            digest = hashlib.sha256(name.encode()).digest()
            score = int.from_bytes(digest[:4], "big") / 2**32
            metrics = {metric: [score] * epochs for metric in CURVE_METRICS}
            self._known[name] = Curve(parameters, 0, metrics, seconds=[seconds] * epochs)
        return self._known[name]


def _experiment_at(base: Experiment, parameters: Mapping[str, JSON]) -> Experiment | None:
    """Returns None if the values are an invalid combination."""
    try:
        return trial_experiment(base, parameters=dict(parameters), seed=base.seed)
    except UserError:
        return None


def _middle(space: SearchSpace) -> dict[str, JSON]:
    """A value of every parameter, so that none is missing once its condition is met."""
    return {name: parameter.from_unit(0.5) for name, parameter in space.parameters.items()}


def _work_at(base: Experiment, parameters: Mapping[str, JSON], *, classes: int) -> float:
    """Multiply-accumulates of a step; a larger batch takes more memory, if not more time."""
    tried = _experiment_at(base, parameters)
    return _work(tried, classes=classes) * tried.recipe.batch_size if tried else 0.0


def _work(experiment: Experiment, *, classes: int) -> float:
    """Multiply-accumulates of an image, forwards and backwards."""
    size = complexity(experiment, classes=classes)
    return float(size.macs + 2 * size.backward_macs)
