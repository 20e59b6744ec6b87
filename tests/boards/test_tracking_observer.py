import threading
from collections.abc import Iterable

import pytest

from inat_ray.boards.trackers import TrackedRun
from inat_ray.boards.tracking_observer import TrackingObserver
from inat_ray.config.experiment import Experiment
from inat_ray.config.tracking import TrackingConfig
from inat_ray.log.records import (
    AnyRecord,
    LookAtTest,
    RunResumed,
    SearchEnded,
    TrialEnded,
    TrialPaused,
    TrialResumed,
)
from tests.made_up_sweep import ACCURACIES, STARTED, epoch_ended


class Notebook:
    """A tracker that keeps what it is told; one that is out of order raises."""

    title = "Notebook"

    def __init__(self) -> None:
        self.runs: dict[str, TrackedRun] = {}
        self.steps: dict[str, dict[int, dict]] = {}
        self.summaries: dict[str, dict] = {}
        self.states: dict[str, str] = {}
        self.told: list[tuple] = []
        self.out_of_order, self.asked = threading.Event(), threading.Event()

    def open(self, run: TrackedRun) -> int:
        self._check()
        self.told.append(("open", run.key))
        self.runs[run.key], self.states[run.key] = run, "running"
        return max(self.steps.setdefault(run.key, {}), default=0)

    def log(self, key, values, *, step, time) -> None:
        self._check()
        assert step not in self.steps[key], "told twice"
        assert self.states[key] == "running"
        self.told.append(("log", key, step))
        self.steps[key][step] = values

    def summarize(self, key, values) -> None:
        self._check()
        self.summaries.setdefault(key, {}).update(values)

    def close(self, key, *, state, time) -> None:
        self._check()
        self.told.append(("close", key))
        self.states[key] = state

    def address(self) -> str:
        return "on the desk"

    def _check(self) -> None:
        self.asked.set()
        if self.out_of_order.is_set():
            raise ConnectionError("no pencil")


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def observe(notebook):
    """Tells records to an observer of the notebook, closes it, and returns what it said."""

    def observe(records: Iterable[AnyRecord], past: Iterable[AnyRecord] = ()) -> list[str]:
        said: list[str] = []
        observer = TrackingObserver(notebook, Experiment(), tell=said.append, past=past)
        for record in records:
            observer(record)
        observer.close()
        return said

    return observe


def accuracies(notebook: Notebook, key: str) -> list[float]:
    return [values["val/accuracy"] for _, values in sorted(notebook.steps[key].items())]


def test_each_trial_is_a_run_with_its_epochs_and_its_ending(notebook, observe, sweep):
    said = observe(sweep)
    assert {key: accuracies(notebook, key) for key in ACCURACIES} == ACCURACIES
    assert notebook.states == {
        "trial_0000": "finished",
        "trial_0001": "stopped",
        "trial_0002": "diverged",
        "trial_0003": "failed",
        "trial_0004": "interrupted",
        "trial_0005": "interrupted",
        "sweep": "interrupted",
    }
    assert notebook.summaries["trial_0000"] == {
        "state": "finished",
        "best": 0.9,
        "best_epoch": 2,
        "score": 0.9,
        "ms_per_image": 1.0,
    }
    assert notebook.summaries["trial_0003"] == {"state": "failed", "error": "out of memory [GPU 0]"}
    assert said == ["Notebook: on the desk"]


def test_a_trials_parameters_are_scalars_and_the_sweep_has_the_experiment(notebook, observe, sweep):
    observe(sweep)
    trial, whole = notebook.runs["trial_0000"], notebook.runs["sweep"]
    assert trial.parameters == {
        "recipe.lr": 0.003,
        "model.batch_norm": True,
        "model.filters": "[32, 64]",
        "seed": 0,
    }
    assert (trial.parent, trial.kind, trial.sweep) == ("sweep", "search", whole.name)
    assert (whole.parent, whole.kind, whole.started) == (None, "sweep", STARTED)
    assert whole.parameters["recipe.lr"] == Experiment().recipe.lr
    assert not [name for name in whole.parameters if name.startswith("tracking")]


def test_the_sweep_has_its_progress_and_the_test_result(notebook, observe, sweep):
    look = LookAtTest(
        model="best.safetensors", accuracy=0.7, loss=1.1, images=80, ece=0.05, predictions="p"
    )
    observe([*sweep[:-2], SearchEnded(reason="trials"), look])
    assert notebook.steps["sweep"][1] == {"search/epochs_spent": 3, "search/best_score": 0.9}
    assert notebook.steps["sweep"][4]["search/epochs_spent"] == 5
    expected = {"test/accuracy": 0.7, "test/loss": 1.1, "test/ece": 0.05}
    assert notebook.summaries["sweep"] == expected


def test_a_single_training_is_one_run(notebook, observe, sweep):
    started = sweep[0].model_copy(update={"method": "train"})
    look = LookAtTest(model="best.safetensors", accuracy=0.7, loss=1.1, images=80, predictions="p")
    observe([started, *of_trial(sweep, "trial_0000"), look])
    assert notebook.runs.keys() == {"sweep"}
    assert notebook.runs["sweep"].kind == "train"
    assert accuracies(notebook, "sweep") == ACCURACIES["trial_0000"]
    assert notebook.summaries["sweep"]["test/accuracy"] == 0.7
    assert notebook.states["sweep"] == "finished"


def test_a_paused_trial_rests_until_it_goes_on(notebook, observe, sweep):
    start, *epochs, end = of_trial(sweep, "trial_0000")
    pause = TrialPaused(trial_id="trial_0000")
    observe([sweep[0], start, epochs[0], pause])
    assert notebook.states["trial_0000"] == "paused"
    resume = TrialResumed(trial_id="trial_0000", epochs=1)
    observe([resume, *epochs[1:], end], past=[sweep[0], start, epochs[0], pause])
    assert accuracies(notebook, "trial_0000") == ACCURACIES["trial_0000"]


def test_what_was_not_told_before_a_process_died_is_told_when_its_run_goes_on(
    notebook, observe, sweep
):
    start, *epochs, end = of_trial(sweep, "trial_0000")
    observe([sweep[0], start, epochs[0]])
    past = [sweep[0], start, *epochs[:2]]
    observe([RunResumed(trials=8), TrialResumed(trial_id="trial_0000", epochs=2)], past=past)
    observe([epochs[2], end], past=past)
    assert accuracies(notebook, "trial_0000") == ACCURACIES["trial_0000"]
    assert notebook.runs["trial_0000"].identity.endswith("-trial_0000")


def test_an_epoch_that_is_trained_again_is_told_once(notebook, observe, sweep):
    start, *epochs, _ = of_trial(sweep, "trial_0000")
    lost = TrialEnded(trial_id="trial_0000", state="interrupted")
    back = TrialResumed(trial_id="trial_0000", epochs=1)
    again = [epoch_ended("trial_0000", epoch, time=STARTED + 50 + epoch) for epoch in (2, 3)]
    observe([sweep[0], start, *epochs[:2], lost, back, *again])
    assert list(notebook.steps["trial_0000"]) == [1, 2, 3]
    assert accuracies(notebook, "trial_0000") == [0.5, 0.9, 0.5]


def test_a_tracker_that_does_not_answer_is_told_all_once_it_does(notebook, sweep):
    said: list[str] = []
    observer = TrackingObserver(notebook, Experiment(), tell=said.append, between_tries=0.01)
    for record in sweep[:4]:
        observer(record)
    notebook.out_of_order.set()
    notebook.asked.clear()
    for record in sweep[4:]:
        observer(record)
    assert notebook.asked.wait(10)
    notebook.out_of_order.clear()
    observer.close()
    assert {key: accuracies(notebook, key) for key in ACCURACIES} == ACCURACIES
    assert said == [
        "Notebook does not answer; it will get the rest later: no pencil",
        "Notebook answers again",
        "Notebook: on the desk",
    ]


def test_the_end_of_a_run_waits_for_a_tracker_only_so_long(notebook, sweep):
    said: list[str] = []
    notebook.out_of_order.set()
    observer = TrackingObserver(
        notebook, Experiment(), tell=said.append, between_tries=0.01, to_close=0.1
    )
    observer(sweep[0])
    observer.close()
    assert "lacks the end of this run; the run's own folder has all of it" in said[-1]


def test_settings_about_trackers_do_not_change_what_a_tracker_is_told(notebook, sweep):
    tracking = TrackingConfig(to=["mlflow"])
    observer = TrackingObserver(notebook, Experiment(tracking=tracking), tell=lambda _: None)
    observer(sweep[0])
    observer.close()
    whole = notebook.runs["sweep"].parameters
    assert whole["data.image_size"] == 64
    assert not [name for name in whole if "mlflow" in name]


def of_trial(records: list[AnyRecord], trial_id: str) -> list[AnyRecord]:
    return [record for record in records if getattr(record, "trial_id", None) == trial_id]
