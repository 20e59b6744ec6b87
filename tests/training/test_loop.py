from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import open_dataset
from inat_ray.storage.place import Place
from inat_ray.training.checkpoint import load_model
from inat_ray.training.loop import Job, Training, Worker, train_to_the_end

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


def test_another_process_goes_on_from_a_checkpoint_as_the_first_would_have(job, tmp_path):
    whole = [done.metrics.val_loss for done in train_to_the_end(job, Worker(CPU))]
    other = replace(job, checkpoints=Place.at(tmp_path / "other"))
    first = Worker(CPU).epoch(other, epochs_done=0, resume_from=None)
    rest = train_to_the_end(other, Worker(CPU), epochs_done=1, resume_from=first.checkpoint)
    assert [first.metrics.val_loss, *(done.metrics.val_loss for done in rest)] == whole


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
