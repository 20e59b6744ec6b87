"""The experiment of one trial: that of the search, with the trial's values."""

from collections.abc import Mapping

from pydantic import ValidationError

from inat_ray.config.distributions import JSON
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.faults import explain
from inat_ray.config.overrides import DECIDING


def with_parameters(experiment: Experiment, parameters: Mapping[str, JSON]) -> Experiment:
    """Returns the experiment with the dotted settings replaced.

    A model of another kind takes over nothing. An image size that is not set is the model's.

    Raises pydantic's ValidationError where they do not go together, and KeyError where a name leads
    through a setting that is no section.
    """
    # Without the search, which may be large and stays as it is.
    tree = experiment.model_dump(exclude={"search"})
    for name, value in sorted(parameters.items(), key=_outer_first):
        branch = tree
        *path, leaf = name.split(".")
        for part in path:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise KeyError(name)
        if name in DECIDING and branch.get(leaf) != value:
            branch.clear()
        branch[leaf] = value
    return Experiment.model_validate(tree).model_copy(update={"search": experiment.search})


def experiment_at(experiment: Experiment, point: Mapping[str, JSON]) -> Experiment | None:
    """Returns it with these settings; None where they are an invalid combination."""
    try:
        return with_parameters(experiment, point)
    except ValidationError:
        return None


def _outer_first(setting: tuple[str, JSON]) -> tuple[int, bool]:
    """Sorts sections before their parts, and first what decides which parts there are."""
    name = setting[0]
    return name.count("."), name not in DECIDING


def trial_experiment(base: Experiment, *, parameters: dict[str, JSON], seed: int) -> Experiment:
    """Returns the resolved experiment of one trial.

    Raises UserError where values that are allowed one by one do not go together.
    """
    try:
        resolved = with_parameters(base, parameters)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    return resolved.model_copy(update={"seed": seed})


def final_experiment(base: Experiment, *, parameters: dict[str, JSON], seed: int) -> Experiment:
    """Returns the resolved experiment of the winner's training. Raises as `trial_experiment`."""
    trial = trial_experiment(base, parameters=parameters, seed=seed)
    if base.search.final_validation_fraction is None:
        return trial
    fraction = base.final_validation_fraction
    return with_parameters(trial, {"data.validation_fraction": fraction, "recipe.keep": "last"})


def value_at(tree: JSON, name: str) -> JSON:
    """Returns the setting of that dotted name in an experiment's tree; None where there is none."""
    for part in name.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
