"""Other tools' searchers and schedulers, asked and told without their processes.

Numbers are given to them as quantiles of their own scale, and lists as text. Each hands over the
trial that it would name itself.
"""

import datetime
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from inat_ray.config.distributions import Categorical, Numeric
from inat_ray.config.space import SearchSpace

METRIC = "val_accuracy"
EPOCH = "training_iteration"
FACTOR = 3


@dataclass(eq=False)
class Trial:
    """A trial of another tool, which also is as much of its own as that tool looks at."""

    trial_id: Any
    config: dict[str, Any]
    creation_time: datetime.datetime = field(default_factory=datetime.datetime.now)
    values: list[float] = field(default_factory=list)
    """The metric after each epoch so far."""
    is_complete: bool = False
    own: Any = None


class Strategy(Protocol):
    """Another tool's searcher and scheduler."""

    def ask(self) -> Trial:
        """Returns a new trial."""
        ...

    def tell(self, trial: Trial, *, last: bool) -> bool:
        """Takes in an epoch, the newest of the trial's values; whether the trial goes on."""
        ...

    def standing(self, trial: Trial) -> Any:
        """The trial with the highest is handed over."""
        ...


class Optuna:
    """`create_study()` as it is (multivariate TPE, constant liar, median pruner), or with halving.

    It names the best final value of those that were not pruned; before there is one, a user looks
    at the best value so far.
    """

    def __init__(self, space: SearchSpace, seed: int, *, epochs: int, halving: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.states, self.space = optuna.trial.TrialState, space
        self.study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.SuccessiveHalvingPruner(1, FACTOR) if halving else None,
        )

    def ask(self) -> Trial:
        own = self.study.ask()
        config = {
            name: own.suggest_categorical(name, texts(p))
            if isinstance(p, Categorical)
            else own.suggest_float(name, 0.0, 1.0)
            for name, p in self.space.parameters.items()
        }
        return Trial(own.number, config, own=own)

    def tell(self, trial: Trial, *, last: bool) -> bool:
        trial.own.report(trial.values[-1], len(trial.values))
        if last:
            self.study.tell(trial.own, trial.values[-1])
        elif trial.own.should_prune():
            self.study.tell(trial.own, state=self.states.PRUNED)
            return False
        return True

    def standing(self, trial: Trial) -> Any:
        return trial.is_complete, trial.values[-1] if trial.is_complete else max(trial.values)


class StockRay:
    """Ray's HyperOptSearch and AsyncHyperBandScheduler; it names the best last value."""

    def __init__(self, space: SearchSpace, seed: int, *, epochs: int) -> None:
        from hyperopt import hp
        from ray.tune.schedulers import AsyncHyperBandScheduler
        from ray.tune.search.hyperopt import HyperOptSearch

        np.random.seed(seed)  # brackets are drawn from the global generator
        own_space = {
            name: hp.choice(name, texts(p))
            if isinstance(p, Categorical)
            else hp.uniform(name, 0, 1)
            for name, p in space.parameters.items()
        }
        self.searcher = HyperOptSearch(own_space, metric=METRIC, mode="max", random_state_seed=seed)
        self.scheduler = AsyncHyperBandScheduler(
            metric=METRIC, mode="max", max_t=epochs, grace_period=1, reduction_factor=FACTOR
        )
        self.number = 0

    def ask(self) -> Trial:
        self.number += 1
        name = f"t{self.number}"
        trial = Trial(name, self.searcher.suggest(name))
        self.scheduler.on_trial_add(None, trial)
        return trial

    def tell(self, trial: Trial, *, last: bool) -> bool:
        result = {EPOCH: len(trial.values), METRIC: trial.values[-1]}
        goes_on = not last
        if last:
            self.scheduler.on_trial_complete(None, trial, result)
        else:
            goes_on = self.scheduler.on_trial_result(None, trial, result) == "CONTINUE"
        if not goes_on:
            self.searcher.on_trial_complete(trial.trial_id, result=result)
        return goes_on

    def standing(self, trial: Trial) -> Any:
        return trial.values[-1]


class SyneTune:
    """Syne Tune's BOHB (its kernel densities under ASHA) or its conformal quantile regression.

    It names the best value of any epoch.
    """

    def __init__(self, space: SearchSpace, seed: int, *, epochs: int, rule: str) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        from syne_tune import config_space
        from syne_tune.optimizer import baselines

        np.random.seed(seed)
        own_space = {
            name: config_space.choice(texts(p))
            if isinstance(p, Categorical)
            else config_space.uniform(0.0, 1.0)
            for name, p in space.parameters.items()
        }
        self.scheduler = getattr(baselines, rule)(
            own_space,
            metric=METRIC,
            time_attr=EPOCH,
            max_t=epochs,
            do_minimize=False,
            random_seed=seed,
            reduction_factor=FACTOR,
        )
        self.number = 0

    def ask(self) -> Trial:
        self.number += 1
        trial = Trial(self.number, self.scheduler.suggest().config)
        self.scheduler.on_trial_add(trial)
        return trial

    def tell(self, trial: Trial, *, last: bool) -> bool:
        result = {EPOCH: len(trial.values), METRIC: trial.values[-1]}
        if last:
            self.scheduler.on_trial_complete(trial, result)
            return False
        return bool(self.scheduler.on_trial_result(trial, result) == "CONTINUE")

    def standing(self, trial: Trial) -> Any:
        return max(trial.values)


def texts(parameter: Categorical) -> list[str]:
    return [json.dumps(parameter.at(place)) for place in range(parameter.size)]


def point_of(space: SearchSpace, config: Mapping[str, Any]) -> dict[str, Any]:
    """The point that a tool's suggestion means, without what does not exist there."""
    point = {
        name: p.from_code(config[name]) if isinstance(p, Numeric) else json.loads(config[name])
        for name, p in space.parameters.items()
    }
    return space.existing(point)
