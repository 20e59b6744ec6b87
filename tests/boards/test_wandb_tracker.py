"""Told to the real W&B, which keeps it in files."""

import pytest

from inat_ray.boards.tracking_observer import TrackingObserver
from inat_ray.boards.wandb_tracker import WandbTracker, check_wandb
from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.tracking import WandbConfig
from tests.boards.offline import offline_runs
from tests.made_up_sweep import ACCURACIES

OFFLINE = WandbConfig(project="tested", mode="offline")


def tell(folder, records, past=()) -> str:
    """What it says at the end; W&B's own process takes a moment to come up, which may be said."""
    said: list[str] = []
    tracker = WandbTracker(OFFLINE, folder=folder)
    observer = TrackingObserver(tracker, Experiment(), tell=said.append, past=past)
    for record in records:
        observer(record)
    observer.close()
    return said[-1]


def test_a_sweep_is_a_group_and_its_trials_are_runs(sweep, tmp_path):
    assert tell(tmp_path, sweep) == f"W&B: kept offline; wandb sync {tmp_path}/wandb/offline-run-*"
    runs = offline_runs(tmp_path)
    [whole] = [run for name, run in runs.items() if name not in ACCURACIES]
    assert {run.group for run in runs.values()} == {whole.group}
    assert (whole.job_type, whole.config["recipe.optimizer"]) == ("sweep", "adamw")
    assert [step["search/best_score"] for step in whole.history] == [0.9] * 4
    for name, accuracies in ACCURACIES.items():
        found = [(step["_step"], step["val/accuracy"]) for step in runs[name].history]
        assert found == list(enumerate(accuracies, start=1))
        assert runs[name].run_id == f"{whole.group}-{name}"
    trial = runs["trial_0000"]
    assert trial.config.items() >= {"recipe.lr": 0.003, "model.filters": "[32, 64]"}.items()
    assert trial.summary.items() >= {"state": "finished", "score": 0.9, "best_epoch": 2}.items()
    endings = {name: (run.summary["state"], run.exit_code) for name, run in runs.items()}
    assert endings["trial_0001"] == ("stopped", 0)
    assert endings["trial_0003"] == ("failed", 1)
    assert endings["trial_0005"] == ("interrupted", 1)


def test_a_run_that_goes_on_keeps_its_identity(sweep, tmp_path):
    tell(tmp_path / "first", sweep[:3])
    tell(tmp_path / "second", sweep[3:], past=sweep[:3])
    before, after = (offline_runs(tmp_path / part)["trial_0000"] for part in ("first", "second"))
    assert before.run_id == after.run_id
    assert [step["_step"] for step in after.history] == [1, 2, 3]


def test_without_a_key_it_is_refused_and_nobody_is_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no key; allowed are WANDB_API_KEY"):
        check_wandb(WandbConfig(mode="online"))


def test_offline_needs_no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    check_wandb(OFFLINE)
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_wandb(WandbConfig())
