"""The numbers of result.json: computed from the log, the data and the model."""

import platform
from importlib.metadata import version

from inat_ray import __version__
from inat_ray.config.errors import RunFailedError
from inat_ray.config.experiment import Experiment
from inat_ray.config.metrics import METRICS, Tally
from inat_ray.config.trial import trial_experiment
from inat_ray.data.dataset import DataSet
from inat_ray.data.split import SubsetName
from inat_ray.log.costs import images_per_second
from inat_ray.log.history import History, TrialHistory
from inat_ray.log.records import LookAtTest
from inat_ray.models.complexity import complexity
from inat_ray.run.result import Result
from inat_ray.search.study import Configuration, configurations, seed_is_searched
from inat_ray.search.winner import confirmed, winning_trial
from inat_ray.training.machine import machine
from inat_ray.training.scores import Assessment, wilson_interval

PREFIXES = {"train": "train", "validation": "val", "test": "test"}
"""How the names of a subset's numbers in the result begin."""

REPORTED_VERSIONS = ("torch", "torchvision", "ray", "hyperopt", "numpy", "pillow")


def training_result(trial: TrialHistory, *, experiment: Experiment, data: DataSet) -> Result:
    """Returns the result of one training: its best epoch, its cost, its model.

    `seconds` are those of its epochs, and `images_per_second` is the median over the epochs after
    the first, which warms up. Raises RunFailedError if no epoch has a result.
    """
    metric = experiment.search.metric
    best = trial.best(metric.name)
    if best is None:
        raise RunFailedError(
            f"{trial.trial_id}: the loss was NaN or infinite in the first epoch; lower recipe.lr,"
            " or set recipe.gradient_clip"
        )
    size = complexity(experiment, classes=len(data.classes))
    return {
        "name": experiment.name,
        "training": trial.trial_id,
        "state": trial.state,
        **best.metrics(),
        "best_epoch": best.epoch,
        "epochs": len(trial.epochs),
        "seconds": sum(epoch.seconds for epoch in trial.epochs),
        "images_per_second": images_per_second(trial),
        "parameters": size.parameters,
        "trainable_parameters": size.trainable_parameters,
        "macs": size.macs,
        "seed": trial.seed,
        "data": data_result(data),
        "versions": versions(),
        "machine": machine(),
    }


def data_result(data: DataSet) -> Result:
    """Returns the data as it was used: images by subset, and what was left out and why."""
    return {
        "classes": data.pack.classes,
        "images": images_by_subset(data),
        "quarantined": {image.name: image.reason for image in data.pack.quarantined},
        "passed_over": dict(data.pack.passed_over),
        "duplicates": list(data.split.duplicates),
        "pack": str(data.pack.path),
    }


def images_by_subset(data: DataSet) -> dict[str, int]:
    return {name: len(data.subset(name)) for name in data.SUBSETS}


def look_result(look: LookAtTest) -> Result:
    """Returns what a look at the test set adds to a result."""
    return {
        "test_accuracy": look.accuracy,
        "test_accuracy_interval": list(wilson_interval(look.accuracy, look.images)),
        "test_loss": look.loss,
        "test_ece": look.ece,
        "test_images": look.images,
    }


def evaluation_result(tally: Tally, *, subset: SubsetName) -> Result:
    """Returns what the evaluation of a subset other than the test set adds to a result."""
    prefix = PREFIXES[subset]
    metrics = {
        name.replace("val", prefix, 1): metric.compute(tally) for name, metric in METRICS.items()
    }
    return metrics | {
        f"{prefix}_accuracy_interval": list(wilson_interval(tally.accuracy, tally.images)),
        f"{prefix}_images": tally.images,
    }


def assessment_result(assessment: Assessment, *, subset: SubsetName) -> Result:
    """Returns scores by class on a subset, and how far the probabilities can be trusted."""
    prefix = PREFIXES[subset]
    result = {
        f"{prefix}_ece": assessment.ece,
        f"{prefix}_macro_precision": assessment.macro_precision,
        f"{prefix}_macro_recall": assessment.macro_recall,
        f"{prefix}_macro_f1": assessment.macro_f1,
        f"{prefix}_classes": {
            scores.name: {
                "precision": scores.precision,
                "recall": scores.recall,
                "f1": scores.f1,
                "images": scores.images,
            }
            for scores in assessment.classes
        },
    }
    if assessment.top5_accuracy is not None:
        result[f"{prefix}_top5_accuracy"] = assessment.top5_accuracy
    return result


def search_result(history: History, *, experiment: Experiment, data: DataSet) -> Result:
    """Returns what the search did: its winner, trials by state, epochs spent and saved.

    The score is that of the best trial, and the best of many trials was lucky: it is optimistic. If
    the search has limits, the result also says how many points were beyond them; if seeds are
    searched or configurations confirmed, it has the configurations, best first.
    """
    winner, sure = winning_trial(history), confirmed(history)
    best = history.leader if sure else winner
    assert winner is not None
    assert best is not None
    result: Result = {
        "ended": history.ended,
        "winner": winner.trial_id,
        "parameters": winner.parameters,
        "best_trial": best.trial_id,
        "score": history.score_value(best),
        history.run.metric: history.best_value(best),
        "trials": dict(+history.states),
        "epochs": history.epochs_spent,
        "epochs_saved": history.epochs_saved,
    }
    if history.picked is not None:
        result["picked"] = history.picked.trial_id
    if experiment.search.limits is not None:
        result["beyond_limits"] = len(history.beyond)
    if seed_is_searched(history):
        found = configurations(history)
        result["study"] = [_over_seeds(each, experiment, data) for each in found]
    if sure:
        found = configurations(history, purpose="confirm")
        result["confirmed"] = [_over_seeds(each, experiment, data) for each in found]
    return result


def _over_seeds(configuration: Configuration, experiment: Experiment, data: DataSet) -> Result:
    """Returns a configuration's scores over its seeds; `sd` is None for one trial."""
    first = configuration.trials[0]
    tried = trial_experiment(experiment, parameters=first.parameters, seed=first.seed)
    size = complexity(tried, classes=len(data.classes))
    return {
        "parameters": configuration.parameters,
        "trials": [trial.trial_id for trial in configuration.trials],
        "n": configuration.n,
        "mean": configuration.mean,
        "sd": configuration.sd,
        "seconds_per_epoch": configuration.seconds_per_epoch,
        "trainable_parameters": size.trainable_parameters,
    }


def versions() -> dict[str, str]:
    return {"python": platform.python_version(), "inat_ray": __version__} | {
        name: version(name) for name in REPORTED_VERSIONS
    }
