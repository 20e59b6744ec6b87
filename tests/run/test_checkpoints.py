import pytest

from inat_ray.log.records import TrialStarted
from inat_ray.log.run_log import RunLog
from inat_ray.run.checkpoints import keep_model
from inat_ray.run.folder import RunFolder
from inat_ray.search.agenda import run_started
from tests.run.made_up_runs import create_run
from tests.search.histories import epoch_of, experiment_of


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A training whose best epoch was the first, and which left files of a third that was lost."""
    experiment = experiment_of()
    run = create_run(tmp_path / "run", experiment, overwrite=False)
    with RunLog(run.log) as log:
        log.append(run_started(experiment))
        log.append(TrialStarted(trial_id="train", seed=0, parameters={}, epochs=9))
        log.append(epoch_of("train", 1, 0.5))
        log.append(epoch_of("train", 2, 0.4))
    for epoch in (1, 3):
        (run.checkpoints / f"train/model_{epoch:04d}.safetensors").write(b"%d" % epoch)
    return run


def keep(run: RunFolder) -> None:
    with RunLog(run.log) as log:
        keep_model(log.history.trials["train"], run=run, log=log)


def test_the_model_is_that_of_the_best_epoch_in_the_log_and_not_of_one_that_was_lost(run):
    keep(run)
    assert run.model.read_bytes() == b"1"


def test_a_result_that_told_of_the_model_before_does_not_stay_beside_another(run):
    run.result.write_text("{}")
    run.model_experiment.write_text("seed: 0")
    keep(run)
    assert not run.result.exists()
    assert not run.model_experiment.exists()


def test_a_run_whose_model_was_written_by_an_earlier_version_keeps_it(run):
    (run.checkpoints / "train/model_0001.safetensors").remove()
    run.model.write_bytes(b"of an earlier version")
    keep(run)
    assert run.model.read_bytes() == b"of an earlier version"
