"""Other tools' searchers and schedulers, asked and told without their processes."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from inat_ray.search.curves import CurveTable

METRIC = "val_accuracy"
FACTOR = 3


class Strategy(Protocol):
    """Another tool's searcher and scheduler, asked and told by `epochs_of_strategy`."""

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """(handle, parameters) of a new trial."""
        ...

    def tell(self, trial: Any, epoch: int, value: float, *, last: bool) -> bool:
        """Takes in an epoch; whether the trial goes on."""
        ...


class Optuna:
    """Optuna's sampler with a pruner, by its ask-and-tell interface."""

    def __init__(self, table: CurveTable, seed: int, *, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.pruned = optuna.trial.TrialState.PRUNED
        samplers = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
            "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        }
        pruner = (
            optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR)
            if sampler == "tpe"
            else optuna.pruners.NopPruner()
        )
        self.study = optuna.create_study(
            sampler=samplers[sampler](), pruner=pruner, direction="maximize"
        )
        self.choices = choices(table)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        trial = self.study.ask()
        texts = {name: trial.suggest_categorical(name, v) for name, v in self.choices.items()}
        return trial, {name: json.loads(text) for name, text in texts.items()}

    def tell(self, trial: Any, epoch: int, value: float, *, last: bool) -> bool:
        trial.report(value, epoch)
        if last:
            self.study.tell(trial, value)
        elif trial.should_prune():
            self.study.tell(trial, state=self.pruned)
            return False
        return True


class StockRay:
    """Ray's HyperOptSearch and AsyncHyperBandScheduler, driven without Ray's processes."""

    def __init__(self, table: CurveTable, seed: int) -> None:
        from hyperopt import hp
        from ray.tune.schedulers import AsyncHyperBandScheduler
        from ray.tune.search.hyperopt import HyperOptSearch

        np.random.seed(seed)  # brackets are drawn from the global generator
        space = {name: hp.choice(name, texts) for name, texts in choices(table).items()}
        self.searcher = HyperOptSearch(space, metric=METRIC, mode="max", random_state_seed=seed)
        self.scheduler = AsyncHyperBandScheduler(
            metric=METRIC,
            mode="max",
            max_t=max(c.epochs for c in table.curves),
            grace_period=1,
            reduction_factor=FACTOR,
        )
        self.number = 0

    def ask(self) -> tuple[Any, dict[str, Any]]:
        self.number += 1
        trial = _TuneTrial(f"t{self.number}")
        texts = self.searcher.suggest(trial.trial_id)
        self.scheduler.on_trial_add(None, trial)
        return trial, {name: json.loads(text) for name, text in texts.items()}

    def tell(self, trial: Any, epoch: int, value: float, *, last: bool) -> bool:
        result = {"training_iteration": epoch, METRIC: value}
        goes_on = not last
        if last:
            self.scheduler.on_trial_complete(None, trial, result)
        else:
            goes_on = self.scheduler.on_trial_result(None, trial, result) == "CONTINUE"
        if not goes_on:
            self.searcher.on_trial_complete(trial.trial_id, result=result)
        return goes_on


@dataclass(eq=False)
class _TuneTrial:
    """As much of Tune's trial as its scheduler looks at."""

    trial_id: str


def choices(table: CurveTable) -> dict[str, list[str]]:
    """Each parameter's values as text, which every tool takes as categories."""
    return {
        name: [json.dumps(p.at(place)) for place in range(p.size or 0)]
        for name, p in table.space.parameters.items()
    }
