from pathlib import Path

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.load import load_experiment
from inat_ray.data.dataset import DataSet, open_dataset
from inat_ray.log.records import EpochEnded, TrialEnded, TrialResumed, TrialStarted
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import BEGINNING, StartingPoint
from inat_ray.run.folder import RunFolder
from inat_ray.search.agenda import run_started
from inat_ray.training.checkpoint import save_checkpoint
from inat_ray.tuning.resumed_training import point_to_resume
from tests.run.made_up_runs import create_run


@pytest.fixture
def experiment(data_folder, small_settings):
    return load_experiment(None, settings=[*small_settings, f"data.source={data_folder}"])


@pytest.fixture
def data(experiment) -> DataSet:
    return open_dataset(experiment.data)


def cut_off_run(folder: Path, experiment, data: DataSet, *, epochs: int) -> RunFolder:
    """A training of which `epochs` are in the log, and its process was killed."""
    run = create_run(folder, experiment, overwrite=False)
    data.split.write(run.split, data.pack)
    with RunLog(run.log) as log:
        log.append(run_started(experiment))
        log.append(TrialStarted(trial_id="train", seed=0, parameters={}, epochs=9))
        for epoch in range(1, epochs + 1):
            place = run.checkpoints / f"{epoch}.pt"
            save_checkpoint(place, {"epoch": epoch})
            log.append(epoch_record(epoch, place.relative_to(run.shared)))
    return run


def epoch_record(epoch: int, checkpoint: str) -> EpochEnded:
    return EpochEnded(
        trial_id="train", epoch=epoch, train_loss=1.0, train_accuracy=0.5, val_loss=1.0,
        val_accuracy=0.5, val_balanced_accuracy=0.5, lr=0.1, seconds=1.0,
        images_per_second=1.0, checkpoint=checkpoint,
    )  # fmt: skip


def end(run: RunFolder, state: str) -> None:
    with RunLog(run.log) as log:
        log.append(TrialEnded(trial_id="train", state=state))


@pytest.mark.parametrize("state", [None, "interrupted", "failed"])
def test_a_training_goes_on_after_the_last_epoch_in_its_log(experiment, data, tmp_path, state):
    run = cut_off_run(tmp_path / "run", experiment, data, epochs=2)
    save_checkpoint(run.checkpoints / "3.pt", {})  # written, but its record was not
    if state is not None:
        end(run, state)
    start = point_to_resume(run, trial_id="train")
    assert start == StartingPoint(epochs_done=2, checkpoint=run.checkpoints / "2.pt")


def test_a_training_without_an_epoch_begins(experiment, data, tmp_path):
    run = cut_off_run(tmp_path / "run", experiment, data, epochs=0)
    assert point_to_resume(run, trial_id="train") == BEGINNING


@pytest.mark.parametrize("state", ["finished", "diverged"])
def test_a_training_that_is_over_does_not_go_on(experiment, data, tmp_path, state):
    run = cut_off_run(tmp_path / "run", experiment, data, epochs=1)
    end(run, state)
    with pytest.raises(UserError, match=rf"has ended \({state}\)"):
        point_to_resume(run, trial_id="train")


def test_a_checkpoint_that_is_missing_is_told(experiment, data, tmp_path):
    run = cut_off_run(tmp_path / "run", experiment, data, epochs=2)
    (run.checkpoints / "2.pt").remove()
    with pytest.raises(UserError, match="checkpoint of epoch 2 is missing"):
        point_to_resume(run, trial_id="train")


def test_a_resumed_training_runs_again_in_the_history(experiment, data, tmp_path):
    run = cut_off_run(tmp_path / "run", experiment, data, epochs=1)
    end(run, "failed")
    with RunLog(run.log) as log:
        log.append(TrialResumed(trial_id="train", epochs=1))
        trial = log.history.trials["train"]
    assert (trial.state, trial.error, len(trial.epochs)) == ("running", None, 1)
