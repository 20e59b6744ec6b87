"""A run tells its numbers in many places: they are the same numbers everywhere."""

import csv
import html
import io
import json
import re
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from inat_ray.log.history import OPEN, History
from inat_ray.log.run_log import read_history
from inat_ray.run.listing import read_run
from inat_ray.terminal.run_texts import epochs_text, score_value_text
from inat_ray.terminal.status import read_status, status_json
from inat_ray.terminal.words import percent
from inat_ray.training.predictions import read_predictions
from tests.boards.offline import offline_runs


@pytest.fixture(scope="module")
def history(swept) -> History:
    return read_history(swept[0] / "log")


@pytest.fixture(scope="module")
def page(swept) -> str:
    return (swept[0] / "report.html").read_text(encoding="utf-8")


def best_of(history: History) -> dict[str, float]:
    return {name: trial.best("val_accuracy").val_accuracy for name, trial in history.trials.items()}


def scores_of(history: History) -> dict[str, float]:
    return {name: history.score_value(trial) for name, trial in history.trials.items()}


def test_the_tables_are_the_log(swept, history):
    rows = pq.read_table(swept[0] / "trials.parquet").to_pylist()
    assert {row["trial_id"]: row["best_val_accuracy"] for row in rows} == best_of(history)
    assert {row["trial_id"]: row["best"] for row in rows} == best_of(history)
    assert {row["trial_id"]: row["score"] for row in rows} == scores_of(history)
    ranked = sorted((row["rank"], row["trial_id"]) for row in rows if row["rank"] is not None)
    assert ranked == [(n, t.trial_id) for n, t in enumerate(history.leaderboard(), start=1)]
    for row in rows:
        trial = history.trials[row["trial_id"]]
        found = (row["state"], row["seed"], row["epochs"], row["recipe.lr"])
        expected = (trial.state, trial.seed, len(trial.epochs), trial.parameters["recipe.lr"])
        assert found == expected
    epochs = pq.read_table(swept[0] / "epochs.parquet").to_pylist()
    for metric in ("train_loss", "val_loss", "val_accuracy", "val_balanced_accuracy", "lr"):
        for name, trial in history.trials.items():
            assert trial.values(metric) == [e[metric] for e in epochs if e["trial_id"] == name]


def test_tensorboard_has_each_value_of_the_log_in_its_single_precision(swept, history):
    for name, trial in history.trials.items():
        events = EventAccumulator(str(swept[0] / "tensorboard" / name)).Reload()
        for tag, metric in (("loss/train", "train_loss"), ("accuracy/val", "val_accuracy")):
            scalars = events.Scalars(tag)
            assert [scalar.step for scalar in scalars] == [e.epoch for e in trial.epochs]
            assert [s.value for s in scalars] == pytest.approx(trial.values(metric), rel=1e-6)
        best = events.Scalars("accuracy/val_best")[-1].value
        assert best == pytest.approx(best_of(history)[name], rel=1e-6)


def test_mlflow_has_each_value_of_the_log_and_the_test_accuracy(swept, history):
    client = MlflowClient(f"sqlite:///{swept[0].parent}/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    for name, trial in history.trials.items():
        for tag, metric in (("train/loss", "train_loss"), ("val/accuracy", "val_accuracy")):
            told = client.get_metric_history(runs[name].info.run_id, tag)
            assert [m.value for m in sorted(told, key=lambda m: m.step)] == trial.values(metric)
        assert runs[name].data.metrics["score"] == scores_of(history)[name]
        assert runs[name].data.tags["state"] == trial.state
    [whole] = [run for name, run in runs.items() if name not in history.trials]
    assert whole.data.metrics["test/accuracy"] == history.looks[0].accuracy
    assert whole.info.status == "FINISHED"


def test_wandb_has_each_value_of_the_log_and_the_test_accuracy(swept, history):
    runs = offline_runs(swept[0])
    for name, trial in history.trials.items():
        assert [s["val/accuracy"] for s in runs[name].history] == trial.values("val_accuracy")
        assert runs[name].summary["score"] == scores_of(history)[name]
    [whole] = [run for name, run in runs.items() if name not in history.trials]
    assert whole.summary["test/accuracy"] == history.looks[0].accuracy
    assert whole.exit_code == 0


def test_the_printed_leaderboard_is_the_logs_best_five_in_their_order(swept, history):
    line = re.compile(r"^\s*(\d+)\s+(trial_\d+)\s+(\(?[\d.]+ %\)?)\s+(\d+)/\d+\s", re.M)
    leaders = enumerate(history.leaderboard()[:5], start=1)
    expected = [
        (str(place), t.trial_id, score_value_text(history, t), str(len(t.epochs)))
        for place, t in leaders
    ]
    assert line.findall(swept[1].stderr) == expected


def test_the_pages_leaderboard_has_the_logs_exact_values(history, page):
    row = re.compile(r'data-trial="(\w+)">\1</a></td><td class="number" data-value="([^"]+)"')
    expected = [(t.trial_id, scores_of(history)[t.trial_id]) for t in history.leaderboard()]
    assert [(name, float(value)) for name, value in row.findall(page)] == expected


def test_the_pages_curves_are_the_logs(history, page):
    begins = '<figure class="plot" data-name="learning-curves">'
    [figure] = re.findall(rf"{begins}.*?</figure>", page, re.S)
    data = html.unescape(re.findall(r'<script type="text/csv">(.*?)</script>', figure, re.S)[0])
    drawn = defaultdict(list)
    for _, trial, _, value in csv.reader(io.StringIO(data)):
        if trial in history.trials:
            drawn[trial].append(float(value))
    assert drawn.keys() == history.trials.keys()
    for name, values in drawn.items():
        assert values == pytest.approx(history.trials[name].values("val_accuracy"), rel=1e-5)


def test_the_test_accuracy_is_that_of_the_predictions_everywhere(swept, history, page):
    folder, done = swept
    [look] = history.looks
    predictions = read_predictions(folder / look.predictions)
    accuracy = float((predictions.probabilities.argmax(axis=1) == predictions.truths).mean())
    assert accuracy == look.accuracy
    for result in (read_json(folder / "result.json"), json.loads(done.stdout.splitlines()[-1])):
        assert (result["test_accuracy"], result["test_loss"]) == (look.accuracy, look.loss)
        assert result["search"]["score"] == scores_of(history)[history.leader.trial_id]
    assert percent(accuracy) in page
    assert percent(accuracy) in done.stderr


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_best_trial_and_the_kept_model_are_told_apart_and_are_the_same_everywhere(
    swept, history, page
):
    folder, done = swept
    leader, kept = history.leader.trial_id, history.final
    best, score = best_of(history)[leader], scores_of(history)[leader]
    of_kept = best_of(history)[kept.trial_id]
    result = read_json(folder / "result.json")
    assert (result["search"]["val_accuracy"], result["val_accuracy"]) == (best, of_kept)
    with safe_open(folder / "best.safetensors", framework="pt") as file:
        about = file.metadata()
    named = (about["training"], int(about["epoch"]))
    assert named == (result["training"], result["best_epoch"]) == (kept.trial_id, named[1])
    line = re.compile(r"^(best score|on validation  acc) +([\d.]+ %)(?: +(\w+))?", re.M)
    assert line.findall(done.stderr) == [
        ("best score", percent(score), leader),
        ("on validation  acc", percent(of_kept), ""),
    ]
    tiles = re.findall(r'<div class="tile"><dt>(.*?)</dt><dd class="value">(.*?)</dd>', page)
    figures = {title: re.sub("<.*?>", "", text) for title, text in tiles}
    assert figures[f"Best trial, {leader}"] == percent(score)
    assert figures["Kept model"] == percent(of_kept)
    status = status_json(read_status(str(folder)))
    assert (status["best"]["score"], status["best"]["best"]) == (score, best)
    assert status["kept_model"]["best"] == of_kept
    assert read_run(folder).best == score


def test_epochs_spent_and_saved_are_the_same_numbers_everywhere(swept, history, page):
    folder, _ = swept
    rows = [
        row
        for row in pq.read_table(folder / "trials.parquet").to_pylist()
        if row["purpose"] == "search"
    ]
    spent = sum(row["epochs"] for row in rows)
    saved = sum(r["planned_epochs"] - r["epochs"] for r in rows if r["state"] == "stopped")
    found = read_json(folder / "result.json")["search"]
    status = status_json(read_status(str(folder)))
    assert (found["epochs"], found["epochs_saved"]) == (spent, saved)
    assert (status["epochs"], status["saved_epochs"]) == (spent, saved)
    assert epochs_text(history) in page
    assert epochs_text(history).startswith(f"{spent} epochs of")
    assert (f"{saved} saved by stopping early" in epochs_text(history)) == (saved > 0)


def test_a_trial_is_over_in_the_same_number_of_cases_everywhere(swept, history):
    folder, _ = swept
    rows = pq.read_table(folder / "trials.parquet").to_pylist()
    over = [r for r in rows if r["purpose"] == "search" and r["state"] not in OPEN]
    status = status_json(read_status(str(folder)))
    assert len(over) == history.trials_over == sum(status["trials"].values())
    assert read_json(folder / "result.json")["search"]["trials"] == status["trials"]
