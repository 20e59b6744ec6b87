"""What to try next: suggestions as pure functions of (space, history, seed, number).

Nothing here keeps state, so a search can be replayed, resumed and simulated from its log.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hyperopt import Trials, hp, tpe
from hyperopt.base import JOB_STATE_DONE, STATUS_OK, Domain

from inat_ray.config.experiment import SearchConfig
from inat_ray.config.space import Categorical, Parameter, SearchSpace
from inat_ray.tuning.run_log import JSON, History, TrialHistory

Suggest = Callable[[SearchSpace, History, int, int], dict[str, JSON]]
"""(space, history, seed, number of the trial, counted from 0) -> parameters."""

DEFAULT_TRIALS = 10
"""Of a random or Bayesian search that does not say how many."""

MAX_OBSERVATIONS = 500
"""TPE is told of the newest only: a suggestion's cost grows with them (25 ms at 2,000)."""


def searcher(config: SearchConfig) -> Suggest:
    """The suggestion function of a search's method."""
    if config.method == "random":
        return suggest_random
    if config.method == "grid":
        return suggest_grid

    def suggest(space: SearchSpace, history: History, seed: int, number: int) -> dict[str, JSON]:
        if number < startup_trials(planned_trials(config, space)):
            return suggest_random(space, history, seed, number)
        return suggest_tpe(space, history, seed, number)

    return suggest


def planned_trials(config: SearchConfig, space: SearchSpace) -> int:
    """How many trials a search runs: never more than the points of a grid."""
    if config.method == "grid":
        return min(config.trials or space.points, space.points)
    return config.trials or DEFAULT_TRIALS


def startup_trials(trials: int) -> int:
    """Random suggestions before TPE takes over: a third of a small sweep, 20 of a large one.

    HyperOpt's own 20 would make a 16-trial sweep a random one.
    """
    return min(20, max(4, round(trials / 3)))


def suggest_random(
    space: SearchSpace, _history: History, seed: int, number: int
) -> dict[str, JSON]:
    """Independent draws; the number-th suggestion is the same whatever came before it."""
    rng = np.random.default_rng([seed, number])
    return space.from_units({name: float(rng.random()) for name in space.parameters})


def suggest_grid(space: SearchSpace, _history: History, _seed: int, number: int) -> dict[str, JSON]:
    """The number-th point of the grid; the parameter listed last varies fastest."""
    places = np.unravel_index(number, space.sizes)
    return {
        name: parameter.at(int(place))
        for (name, parameter), place in zip(space.parameters.items(), places, strict=True)
    }


def suggest_tpe(space: SearchSpace, history: History, seed: int, number: int) -> dict[str, JSON]:
    """HyperOpt's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011)."""
    searched = {name: p for name, p in space.parameters.items() if not _is_constant(p)}
    if not searched:
        return suggest_random(space, history, seed, number)
    domain = Domain(_never_called, {name: _latent(name, p) for name, p in searched.items()})
    trials = _as_hyperopt_trials(searched, observations(history))
    rng_seed = int(np.random.default_rng([seed, number]).integers(2**31))
    # Start-up is over when this is called, so HyperOpt's own random phase is switched off.
    [proposal] = tpe.suggest([number], domain, trials, rng_seed, n_startup_jobs=0, verbose=False)
    latents = proposal["misc"]["vals"]
    return {
        name: _decode(p, latents[name][0]) if name in searched else p.from_unit(0.0)
        for name, p in space.parameters.items()
    }


def observations(history: History) -> list[tuple[dict[str, JSON], float]]:
    """(parameters, loss) of the search's trials, in order of start; lower is better.

    A trial counts by its best epoch so far, running ones too. One that failed or diverged
    without any result counts as the worst seen, so that TPE keeps away from such points;
    NaN never gets through.
    """
    assert history.run is not None
    scored: list[tuple[TrialHistory, float | None]] = []
    for trial in history.searched:
        loss = _loss(trial, history.run.metric, history.run.goal)
        if loss is not None or trial.state in ("failed", "diverged"):
            scored.append((trial, loss))
    known = [loss for _, loss in scored if loss is not None]
    worst = max(known, default=0.0)
    told = [
        (trial.parameters, worst if loss is None or trial.state == "diverged" else loss)
        for trial, loss in scored
    ]
    return told[-MAX_OBSERVATIONS:]


def _loss(trial: TrialHistory, metric: str, goal: Any) -> float | None:
    best = trial.best(metric, goal)
    if best is None:
        return None
    value = float(getattr(best, metric))
    return -value if goal == "maximize" else value


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


def _as_hyperopt_trials(
    searched: dict[str, Parameter], told: Sequence[tuple[dict[str, JSON], float]]
) -> Trials:
    trials = Trials()
    for tid, (parameters, loss) in enumerate(told):
        latents = {name: [_encode(p, parameters[name])] for name, p in searched.items()}
        misc = {
            "tid": tid,
            "cmd": ("domain_attachment", "FMinIter_Domain"),
            "idxs": {name: [tid] for name in searched},
            "vals": latents,
        }
        [doc] = trials.new_trial_docs([tid], [None], [{"status": STATUS_OK, "loss": loss}], [misc])
        doc["state"] = JOB_STATE_DONE
        trials.insert_trial_doc(doc)
    trials.refresh()
    return trials


def _never_called(_: Any) -> float:
    raise AssertionError("HyperOpt only proposes; the trials are run by Ray Tune")
