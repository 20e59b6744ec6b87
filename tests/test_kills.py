"""A sweep that is killed twenty times, by whatever kills, ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from inat_ray.log.records import EpochEnded
from inat_ray.log.run_log import EVENTS, read_history, read_records

SWEEP = """
name: killed
search:
  method: random
  early_stopping: {kind: none}
  trials: 6
  parameters:
    recipe.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-1}
"""

TRIAL = "ray::ResourceTrainable"
"""Ray's name of a trial's process."""

KILLS = [*["SIGKILL"] * 15, "SIGTERM", "SIGHUP", TRIAL, "raylet", "gcs_server"]
"""Signals to the sweep, and names of processes of its Ray that are killed."""

AS_A_USER = """
import runpy, signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)
runpy.run_module("inat_ray.sweep", run_name="__main__", alter_sys=True)
"""
"""This suite may run where SIGHUP is ignored, and its sweep must not."""

CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGHUP": 129, "raylet": 1, "gcs_server": 1}


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_sweep_that_is_killed_twenty_times_ends_as_if_nothing_had_happened(
    command, data_folder, small_settings, tmp_path
):
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    # Long enough for a sweep that trains on while it is found out how far it is.
    lines = [*small_settings, "recipe.epochs=60", "resources.max_concurrent=1"]
    settings = [arg for line in lines for arg in ("--set", line)]
    arguments = [str(tmp_path / "sweep.yaml"), "--data", str(data_folder), *settings]
    whole = command("sweep", *arguments, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    rng, run = random.Random(16), tmp_path / "killed"
    kills = rng.sample(KILLS, len(KILLS))
    first, *others = [kill for kill in kills if kill != TRIAL]
    survive(run, first, [*arguments, "--out", str(run)], rng=rng)
    for kill in others:
        also = [TRIAL] if kill == "SIGTERM" else []
        survive(run, kill, ["--resume", str(run)], rng=rng, before=also)
    resumed = command("sweep", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    assert set(Counter(epochs(run)).values()) == {1}
    assert sorted(epochs(run)) == sorted(epochs(tmp_path / "whole"))
    assert endings(run) == endings(tmp_path / "whole")


WITH_LIMITS = (
    SWEEP
    + """
    model.dense: {values: [4, 8, 512, 1024]}
  limits: {parameters: 8K}
"""
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_with_limits_that_is_killed_refuses_the_same_points_and_trains_none_of_them(
    command, data_folder, small_settings, tmp_path
):
    (tmp_path / "sweep.yaml").write_text(WITH_LIMITS)
    lines = [line for line in small_settings if not line.startswith("model.dense")]
    lines += ["recipe.epochs=20", "resources.max_concurrent=1"]
    settings = [arg for line in lines for arg in ("--set", line)]
    arguments = [str(tmp_path / "sweep.yaml"), "--data", str(data_folder), *settings]
    whole = command("sweep", *arguments, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    rng, run = random.Random(18), tmp_path / "killed"
    survive(run, "SIGKILL", [*arguments, "--out", str(run)], rng=rng)
    survive(run, "SIGKILL", ["--resume", str(run)], rng=rng)
    resumed = command("sweep", "--resume", run)
    assert resumed.returncode == 0, resumed.stderr
    expected, found = (read_history(each / "log") for each in (tmp_path / "whole", run))
    refused = [(started, point.parameters) for started, point in found.beyond]
    assert refused == [(started, point.parameters) for started, point in expected.beyond]
    assert {point["model.dense"] for _, point in refused} == {512, 1024}
    assert {trial.parameters["model.dense"] for trial in found.searched} == {4, 8}
    assert sorted(epochs(run)) == sorted(epochs(tmp_path / "whole"))


def survive(
    run: Path,
    kill: str,
    arguments: list[str],
    *,
    rng: random.Random,
    before: list[str] | None = None,
) -> None:
    """The sweep goes on for some epochs, and ends by `kill` without losing one."""
    process = started(arguments)
    try:
        for victim in before or []:
            wait_for_more_epochs(process, run, rng=rng)
            end_process_of(process, victim)
        wait_for_more_epochs(process, run, rng=rng)
        kept = epochs(run)
        if kill.startswith("SIG"):
            process.send_signal(signal.Signals[kill])
        else:
            end_process_of(process, kill)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == CODES[kill], told
    assert epochs(run)[: len(kept)] == kept
    assert "Traceback" not in told
    if kill != "SIGKILL":
        assert f"resume with: python -m inat_ray.sweep --resume {run}" in told
    if kill in ("raylet", "gcs_server"):
        assert told.strip().splitlines()[-1].startswith(f"error: Ray's {kill} died")


def started(arguments: list[str]) -> "subprocess.Popen[str]":
    line = [sys.executable, "-c", AS_A_USER, *arguments]
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_more_epochs(
    process: "subprocess.Popen[str]", run: Path, *, rng: random.Random
) -> None:
    """Until a seeded moment after one or two more epochs."""
    wanted = len(epochs(run)) + rng.randint(1, 2)
    while len(epochs(run)) < wanted:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    time.sleep(rng.uniform(0, 0.2))


def end_process_of(process: "subprocess.Popen[str]", name: str) -> None:
    """Kills one of the processes of a sweep's Ray."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            command = (folder / "cmdline").read_bytes().partition(b"\0")[0].decode()
            if name in command and os.getsid(int(folder.name)) == process.pid:
                os.kill(int(folder.name), signal.SIGKILL)
                return
    raise AssertionError(f"the sweep has no {name}")


def epochs(run: Path) -> list[tuple[str, int, float, float, float]]:
    """(trial, epoch, losses, validation accuracy) of every epoch in the log, repeated ones too."""
    if not (run / "log" / EVENTS).exists():
        return []
    return [
        (r.trial_id, r.epoch, r.train_loss, r.val_loss, r.val_accuracy)
        for r in read_records(run / "log" / EVENTS)
        if isinstance(r, EpochEnded)
    ]


def endings(run: Path) -> dict[str, object]:
    """Trial -> its parameters, seed and state."""
    trials = read_history(run / "log").trials
    return {name: (trial.parameters, trial.seed, trial.state) for name, trial in trials.items()}
