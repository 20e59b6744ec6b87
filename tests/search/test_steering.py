import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inat_ray.config.errors import UserError
from inat_ray.config.space import search_space
from inat_ray.log.history import History
from inat_ray.log.records import (
    FinishAsked,
    LookAtTest,
    RunResumed,
    SearchEnded,
    StopAsked,
    TrialEnded,
    TrialPaused,
    TrialStarted,
)
from inat_ray.search.agenda import Work, present_space, run_started, search_agenda
from inat_ray.search.observations import observations
from inat_ray.search.steering import Request, answered, change_asked, total_with
from inat_ray.search.stopping import state_after_epoch
from tests.search.histories import epoch_of, experiment_of

PARAMETERS = {
    "recipe.lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    "recipe.optimizer": {"values": ["adamw", "sgd"]},
    "recipe.momentum": {"min": 0.5, "max": 0.99, "when": {"recipe.optimizer": "sgd"}},
}

LR = "search.parameters.recipe.lr"


class Search:
    """A made-up search of one worker: its experiment, its space, and its history so far."""

    def __init__(self, *, parameters=PARAMETERS, **search) -> None:
        self.experiment = experiment_of(parameters=parameters, **({"trials": 9} | search))
        self.space = search_space(self.experiment)
        self.history = History.of([run_started(self.experiment, self.space)])

    def ask(self, *settings: str, **asked):
        """What a request makes, once it is in the history."""
        request = Request(settings=settings, **asked)
        (record,) = self.answer(request)
        self.history.add(record)
        return record

    def answer(self, request: Request):
        about = {"experiment": self.experiment, "space": self.space}
        return answered(request, **about, history=self.history)

    def next(self):
        return search_agenda(self.experiment, self.space)(self.history)

    def train(self, epochs: int = 1, state: str | None = "finished") -> dict:
        """Trains the next trial; returns its point."""
        work = self.next()
        assert isinstance(work, Work)
        self.history.add(work.record())
        for epoch in range(1, epochs + 1):
            self.history.add(epoch_of(work.trial_id, epoch, 0.5))
        if state is not None:
            self.history.add(TrialEnded(trial_id=work.trial_id, state=state))
        return work.parameters


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_range_that_was_narrowed_is_drawn_from_and_what_was_tried_stays_known(method):
    search = Search(method=method, trials=30)
    before = [search.train()["recipe.lr"] for _ in range(10)]
    changed = search.ask(f"{LR}.min=1e-3", f"{LR}.max=3e-3")
    assert changed.parameters["recipe.lr"] == PARAMETERS["recipe.lr"] | {"min": 1e-3, "max": 3e-3}
    assert changed.before == {"recipe.lr": PARAMETERS["recipe.lr"]}
    after = [search.train()["recipe.lr"] for _ in range(10)]
    assert min(before) < 1e-3
    assert max(before) > 3e-3
    assert all(1e-3 <= lr <= 3e-3 for lr in after)
    assert len(observations(search.history, search.experiment.search.early_stopping)) == 20


def test_a_point_outside_says_nothing_of_where_it_lies_inside_and_all_else_that_it_has():
    search = Search()
    search.ask(f"{LR}.max=1e-3")
    space = present_space(search.experiment, search.space)(search.history)
    lr, optimizer, momentum = space.codes({"recipe.lr": 0.05, "recipe.optimizer": "sgd"})
    assert math.isnan(lr)
    assert optimizer == 1
    assert math.isnan(momentum)


def test_a_range_that_was_widened_is_drawn_from_as_a_whole():
    search = Search(trials=60)
    search.ask(f"{LR}.min=1e-6")
    assert min(search.train()["recipe.lr"] for _ in range(30)) < 1e-4


def test_a_choice_loses_a_value_with_what_depends_on_it_and_gains_one():
    search = Search(trials=40)
    search.ask("search.parameters.recipe.optimizer.values=[adamw, muon]")
    points = [search.train() for _ in range(20)]
    assert {point["recipe.optimizer"] for point in points} == {"adamw", "muon"}
    assert not any("recipe.momentum" in point for point in points)
    search.ask("search.parameters.recipe.optimizer.values=[sgd]")
    assert search.train().keys() == PARAMETERS.keys()


def test_a_first_point_that_the_space_has_no_longer_is_passed_over():
    first = [{"recipe.lr": lr, "recipe.optimizer": "adamw"} for lr in (0.1, 1e-2, 1e-3)]
    search = Search(first=first)
    assert search.train()["recipe.lr"] == 0.1
    search.ask(f"{LR}.max=5e-3")
    assert search.train()["recipe.lr"] == 1e-3
    assert search.train()["recipe.lr"] not in (0.1, 1e-2, 1e-3)


GRID = {"recipe.lr": {"values": [0.1, 0.01]}, "model.dense": {"values": [8, 16]}}


@pytest.mark.parametrize("trials", [None, 100])
def test_a_grid_tries_the_points_that_were_added_and_not_those_that_were_dropped(trials):
    search = Search(parameters=GRID, method="grid", trials=trials)
    assert search.train() == {"recipe.lr": 0.1, "model.dense": 8}
    changed = search.ask(f"{LR}.values=[0.01, 0.001]")
    assert changed.trials == 5
    rest = []
    while isinstance(search.next(), Work):
        rest.append(tuple(search.train().values()))
    assert rest == [(0.01, 8), (0.01, 16), (0.001, 8), (0.001, 16)]
    assert search.next() == "trials"


def test_a_grid_that_has_ended_gets_more_points_time_and_again():
    search = Search(parameters=GRID, method="grid")
    values = [0.1, 0.01]
    for more in (0.02, 0.03):
        while isinstance(search.next(), Work):
            search.train()
        search.history.add(SearchEnded(reason="trials"))
        values.append(more)
        (changed,) = search.answer(Request(settings=(f"{LR}.values={values}",)))
        assert changed.trials == 2 * len(values)
        planned = search.history.planned_trials
        search.history.add(RunResumed(trials=planned, extended=True))
        search.history.add(changed)
    assert len(search.history.searched) == 6


def test_points_beyond_the_limits_count_among_those_of_a_changed_space():
    search = Search(parameters=GRID, method="random", trials=100, limits={"macs": "1M"})
    search.train()
    changed = search.ask(f"{LR}.values=[0.1, 0.01, 0.001]")
    assert (changed.trials, changed.points) == (6, 6)


def test_the_number_of_trials_is_raised_and_lowered():
    search = Search(trials=3)
    for trials in (2, 5):
        search.ask(trials=trials)
        while isinstance(search.next(), Work):
            search.train()
        assert len(search.history.searched) == trials
    search.ask(trials=1)
    assert search.next() == "trials"
    assert len(search.history.searched) == 5


def test_a_change_of_the_space_keeps_the_number_of_trials_that_was_asked_for():
    search = Search(trials=3)
    search.ask(trials=5)
    assert search.ask(f"{LR}.max=1e-2").trials == 5


def test_an_extension_counts_from_what_there_is_once_the_search_has_ended():
    search = Search(trials=9)
    search.train()
    assert total_with(search.history, 2) == 11
    search.history.add(SearchEnded(reason="asked"))
    assert total_with(search.history, 2) == 3


def test_a_trial_that_runs_is_ended_after_its_present_epoch_and_is_not_resumed():
    search = Search()
    search.train(epochs=2, state=None)
    assert search.ask(stop="trial_0000") == StopAsked(
        trial_id="trial_0000", epochs=3, time=search.history.newest.time
    )
    assert judged(search) == "running"
    search.history.add(RunResumed(trials=9))
    assert search.next().trial_id == "trial_0000"
    search.history.add(search.next().record())
    search.history.add(epoch_of("trial_0000", 3, 0.5))
    assert judged(search) == "stopped_by_hand"
    search.history.add(TrialEnded(trial_id="trial_0000", state="stopped_by_hand"))
    assert search.next().trial_id == "trial_0001"
    assert search.history.leader.trial_id == "trial_0000"


def judged(search: Search) -> str:
    return state_after_epoch(search.experiment.search, search.history, "trial_0000")


def test_a_paused_trial_has_had_enough_at_once():
    search = Search(early_stopping={"kind": "asha_promotion"})
    search.train(state=None)
    search.history.add(TrialPaused(trial_id="trial_0000"))
    assert search.ask(stop="trial_0000").epochs == 1


def test_what_runs_is_stopped_after_its_epoch_when_the_search_is_to_end():
    search = Search(early_stopping={"kind": "asha"})
    search.train(state=None)
    search.ask(finish=True)
    assert judged(search) == "stopped"
    assert search.next() == "asked"


def test_a_search_that_was_to_end_goes_on_with_more_trials():
    search = Search(trials=3)
    search.train()
    search.ask(finish=True)
    search.ask(trials=3)
    assert isinstance(search.next(), Work)
    search.ask(finish=True)
    search.history.add(SearchEnded(reason="asked"))
    search.history.add(RunResumed(trials=3, extended=True))
    assert isinstance(search.next(), Work)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(settings=("recipe.epochs=3",)), "recipe.epochs: stays as it is .*--warm-start"),
        (Request(settings=("search.metric.name=val_loss",)), "search.metric.name: stays as it is"),
        (
            Request(settings=("search.parameters.model.dense={values: [8]}",)),
            "model.dense: a search keeps its parameters; a new sweep with --warm-start RUN",
        ),
        (Request(settings=(f"{LR}=null",)), "recipe.lr: a search keeps its parameters"),
        (Request(settings=(f"{LR}=0.1",)), "recipe.lr: 0.1: a distribution is allowed"),
        (Request(settings=(f"{LR}={{min: 0.1, max: 0.2}}",)), "a range stays a range on its scale"),
        (Request(settings=(f"{LR}={{values: [0.1, 0.2]}}",)), "a choice a choice"),
        (Request(settings=(f"{LR}.max=1e-5",)), "recipe.lr: min 0.0001 is above max 1e-05"),
        (Request(settings=(f"{LR}.max=100",)), "recipe.lr.*10"),
        (Request(settings=(f"{LR}.most=100",)), "recipe.lr.most: a search keeps its parameters"),
        (Request(settings=(f"{LR}.max=0.1",)), "the search is as they say already"),
        (
            Request(settings=("search.parameters.recipe.momentum.when={recipe.optimizer: adamw}",)),
            "recipe.momentum.when: a condition stays",
        ),
        (Request(settings=("search.parameters.recipe.optimizer.values=[lion]",)), "lion"),
        (Request(trials=9), "the search is as they say already"),
        (Request(settings=("search.epochs=0",)), "--set search.epochs: 0: .* greater than"),
        (Request(settings=("search.time=soon",)), "--set search.time: 'soon': .* number"),
        (Request(settings=("search.target=3",)), "target 3.0: val_accuracy is a share"),
        (
            Request(settings=("search.epochs=1",)),
            "search.epochs 1: the search has had 1 epochs; --finish RUN ends it now",
        ),
        (Request(settings=("search.target=0.4",)), "the search has reached 0.5; --finish"),
        (Request(settings=("search.target=null",)), "the search is as they say already"),
        (Request(pick="trial_0000"), "--pick trial_0000: the run is not finished yet; --resume"),
        (Request(stop="trial_0002"), "--stop trial_0002: the run has no trial of that name"),
        (Request(stop="trial_0000"), "--stop trial_0000: has ended already: finished, after 1"),
        (Request(stop="winner"), "--stop winner: is no trial of the search"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(request_, message):
    search = Search()
    search.train()
    search.history.add(
        TrialStarted(trial_id="winner", purpose="final", seed=0, parameters={}, epochs=9)
    )
    with pytest.raises(UserError, match=message):
        search.answer(request_)


def test_a_budget_holds_from_then_on_until_another_takes_its_place():
    search = Search(epochs=4)
    search.train(epochs=3)
    changed = search.ask("search.epochs=8", "search.time=2h")
    assert changed.budgets == {"epochs": 8, "time": 7200}
    assert changed.budgets_before == {"epochs": 4, "time": None}
    search.train(epochs=3)
    assert isinstance(search.next(), Work)
    search.ask("search.epochs=null")
    search.train(epochs=3)
    assert isinstance(search.next(), Work)
    search.ask("search.epochs=10")
    search.train(epochs=1)
    assert search.next() == "epochs"


def test_a_budget_that_ended_a_search_is_raised_and_the_others_hold_still():
    search = Search(epochs=4, trials=3)
    search.train(epochs=4)
    search.history.add(SearchEnded(reason="epochs"))
    for settings_ in (("search.target=0.9",), (f"{LR}.max=1e-2",)):
        with pytest.raises(
            UserError, match=r"search.epochs 4: .* 4 epochs; --set search.epochs=... "
        ):
            search.answer(Request(settings=settings_))
    (changed,) = search.answer(Request(settings=("search.epochs=8",)))
    assert changed.budgets == {"epochs": 8, "time": None, "target": None}
    search.history.add(RunResumed(trials=3, extended=True))
    search.history.add(changed)
    search.train(epochs=4)
    assert search.next() == "epochs"


def test_trials_after_the_end_lift_the_budgets_that_are_not_named_beside_them():
    search = Search(epochs=4, trials=3, target=0.9)
    search.train(epochs=4)
    search.history.add(SearchEnded(reason="epochs"))
    (changed,) = search.answer(Request(settings=("search.target=0.6",), trials=5))
    assert changed.budgets == {"epochs": None, "time": None, "target": 0.6}


def test_a_search_keeps_an_end():
    search = Search(trials=None, epochs=9)
    search.train()
    with pytest.raises(UserError, match=r"search.epochs: leaves the search no end; --trials N"):
        search.ask("search.epochs=null")
    assert search.ask("search.epochs=null", trials=20).trials == 20


def finished(*, final: str = "trial_0000") -> Search:
    """A search of two trials and a failed one, with the model of one of them."""
    search = Search(trials=3)
    points = [search.train(state=state) for state in ("finished", "finished")]
    search.train(epochs=0, state="failed")
    search.history.add(SearchEnded(reason="trials"))
    number = int(final[-4:])
    about = {"purpose": "final", "seed": number, "parameters": points[number], "epochs": 1}
    search.history.add(TrialStarted(trial_id="winner", **about))
    search.history.add(epoch_of("winner", 1, 0.5))
    search.history.add(TrialEnded(trial_id="winner", state="finished"))
    return search


LOOK = LookAtTest(model="best.safetensors", accuracy=0.6, loss=1.0, images=5, predictions="p")


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        ("trial_0009", "has no trial of that name; its trials are trial_0000 to trial_0002"),
        ("winner", "has no trial of that name"),
        ("trial_0002", r"has no result \(failed\)"),
        ("trial_0000", "the run's model is of that trial already"),
    ],
)
def test_a_trial_is_picked_for_the_model_of_a_run_that_is_finished(trial, reason):
    search = finished()
    with pytest.raises(UserError, match="the run is not finished yet"):
        search.answer(Request(pick="trial_0001"))
    search.history.add(LOOK)
    with pytest.raises(UserError, match=f"--pick {trial}: .*{reason}"):
        search.answer(Request(pick=trial))
    assert search.ask(pick="trial_0001").trial_id == "trial_0001"
    with pytest.raises(UserError, match="the run is not finished yet"):
        search.answer(Request(pick="trial_0000"))


def test_nothing_is_asked_twice():
    search = Search()
    search.train(state=None)
    for again in ({"stop": "trial_0000"}, {"finish": True}):
        search.ask(**again)
        with pytest.raises(UserError, match="was asked for already"):
            search.ask(**again)


def test_a_choice_of_numbers_gets_no_text():
    search = Search(parameters={"recipe.gradient_clip": {"values": [1, 2]}})
    with pytest.raises(UserError, match="its values so far have the type number"):
        search.ask("search.parameters.recipe.gradient_clip.values=[1, null]")


def test_a_search_that_has_ended_has_no_end_to_be_asked_for_unless_it_is_being_confirmed():
    for confirm, is_refused in ((None, True), ({"top": 1, "seeds": 2}, False)):
        search = Search(confirm=confirm)
        search.history.add(SearchEnded(reason="trials"))
        if is_refused:
            with pytest.raises(UserError, match="has ended already"):
                search.ask(finish=True)
        else:
            assert isinstance(search.ask(finish=True), FinishAsked)


def test_a_training_is_not_steered():
    search = Search()
    search.history = History.of([run_started(search.experiment)])
    for asked in ({"finish": True}, {"stop": "trial_0000"}):
        with pytest.raises(UserError, match="is of train, so there is no search"):
            search.ask(**asked)


def test_settings_of_the_search_are_told_from_those_of_the_machine():
    lines = [f"{LR}.max=1", " search.time = 2h", "resources.max_concurrent=1"]
    request, others = change_asked(lines, trials=3)
    assert request == Request(settings=tuple(lines[:2]), trials=3)
    assert others == lines[2:]
    with pytest.raises(UserError, match="--trials 0: 1 to 100,000 are allowed"):
        change_asked([], trials=0)
    with pytest.raises(UserError, match="--trials N changes the number"):
        change_asked(["search.trials=5"], trials=None)


ASKED = st.sampled_from(
    [
        Request(settings=(f"{LR}.values=[0.1, 0.02, 0.001]",)),
        Request(settings=("search.parameters.model.dense.values=[16]",), trials=6),
        Request(trials=3),
        Request(trials=8),
        *(Request(settings=(f"search.epochs={epochs}",)) for epochs in (5, 20, "null")),
        Request(finish=True),
        *(Request(stop=f"trial_{number:04d}") for number in range(3)),
    ]
)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["random", "bayes", "grid"]),
    st.sampled_from(["asha", "asha_promotion"]),
    st.integers(1, 3),
    st.data(),
)
def test_a_steered_search_is_replayed_to_the_same_decisions_at_every_record(
    method, kind, slots, data
):
    """Several workers, whose epochs end in any order."""
    search = Search(parameters=GRID, method=method, early_stopping={"kind": kind})
    agenda = search_agenda(search.experiment, search.space)
    records = [search.history.run]

    def add(record) -> None:
        records.append(record)
        search.history.add(record)

    for _ in range(40):
        if data.draw(st.integers(0, 4)) == 0:
            with suppress(UserError):
                (asked,) = search.answer(data.draw(ASKED))
                add(asked)
        work = agenda(search.history)
        assert agenda(History.of(records)) == work
        if isinstance(work, Work) and len(search.history.active) < slots:
            add(work.record())
            continue
        if not (running := list(search.history.active)):
            break
        trial = search.history.trials[data.draw(st.sampled_from(running))]
        epoch = len(trial.epochs) + 1
        add(epoch_of(trial.trial_id, epoch, 1 / (trial.number + 2) * epoch / (epoch + 3)))
        about = search.experiment.search
        state = state_after_epoch(about, search.history, trial.trial_id)
        assert state_after_epoch(about, History.of(records), trial.trial_id) == state
        if state == "paused":
            add(TrialPaused(trial_id=trial.trial_id))
        elif state != "running":
            add(TrialEnded(trial_id=trial.trial_id, state=state))
