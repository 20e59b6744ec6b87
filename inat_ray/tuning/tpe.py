"""HyperOpt's tree-structured Parzen estimator as a function (Bergstra et al., NeurIPS 2011)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hyperopt import Trials, hp, tpe
from hyperopt.base import JOB_STATE_DONE, STATUS_OK, Domain

from inat_ray.config.space import Categorical, Parameter, SearchSpace
from inat_ray.tuning.records import JSON


@dataclass(frozen=True)
class Observation:
    """What a point of the space gave; lower is better."""

    parameters: Mapping[str, JSON]
    loss: float


def propose(space: SearchSpace, told: Sequence[Observation], *, seed: int) -> dict[str, JSON]:
    """The point that TPE would try next; of a parameter's condition it sees what it is told.

    Observations need not name every parameter: each is modelled on those that do.
    """
    searched = {name: p for name, p in space.parameters.items() if not _is_constant(p)}
    domain = Domain(_never_called, {name: _latent(name, p) for name, p in searched.items()})
    trials = _as_hyperopt_trials(searched, told)
    # Start-up is over when this is called, so HyperOpt's own random phase is switched off.
    [proposal] = tpe.suggest([len(told)], domain, trials, seed, n_startup_jobs=0, verbose=False)
    latents = proposal["misc"]["vals"]
    point = {
        name: _decode(p, latents[name][0]) if name in searched else p.from_unit(0.0)
        for name, p in space.parameters.items()
    }
    return space.existing(point)


def _is_constant(parameter: Parameter) -> bool:
    return isinstance(parameter, Categorical) and len(parameter.values) == 1


def _latent(name: str, parameter: Parameter) -> Any:
    """HyperOpt's variable: the index of a category, or the quantile of a number.

    Categories never reach HyperOpt themselves: it would turn lists into tuples.
    """
    if isinstance(parameter, Categorical):
        return hp.pchoice(name, [(p, i) for i, p in enumerate(parameter.probabilities)])
    return hp.uniform(name, 0.0, 1.0)


def _encode(parameter: Parameter, value: JSON) -> int | float:
    if isinstance(parameter, Categorical):
        return parameter.index(value)
    return parameter.to_unit(value)


def _decode(parameter: Parameter, latent: int | float) -> JSON:
    if isinstance(parameter, Categorical):
        return parameter.values[int(latent)]
    return parameter.from_unit(min(float(latent), math.nextafter(1.0, 0.0)))


def _as_hyperopt_trials(searched: Mapping[str, Parameter], told: Sequence[Observation]) -> Trials:
    trials = Trials()
    for tid, observation in enumerate(told):
        given = observation.parameters
        latents = {
            name: [_encode(p, given[name])] if name in given else [] for name, p in searched.items()
        }
        misc = {
            "tid": tid,
            "cmd": ("domain_attachment", "FMinIter_Domain"),
            "idxs": {name: [tid] * len(latents[name]) for name in searched},
            "vals": latents,
        }
        result = {"status": STATUS_OK, "loss": observation.loss}
        [doc] = trials.new_trial_docs([tid], [None], [result], [misc])
        doc["state"] = JOB_STATE_DONE
        trials.insert_trial_doc(doc)
    trials.refresh()
    return trials


def _never_called(_: Any) -> float:
    raise AssertionError("HyperOpt only proposes; the trials are run by Ray Tune")
