"""A search that is steered, killed and resumed: the desk, the log and the folder are the real ones,
and only the training is made up."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inat_ray.config.errors import UserError
from inat_ray.config.space import search_space
from inat_ray.log.records import EpochEnded, TrialEnded, TrialStarted
from inat_ray.log.run_log import EVENTS, RunLog, read_records
from inat_ray.run.folder import RunFolder
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.steering import Request, answered
from inat_ray.tuning import search as tuning_search
from inat_ray.tuning.ray_tune import Desk
from inat_ray.tuning.search import begin, carry_on, run_search
from tests.run.made_up_runs import create_run
from tests.search.histories import epoch_of, experiment_of

PARAMETERS = {
    "recipe.lr": {"distribution": "q_uniform", "min": 0.01, "max": 0.2, "q": 0.01},
    "model.dense": {"values": [8, 16, 32]},
}


CHECKPOINT = b"PK\x05\x06" + bytes(18)
"""An archive with nothing in it."""


class Killed(BaseException):
    """What a SIGKILL is to the code: nothing of it runs any more."""


class SteeredSearch:
    """A search of one worker that requests come to, each once so many epochs have been trained."""

    def __init__(self, folder: Path, requests: dict[int, Request], **search) -> None:
        self.experiment = experiment_of(parameters=PARAMETERS, **search)
        self.space = search_space(self.experiment)
        self.requests = requests
        self.run = create_run(folder, self.experiment, overwrite=False)

    def process(self, *, dies_after: float = math.inf) -> bool:
        """Runs a process until it dies after so many records; returns whether it did not."""
        left = dies_after

        def count(_) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Killed

        try:
            with RunLog(self.run.log) as log:
                log.watch(count)
                if log.history.started is None:
                    begin(self.experiment, space=self.space, log=log)
                else:
                    carry_on(self.experiment, run=self.run, log=log)
                data = SimpleNamespace(classes=["ash"])
                with patch.object(tuning_search, "run_agenda", self._run_agenda):
                    run_search(self.experiment, space=self.space, data=data, run=self.run, log=log)
        except Killed:
            return False
        return True

    def _run_agenda(self, experiment, agenda, *, run: RunFolder, log: RunLog, **_):
        desk = Desk(experiment, agenda, run=run, log=log, slots=lambda: 1)
        while True:
            self._heed(log)
            if not isinstance(given_work := desk.next_work(), dict):
                return desk.reason
            trial_id, goes_on = given_work["work"].trial_id, True
            while goes_on:
                self._heed(log)
                goes_on = desk.take_in(trial_id, self._epoch(trial_id, log, run))

    def _heed(self, log: RunLog) -> None:
        request = self.requests.get(log.history.epochs_spent, Request())
        busy = bool(log.history.active or log.history.interrupted)
        if request == Request() or (request.finish and busy):
            return
        about = {"experiment": self.experiment, "space": self.space, "history": log.history}
        try:
            (record,) = answered(request, **about)
        except UserError:
            return
        log.append(record)
        trial = log.history.trials.get(request.stop or "")
        if trial is not None and trial.state == "paused":
            log.append(TrialEnded(trial_id=trial.trial_id, state="stopped_by_hand"))

    def _epoch(self, trial_id: str, log: RunLog, run: RunFolder):
        trial = log.history.trials[trial_id]
        epoch = len(trial.epochs) + 1
        score = 1 / (1 + abs(trial.parameters["recipe.lr"] - 0.07)) * epoch / (epoch + 3)
        record = epoch_of(trial_id, epoch, score)
        place = run.shared / str(record.checkpoint)
        place.write(CHECKPOINT)
        metrics = SimpleNamespace(
            model_dump=lambda: record.model_dump(exclude={"time", "kind", "trial_id", "checkpoint"})
        )
        return SimpleNamespace(metrics=metrics, checkpoint=place)

    def decisions(self) -> list[tuple]:
        """Every start, epoch and end, but for what a process that died had to say."""
        found: list[tuple] = []
        for record in read_records(self.run.log / EVENTS):
            match record:
                case TrialStarted():
                    found.append((record.trial_id, record.parameters, record.seed))
                case EpochEnded():
                    found.append((record.trial_id, record.epoch, record.val_accuracy))
                case TrialEnded():
                    found.append((record.trial_id, record.state))
        return found


NARROWED = st.sampled_from(
    [
        Request(settings=("search.parameters.recipe.lr.max=0.1",)),
        Request(settings=("search.parameters.recipe.lr.min=0.05",)),
        Request(
            settings=(
                "search.parameters.recipe.lr={distribution: q_uniform, min: 0.01,"
                " max: 0.5, q: 0.01}",
            )
        ),
        Request(settings=("search.parameters.model.dense.values=[8]",)),
        Request(settings=("search.parameters.model.dense.values=[16, 32, 64]",), trials=12),
    ]
)

REQUESTS = st.one_of(
    NARROWED,
    NARROWED,
    st.integers(1, 12).map(lambda trials: Request(trials=trials)),
    st.integers(0, 8).map(lambda number: Request(stop=f"trial_{number:04d}")),
    st.integers(5, 60).map(lambda epochs: Request(settings=(f"search.epochs={epochs}",))),
    st.just(Request(settings=("search.epochs=null", "search.target=0.8"))),
    st.just(Request(finish=True)),
)

SEARCHES = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["random", "bayes", "grid"]),
        "trials": st.integers(4, 9),
        "epochs": st.none() | st.integers(10, 40),
        "confirm": st.sampled_from([None, {"top": 2, "seeds": 2}]),
        "early_stopping": st.sampled_from(list(SCHEDULERS)).map(
            lambda kind: {"kind": kind, "min_epochs": 1, "reduction_factor": 3, "min_trials": 2}
        ),
    }
)


STEERED = given(
    search=SEARCHES,
    requests=st.dictionaries(st.integers(0, 30), REQUESTS, max_size=5),
    lives=st.lists(st.integers(1, 40), max_size=6),
)


@pytest.fixture(autouse=True, scope="module")
def a_disk_that_is_not_waited_for():
    with patch("os.fsync"):
        yield


@settings(max_examples=3, deadline=None)
@STEERED
def test_a_search_that_is_steered_decides_the_same_however_often_it_is_killed(
    search, requests, lives
):
    check_that_kills_change_nothing(search, requests, lives)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@STEERED
def test_so_it_does_in_forty_other_cases(search, requests, lives):
    check_that_kills_change_nothing(search, requests, lives)


def check_that_kills_change_nothing(search, requests, lives) -> None:
    with TemporaryDirectory() as folder:
        whole = SteeredSearch(Path(folder, "whole"), requests, **search)
        assert whole.process()
        killed = SteeredSearch(Path(folder, "killed"), requests, **search)
        for life in lives:
            if killed.process(dies_after=life):
                break
        assert killed.process()
        assert killed.decisions() == whole.decisions()
