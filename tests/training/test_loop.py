import time
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training import loop
from inat_ray.training.checkpoint import load_model, save_checkpoint
from inat_ray.training.loop import Job, TrainedEpoch, Training, Worker, train_to_the_end

CPU = torch.device("cpu")


@pytest.fixture
def job(data_folder, small_settings, tmp_path) -> Job:
    settings = [*small_settings, f"data.source={data_folder}", "recipe.epochs=6", "device=cpu"]
    experiment = load_experiment(None, settings=settings)
    return Job(
        experiment,
        open_dataset(experiment.data),
        checkpoints=Place.at(tmp_path / "c"),
        keeps_model=True,
    )


def test_every_epoch_leaves_a_checkpoint(job):
    done = list(train_to_the_end(job, Worker(CPU)))
    assert [each.metrics.epoch for each in done] == [1, 2, 3, 4, 5, 6]
    left = [each.checkpoint.relative_to(job.checkpoints) for each in done]
    assert [name for name in job.checkpoints.names() if name.endswith(".pt")] == left


def test_the_model_that_is_kept_is_that_of_the_best_epoch(job):
    done = list(train_to_the_end(job, Worker(CPU)))
    best = max(done, key=lambda each: each.metrics.val_accuracy)  # the earliest of equals
    assert [each.metrics.epoch for each in done if each.improved][-1] == best.metrics.epoch
    model = load_model(Path(str(job.model(best.metrics.epoch))))
    evaluation = model.evaluate(job.data, "validation", device=CPU)
    assert evaluation.tally.accuracy == best.metrics.val_accuracy
    # Its temperature makes its labels likelier, and decides for no other class.
    assert model.temperatures != (1.0,)
    assert evaluation.tally.loss < best.metrics.val_loss


def test_probabilities_stay_as_they_are_where_calibration_is_not_wanted(job):
    recipe = job.experiment.recipe.model_copy(update={"calibrate": False})
    job = replace(job, experiment=job.experiment.model_copy(update={"recipe": recipe}))
    done = Training(job, device=CPU).epoch()
    model = load_model(Path(str(job.model(1))))
    assert model.temperatures == (1.0,)
    loss = model.evaluate(job.data, "validation", device=CPU).tally.loss
    assert loss == pytest.approx(done.metrics.val_loss)


def test_where_the_last_is_kept_every_epoch_replaces_the_one_before(job):
    recipe = job.experiment.recipe.model_copy(update={"keep": "last"})
    job = replace(job, experiment=job.experiment.model_copy(update={"recipe": recipe}))
    first = Training(job, device=CPU)
    first.best = 2.0  # better than any accuracy
    done = first.epoch()
    later = [*train_to_the_end(job, Worker(CPU), epochs_done=1, resume_from=done.checkpoint)]
    assert all(each.improved for each in [done, *later])
    evaluation = load_model(Path(str(job.model(6)))).evaluate(job.data, "validation", device=CPU)
    assert evaluation.tally.accuracy == later[-1].metrics.val_accuracy


def test_a_worse_epoch_after_a_restart_does_not_replace_the_best_model(job):
    training = Training(job, device=CPU)
    done = training.epoch()
    training.best = 2.0  # better than any accuracy
    again = training.epoch()
    assert not again.improved
    resumed = Training(job, device=CPU, resume_from=again.checkpoint)
    assert resumed.best == 2.0
    assert not resumed.epoch().improved
    assert [name for name in job.checkpoints.names() if name.startswith("model")] == [
        "model_0001.safetensors"
    ]
    assert done.improved


def test_a_worker_that_is_given_another_job_begins_that_one(job, tmp_path):
    worker = Worker(CPU)
    first = worker.epoch(job, epochs_done=0, resume_from=None)
    other = replace(job, checkpoints=Place.at(tmp_path / "other"))
    assert worker.epoch(other, epochs_done=0, resume_from=None).metrics.epoch == 1
    second = worker.epoch(job, epochs_done=1, resume_from=first.checkpoint)
    assert second.metrics.epoch == 2


def test_a_job_whose_loss_is_no_number_ends_there(job):
    recipe = job.experiment.recipe.model_copy(
        update={"optimizer": "sgd", "lr": 10.0, "weight_decay": 10.0, "schedule": "constant"}
    )
    model = job.experiment.model.model_copy(update={"batch_norm": False})
    experiment = job.experiment.model_copy(update={"recipe": recipe, "model": model})
    done = list(train_to_the_end(replace(job, experiment=experiment), Worker(CPU)))
    assert done[-1].metrics.diverged
    assert len(done) < 6
    assert not any(each.metrics.diverged for each in done[:-1])


@pytest.fixture
def training(job, monkeypatch) -> Training:
    """One whose checkpoints take until the next epoch has begun."""
    training = Training(job, device=CPU)

    def save(place: Place, state: dict[str, Any]) -> None:
        while training.fit._steps is None:
            time.sleep(0.001)
        save_checkpoint(place, state)

    monkeypatch.setattr(loop, "save_checkpoint", save)
    monkeypatch.setattr(training, "_goes_on_meanwhile", lambda _: True)
    return training


def test_steps_taken_while_a_checkpoint_is_written_are_neither_in_it_nor_lost(
    job, training, tmp_path, monkeypatch
):
    first = training.epoch()
    assert training.fit._steps is not None
    meanwhile = [numbers(first), numbers(training.epoch())]
    monkeypatch.setattr(loop, "save_checkpoint", save_checkpoint)
    another_process = Training(job, device=CPU, resume_from=first.checkpoint)
    alone = train_to_the_end(replace(job, checkpoints=Place.at(tmp_path)), Worker(CPU))
    whole = [numbers(done) for done in islice(alone, 2)]
    assert meanwhile == whole
    assert numbers(another_process.epoch()) == whole[1]


def numbers(done: TrainedEpoch) -> tuple[float, float]:
    return done.metrics.train_loss, done.metrics.val_loss


def test_what_fails_while_a_checkpoint_is_written_fails_the_next_epoch(training, monkeypatch):
    step, taken = training.fit.step, count(1)

    def fail_in_second_epoch(*args: Any) -> None:
        if next(taken) > training.fit.inputs.batches.steps:
            raise RuntimeError("a step failed")
        step(*args)

    monkeypatch.setattr(training.fit, "step", fail_in_second_epoch)
    assert training.epoch().checkpoint.is_whole_zip()
    with pytest.raises(RuntimeError, match="a step failed"):
        training.epoch()


def test_a_training_goes_on_meanwhile_where_its_files_take_longer_than_a_step(job):
    training = Training(job, device=CPU)
    metrics = training.epoch().metrics.model_copy(update={"seconds": 6.0})
    assert training.fit.inputs.batches.steps == 6
    for seconds, goes_on in ((0.9, False), (1.1, True)):
        training._seconds_of_files = seconds
        assert training._goes_on_meanwhile(metrics) is goes_on
    for end in ({"epoch": 6}, {"train_loss": float("nan")}):
        assert not training._goes_on_meanwhile(metrics.model_copy(update=end))


def test_a_checkpoint_that_cannot_be_written_fails_its_own_epoch(job, tmp_path):
    (tmp_path / "c").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="exists"):
        Training(job, device=CPU).epoch()
