import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tensorboard.plugins.hparams import api_pb2

from inat_ray.boards import observed_log as observed
from inat_ray.boards.observed_log import observed_log
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.log.records import RunResumed, TrialEnded, TrialResumed
from inat_ray.run.folder import RunFolder
from inat_ray.terminal.progress import RunProgress
from tests.boards.shown import STATUS
from tests.boards.test_tensorboard import session_groups


def test_a_run_leaves_its_tables_and_its_tensorboard_however_it_ends(sweep, tmp_path):
    def interrupted_run() -> None:
        with observed_log(run, console, experiment=Experiment()) as log:
            for record in sweep:
                log.append(record)
            raise KeyboardInterrupt

    run, console = RunFolder(tmp_path), Console(file=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert pq.read_table(tmp_path / "trials.parquet").num_rows == 6
    assert {path.name for path in run.tensorboard.iterdir()} == {
        "search",
        *(f"trial_{number:04d}" for number in range(6)),
    }
    assert "trial_0000 finished" in console.file.getvalue()


def test_a_run_that_another_process_is_at_work_on_keeps_its_tensorboard(sweep, tmp_path):
    def second() -> None:
        with observed_log(run, console, experiment=Experiment(), resumed=True):
            raise AssertionError("two processes at once")

    run, console = RunFolder(tmp_path), Console(file=io.StringIO())
    with observed_log(run, console, experiment=Experiment()) as log:
        for record in sweep:
            log.append(record)
        files = sorted(run.tensorboard.rglob("*"))
        with pytest.raises(UserError, match="another process is at work"):
            second()
        assert sorted(run.tensorboard.rglob("*")) == files
        assert len(files) > len(sweep) // 4


def session_statuses(folder: Path) -> dict[str, int]:
    """By trial, as the HParams tab shows them."""
    groups = session_groups(folder)
    return {group.name: session.status for group in groups for session in group.sessions}


def test_after_a_resumption_every_trial_that_had_ended_still_has(sweep, tmp_path, monkeypatch):
    """In the live view and in HParams: finished, stopped, diverged, failed, cut off, running."""
    seen = []

    class Seen(RunProgress):
        def __init__(self, *args, **options) -> None:
            super().__init__(*args, **options)
            seen.append(self)

    monkeypatch.setattr(observed, "RunProgress", Seen)
    run, console = RunFolder(tmp_path), Console(file=io.StringIO())
    with observed_log(run, console, experiment=Experiment()) as log:
        for record in sweep:
            log.append(record)
    with observed_log(run, console, experiment=Experiment(), resumed=True) as log:
        log.append(RunResumed(trials=8))
        states = {trial.trial_id: trial.state for trial in seen[-1].history.searched}
        assert states == {trial.trial_id: trial.state for trial in log.history.searched}
        assert states["trial_0003"] == "failed"
        log.append(TrialResumed(trial_id="trial_0004", epochs=1))
        log.append(TrialEnded(trial_id="trial_0004", state="finished"))
    expected = STATUS | {"trial_0004": api_pb2.STATUS_SUCCESS}
    assert session_statuses(run.tensorboard) == expected


@pytest.mark.parametrize("state", ["failed", "out_of_memory", "interrupted"])
def test_a_training_that_goes_on_after_an_error_is_not_over_before(training, tmp_path, state):
    run, console = RunFolder(tmp_path), Console(file=io.StringIO())
    ended = training[-1].model_copy(update={"state": state})
    with observed_log(run, console, experiment=Experiment()) as log:
        for record in [*training[:-1], ended]:
            log.append(record)
    for _ in range(2):
        with observed_log(run, console, experiment=Experiment(), resumed=True) as log:
            log.append(TrialResumed(trial_id="train", epochs=3))
            log.append(training[-1])
    assert session_statuses(run.tensorboard) == {"train": api_pb2.STATUS_SUCCESS}
