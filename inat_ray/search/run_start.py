"""The first record of a search."""

from inat_ray.config.distributions import Numeric, Parameter
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import SearchSpace
from inat_ray.search.records import LOG_VERSION, ParameterKind, RunStarted
from inat_ray.search.searchers import planned_trials


def run_started(experiment: Experiment, space: SearchSpace) -> RunStarted:
    search = experiment.search
    return RunStarted(
        version=LOG_VERSION,
        name=experiment.name,
        method=search.method,
        metric=search.metric.name,
        goal=search.metric.goal,
        trials=planned_trials(search, space),
        epochs=experiment.recipe.epochs,
        parameters={name: parameter_kind(p) for name, p in space.parameters.items()},
    )


def parameter_kind(parameter: Parameter) -> ParameterKind:
    """What all values of a parameter have in common."""
    if isinstance(parameter, Numeric):
        return "number"
    if all(isinstance(value, bool) for value in parameter.values):
        return "boolean"
    # A bool is an int to Python, but not to a reader of the table.
    numbers = (isinstance(v, int | float) and not isinstance(v, bool) for v in parameter.values)
    return "number" if all(numbers) else "string"
