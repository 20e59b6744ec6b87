"""Three finished runs to look at and to test the page with, in seconds and without training.

    python -m tests.page.made_runs FOLDER [PHOTOGRAPHS]

Each is what its search decides on made-up curves (or, for the study, on recorded ones): `twelve`
trials, confirmed; a `hundred` of thirteen parameters, some of which depend on others, with a break
of 17 minutes; and `freeze`, a study over seeds that has no model yet. Models are untrained and
their predictions made up, so pictures of what they look at mean nothing.
"""

import math
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inat_ray.config.distributions import canonical
from inat_ray.config.experiment import Experiment
from inat_ray.config.load import load_experiment
from inat_ray.config.space import search_space
from inat_ray.config.trial import trial_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.history import History
from inat_ray.log.records import (
    AnyRecord,
    EpochEnded,
    LookAtTest,
    RunResumed,
    TrialEnded,
    TrialResumed,
)
from inat_ray.run.curve_files import read_curves
from inat_ray.run.folder import RunFolder
from inat_ray.run.result import write_result
from inat_ray.run.result_content import look_result, training_result
from inat_ray.search.agenda import Work, confirm_agenda, next_work, to_confirm
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveOf
from inat_ray.search.simulate import Cluster, Simulation, epoch_of
from inat_ray.search.winner import winning_trial
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import model_writer
from inat_ray.training.fit import Fit
from inat_ray.training.predictions import Predictions, write_predictions
from inat_ray.training.scores import assess
from tests.run.made_up_runs import create_run, write_log

STARTED, BREAK = 1_800_000_000.0, 17 * 60.0
"""Seconds since 1970, and seconds."""

TABLE = Path(__file__).parents[2] / "experiments" / "tables" / "finetune_lite0_224px.parquet"

TWELVE = """
name: twelve
data: {image_size: 32}
model: {filters: [16, 32, 64, 64, 128], dense: 128}
recipe: {lr: 3.0e-3, batch_size: 32, epochs: 9, schedule: cosine}
search:
  method: bayes
  trials: 12
  parameters:
    model.activation: {values: [relu, gelu, silu, mish]}
    model.batch_norm: {values: [true, false]}
    model.dropout: {distribution: uniform, min: 0.0, max: 0.5}
    recipe.augment: {values: [true, false]}
    recipe.lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}
  early_stopping: {kind: asha_promotion, min_epochs: 1, reduction_factor: 3}
  confirm: {top: 3, seeds: 3}
"""

HUNDRED = """
name: hundred
data: {image_size: 64}
model: {filters: [16, 32, 64, 64, 128]}
recipe: {epochs: 27, schedule: cosine}
search:
  method: bayes
  trials: 100
  parameters:
    model.filters: {values: [[8, 16, 32, 64, 128], [32, 32, 32, 32, 32], [16, 32, 64, 64, 128]]}
    model.activation: {values: [relu, gelu, silu, mish]}
    model.batch_norm: {values: [true, false]}
    model.dense: {values: [64, 128, 256]}
    model.dropout: {distribution: uniform, min: 0.0, max: 0.6}
    recipe.optimizer: {values: [adamw, sgd, muon]}
    recipe.momentum: {distribution: uniform, min: 0.7, max: 0.99, when: {recipe.optimizer: sgd}}
    recipe.lr: {distribution: log_uniform_values, min: 1.0e-4, max: 3.0e-1}
    recipe.weight_decay: {distribution: log_uniform_values, min: 1.0e-3, max: 0.3}
    recipe.label_smoothing: {values: [0.0, 0.1]}
    recipe.batch_size: {values: [32, 64, 128]}
    recipe.augment: {values: [true, false]}
    recipe.augmentation.crop_scale:
      {distribution: uniform, min: 0.3, max: 0.9, when: {recipe.augment: true}}
  early_stopping: {kind: asha, min_epochs: 1, reduction_factor: 3}
  confirm: {top: 5, seeds: 3}
"""


def main(folder: Path, photographs: str = "demo") -> None:
    """Writes the three runs; `photographs` is the source of the first two's images."""
    write_run(folder / "twelve", TWELVE, photographs, workers=2)
    write_run(folder / "hundred", HUNDRED, photographs, workers=4, broken_after=600)
    write_study(folder / "freeze")


def write_run(
    path: Path, text: str, photographs: str, *, workers: int, broken_after: int | None = None
) -> RunFolder:
    """Writes a search with its confirmation, its model and a look at the test set."""
    source = path.with_suffix(".yaml")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8")
    lines = [f"data.source={photographs}", "data.demo_images_per_class=30", "device=cpu"]
    experiment = load_experiment(source, settings=lines)
    data = open_dataset(experiment.data)
    run = create_run(path, experiment, overwrite=True)
    records = searched(experiment, workers=workers)
    if broken_after:
        records = broken(records, after=broken_after)
    history = folded(records)
    records += after_search(experiment, history)
    predictions = predicted(data, accuracy=history.leader and history.score_value(history.leader))
    look = look_at(predictions)
    records.append(look.model_copy(update={"time": records[-1].time + 2}))
    write_log(run, records)
    write_predictions(predictions, path / look.predictions)
    history = folded(records)
    winner, final = winning_trial(history), history.final
    assert winner is not None
    assert final is not None
    model = trial_experiment(experiment, parameters=winner.parameters, seed=winner.seed)
    model_writer(Fit(model, data), training=final.trial_id)(Place.at(run.model))
    result = training_result(final, experiment=model, data=data) | look_result(look)
    write_result(result, run.result)
    return run


def write_study(path: Path) -> RunFolder:
    """Writes a study of what to freeze, of recorded trainings; nothing followed the search."""
    table = read_curves(TABLE)
    run = create_run(path, table.experiment, overwrite=True)
    write_log(run, searched(table.experiment, workers=8, curve_of=table.curve))
    return run


def searched(
    experiment: Experiment, *, workers: int, curve_of: CurveOf | None = None
) -> list[AnyRecord]:
    """Returns the records of a whole search, on made-up curves unless `curve_of` has others."""
    records: list[AnyRecord] = []
    curves = curve_of or (lambda parameters: made_curve(experiment, parameters, seed=0))
    simulation = Simulation(experiment, search_space(experiment), curves, Cluster(workers))
    records.append(simulation.history.run)
    add = simulation.history.add

    def keep(record: AnyRecord) -> None:
        if isinstance(record, EpochEnded):
            parameters = simulation.history.trials[record.trial_id].parameters
            record = described(record, parameters, time=record.time)
        add(record)
        records.append(record)

    simulation.history.add = keep  # type: ignore[method-assign]
    simulation.run()
    return [told(record, shift=STARTED) for record in records]


def told(record: AnyRecord, *, shift: float) -> AnyRecord:
    return record.model_copy(update={"time": record.time + shift})


def broken(records: Sequence[AnyRecord], *, after: int) -> list[AnyRecord]:
    """Returns the records of the same search, cut off after some of them and resumed later."""
    before = folded(records[:after])
    time = records[after - 1].time + BREAK
    resumed: list[AnyRecord] = [RunResumed(time=time, trials=before.planned_trials)]
    resumed += [
        TrialResumed(time=time, trial_id=trial.trial_id, epochs=len(trial.epochs))
        for trial in before.active.values()
    ]
    return [*records[:after], *resumed, *(told(r, shift=BREAK) for r in records[after:])]


def after_search(experiment: Experiment, history: History) -> list[AnyRecord]:
    """Returns the records of the confirmation and of the kept model's training."""
    newest = history.newest
    assert newest is not None
    time, records = newest.time, []

    def tell(record: AnyRecord) -> None:
        records.append(record)
        history.add(record)

    agenda = confirm_agenda(experiment, to_confirm(experiment, history))
    while isinstance(work := next_work(agenda, history, tell), Work):
        time = _trained(experiment, work, time, tell)
    winner = winning_trial(history)
    assert winner is not None
    final = Work("winner", "final", winner.seed, winner.parameters, winner.planned_epochs)
    _trained(experiment, final, time, tell)
    return records


def _trained(experiment: Experiment, work: Work, time: float, tell) -> float:
    tell(work.record().model_copy(update={"time": time}))
    curve = made_curve(experiment, work.parameters, seed=work.seed)
    for done in range(work.planned_epochs):
        time += curve.seconds[done]
        tell(described(epoch_of(curve, work.trial_id, done), work.parameters, time=time))
    tell(TrialEnded(time=time, trial_id=work.trial_id, state="finished"))
    return time


def described(record: EpochEnded, parameters: Mapping, *, time: float) -> EpochEnded:
    """Returns an epoch with what a curve does not hold: its rate, its speed, its network's size."""
    width = sum(parameters.get("model.filters", [64]))
    size = 300 * width + 2000 * parameters.get("model.dense", 128)
    numbers = {"model_parameters": size, "macs": 12_000 * width}
    numbers |= {"lr": parameters["recipe.lr"], "images_per_second": 1600 / record.seconds}
    return record.model_copy(update={"time": time, **numbers})


def folded(records: Sequence[AnyRecord]) -> History:
    history = History()
    for record in records:
        history.add(record)
    return history


def made_curve(experiment: Experiment, parameters: Mapping, *, seed: int) -> Curve:
    """Returns a training that rises to what its parameters are worth, and wavers by its seed."""
    epochs = experiment.recipe.epochs
    rng = np.random.default_rng([zlib.crc32(canonical(dict(parameters)).encode()), seed])
    rate, worth = parameters["recipe.lr"], worth_of(parameters)
    step = np.arange(1, epochs + 1)
    rise = 1 - np.exp(-step / (epochs * (0.12 + 0.1 * parameters.get("model.dropout", 0.0))))
    final = worth + rng.normal(0, 0.008)
    noise = rng.normal(0, 0.018, epochs) * (1 - 0.7 * step / epochs)
    validation = np.clip(0.2 + (final - 0.2) * rise + noise, 0.05, 0.99)
    train = np.clip(0.2 + (min(1.0, final + 0.08) - 0.2) * rise * 1.02, 0.05, 1)
    values = dict.fromkeys(CURVE_METRICS, validation)
    values |= {
        "train_accuracy": train,
        "train_loss": 1.7 * (1 - train) + 0.05,
        "val_loss": 1.9 * (1 - validation) + 0.1 + 0.2 * (step / epochs) ** 2,
        "val_balanced_accuracy": np.clip(validation - 0.01, 0, 1),
        "val_macro_f1": np.clip(validation - 0.012, 0, 1),
        "val_ece": np.full(epochs, 0.06),
    }
    if rate > 0.2 and parameters.get("recipe.optimizer") != "sgd":
        values["train_loss"] = values["train_loss"].copy()
        values["train_loss"][2:] = math.nan
    width = 1 + sum(parameters.get("model.filters", [64])) / 300
    seconds = 14 * width * (1 + 0.05 * rng.random(epochs))
    return Curve(
        parameters=parameters,
        seed=seed,
        metrics={name: [float(v) for v in value] for name, value in values.items()},
        seconds=[float(s) for s in seconds],
    )


def worth_of(parameters: Mapping) -> float:
    """Returns the validation accuracy to which a training with these parameters rises."""
    optimizer = parameters.get("recipe.optimizer", "adamw")
    best_rate = {"adamw": -2.6, "sgd": -1.3, "muon": -2.0}[optimizer]
    off = math.log10(parameters["recipe.lr"]) - best_rate
    worth = 0.79 + {"adamw": 0.0, "sgd": -0.015, "muon": 0.02}[optimizer] - 0.09 * off**2
    worth += 0.05 if parameters.get("model.batch_norm", True) else -0.03
    worth += 0.03 if parameters.get("recipe.augment", True) else -0.01
    worth -= 0.12 * (parameters.get("model.dropout", 0.2) - 0.2) ** 2
    worth += 0.01 * (parameters.get("recipe.label_smoothing", 0.0) > 0)
    return float(np.clip(worth, 0.22, 0.96))


def predicted(data: DataSet, *, accuracy: float | None) -> Predictions:
    """Returns predictions for the test images that are right about as often as `accuracy`.

    Mistakes fall on the class after the true one or the one across; confidence is a bit too high.
    """
    indices, rng = data.subset("test"), np.random.default_rng(1)
    truths, classes = data.pack.labels[indices], len(data.classes)
    logits = rng.normal(0, 1, (len(truths), classes))
    for row, truth in enumerate(truths):
        hard = 0.5 * (truth % 3)
        near = (truth + (1 if truth % 2 == 0 else -1)) % classes
        logits[row, near] += 1.2 + hard
        logits[row, truth] += 4.5 * (accuracy or 0.8) - hard
    logits *= 1.6
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return Predictions(
        paths=[data.pack.names[index] for index in indices],
        classes=data.classes,
        truths=truths,
        probabilities=shares.astype("f4"),
    )


def look_at(predictions: Predictions) -> LookAtTest:
    found = assess(predictions)
    return LookAtTest(
        model="best.safetensors",
        accuracy=found.accuracy,
        loss=found.loss,
        images=found.images,
        ece=found.ece,
        predictions="log/test_predictions_1.parquet",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
