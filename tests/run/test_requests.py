import json
import threading
import time

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.space import search_space
from inat_ray.log import lock
from inat_ray.log.lock import alive_in, locked
from inat_ray.log.records import (
    FinishAsked,
    SearchChanged,
    SearchEnded,
    TrialEnded,
    TrialPaused,
    TrialStarted,
)
from inat_ray.log.run_log import RunLog, read_history
from inat_ray.run import requests
from inat_ray.run.folder import REQUESTS, RunFolder
from inat_ray.run.requests import Requests, ask, place_of_work
from inat_ray.search.agenda import run_started
from inat_ray.search.steering import FINISH, Request
from inat_ray.storage.place import Place
from tests.run.made_up_runs import create_run
from tests.search.histories import epoch_of, experiment_of

PARAMETERS = {"recipe.lr": {"distribution": "uniform", "min": 0.01, "max": 0.1}}
NARROWED = Request(settings=("search.parameters.recipe.lr.max=0.05",), trials=4)


def begun_run(folder, **resources) -> RunFolder:
    """A search with a trial that waits at a rung and one that trains."""
    experiment = experiment_of(parameters=PARAMETERS, trials=9)
    resources = experiment.resources.model_copy(update=resources)
    experiment = experiment.model_copy(update={"resources": resources})
    run = create_run(folder, experiment, overwrite=False)
    with RunLog(run.log, storage=run.storage) as log:
        log.append(run_started(experiment, search_space(experiment)))
        for number in range(2):
            trial_id = f"trial_{number:04d}"
            point = {"recipe.lr": 0.02}
            log.append(TrialStarted(trial_id=trial_id, seed=0, parameters=point, epochs=9))
            log.append(epoch_of(trial_id, 1, 0.5))
        log.append(TrialPaused(trial_id="trial_0000"))
    return run


class Sweep:
    """A process that is at work on a run: a thread here."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.told = run, []
        self._over = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Sweep":
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        experiment = experiment_of(parameters=PARAMETERS, trials=9)
        space = search_space(experiment)
        about = {"experiment": experiment, "space": space, "tell": self.told.append}
        with (
            alive_in(self.run.storage),
            RunLog(self.run.log, storage=self.run.storage) as log,
            Requests(self.run, **about) as asked,
        ):
            self._ready.set()
            while not self._over.wait(0.02):
                asked.take_in(log)


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return begun_run(tmp_path / "run")


def test_a_sweep_that_runs_makes_records_of_what_it_is_asked(run):
    with Sweep(run):
        place = place_of_work(str(run.path))
        ((begun, changed),) = ask(str(run.path), NARROWED, at=place)
        assert begun == 2
        assert isinstance(changed, SearchChanged)
        assert changed.trials == 4
        assert changed.parameters["recipe.lr"]["max"] == 0.05
        ((_, asked),) = ask(str(run.path), FINISH, at=place)
        assert isinstance(asked, FinishAsked)
    history = read_history(run.log)
    assert [record for _, record in history.steering] == [changed, asked]
    assert not list((run.path / REQUESTS).iterdir())


def test_a_trial_that_waits_ends_at_once_and_one_that_trains_after_its_epoch(run):
    (run.checkpoints / "trial_0000/epoch_0001.pt").write(b"x")
    with Sweep(run):
        for name in ("trial_0000", "trial_0001"):
            ask(str(run.path), Request(stop=name), at=place_of_work(str(run.path)))
    history = read_history(run.log)
    assert history.trials["trial_0000"].state == "stopped_by_hand"
    assert history.trials["trial_0001"].state == "running"
    assert history.trials["trial_0001"].stop_after == 2
    assert run.checkpoints.names() == []


def test_what_the_search_cannot_do_is_told_to_whoever_asks_and_left_nowhere(run):
    with Sweep(run) as sweep:
        with pytest.raises(UserError, match="--stop trial_7: the run has no trial"):
            ask(str(run.path), Request(stop="trial_7"), at=place_of_work(str(run.path)))
        settings = ("recipe.lr=0.1", "search.parameters.recipe.lr.max=0.05")
        with pytest.raises(UserError, match=r"--set recipe.lr: stays as it is .*--warm-start RUN"):
            ask(str(run.path), Request(settings=settings), at=place_of_work(str(run.path)))
        assert sweep.told == []
    assert not (run.path / REQUESTS).exists()
    assert read_history(run.log).steering == []


def test_a_request_that_no_longer_fits_when_the_sweep_comes_to_it_is_left_undone(run):
    place = leave(run, {"stop": "trial_0001"})
    with RunLog(run.log) as log:
        log.append(TrialEnded(trial_id="trial_0001", state="failed"))
    with Sweep(run) as sweep:
        wait_until(lambda: not place.exists())
    assert sweep.told == [
        "a request was left undone: --stop trial_0001: has ended already: failed, after 1 epochs"
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"settings": ["x"]',
        b'{"trials": 0}',
        b'{"finish": 1}',
        b'{"run": "rm"}',
    ],
)
def test_a_file_that_is_no_request_is_removed_and_told(run, content):
    file = Place.at(run.path) / REQUESTS / "1.json"
    file.write(content)
    with Sweep(run) as sweep:
        wait_until(lambda: not file.exists())
    (told,) = sweep.told
    assert "no request that this version can read" in told
    assert read_history(run.log).steering == []


def test_a_process_that_is_past_the_search_says_when_the_same_command_does_it(run):
    """Also where the search ends while somebody asks."""
    with RunLog(run.log) as log:
        log.append(SearchEnded(reason="time"))
    place = leave(run, {"trials": 20})
    with Sweep(run) as sweep:
        wait_until(lambda: not place.exists())
        for request in (NARROWED, Request(trials=20), Request(pick="trial_0000")):
            with pytest.raises(UserError, match="once the run is finished, the same command does"):
                ask(str(run.path), request, at=place_of_work(str(run.path)))
    (told,) = sweep.told
    assert told.startswith("a request was left undone: a process is at work")
    assert read_history(run.log).steering == []


def test_what_a_dead_process_did_not_come_to_is_taken_in_by_the_next(run):
    file = leave(run, {"finish": True})
    with Sweep(run):
        wait_until(lambda: not file.exists())
    assert read_history(run.log).finish_asked


def test_a_process_that_does_not_come_to_it_is_asked_no_longer(run, monkeypatch):
    monkeypatch.setattr(requests, "PATIENCE", 0.1)
    held = locked(run.log)
    with pytest.raises(UserError, match=r"does not come to it: .* --status .*run tells"):
        ask(str(run.path), FINISH, at=place_of_work(str(run.path)))
    held.release()
    assert not list((run.path / REQUESTS).iterdir())
    assert place_of_work(str(run.path)) is None


def test_from_another_machine_it_is_asked_by_way_of_the_storage(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(lock, "SECONDS_A_BEAT", 0.2)
    run = begun_run(tmp_path / "run", storage_path=str(tmp_path / "S"))
    stored = str(tmp_path / "S" / "run")
    assert place_of_work(stored) is None
    # Without a process, what was left there is the first thing that the next one does.
    left = requests.leave(Request(stop="trial_0000"), at=Place.at(stored))
    with Sweep(run):
        wait_until(lambda: not left.exists())
        ((_, asked),) = ask(stored, FINISH, at=place_of_work(stored))
    assert isinstance(asked, FinishAsked)
    history = read_history(run.log)
    assert history.finish_asked
    assert history.trials["trial_0000"].state == "stopped_by_hand"
    assert not [name for name in run.storage.names() if name.startswith(REQUESTS)]


def leave(run: RunFolder, request: dict) -> Place:
    file = Place.at(run.path) / REQUESTS / "1.json"
    file.write(json.dumps(request).encode())
    return file


def wait_until(happened) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
