import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inat_ray.config.space import search_space
from inat_ray.log.history import History
from inat_ray.log.records import (
    AnyRecord,
    RunResumed,
    SearchEnded,
    TrialEnded,
    TrialKnown,
    TrialPaused,
    TrialStarted,
)
from inat_ray.search.agenda import (
    WAIT,
    Agenda,
    Work,
    confirm_agenda,
    cut_short,
    planned_trials,
    search_agenda,
    to_confirm,
)
from inat_ray.search.limits import Beyond, no_limit
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.searchers import SEARCHERS
from inat_ray.search.stopping import state_after_epoch
from inat_ray.search.winner import winning_trial
from tests.search.histories import begun, epoch_of, experiment_of, narrower_than


def agenda_of(*, limit=no_limit, **search):
    """(agenda, history at the start, settings of the search)."""
    experiment = experiment_of(**search)
    agenda = search_agenda(experiment, search_space(experiment), limit)
    return agenda, begun(experiment), experiment.search


def begin(history: History, work: Work) -> str:
    assert isinstance(work, Work)
    history.add(work.record())
    return work.trial_id


def test_trials_are_numbered_and_seeded_in_order():
    agenda, history, _ = agenda_of(trials=3)
    works = []
    for _ in range(3):
        works.append(agenda(history))
        begin(history, works[-1])
    assert [w.trial_id for w in works] == ["trial_0000", "trial_0001", "trial_0002"]
    assert [w.seed for w in works] == [0, 1, 2]


def test_the_trials_of_an_ablation_share_a_seed_where_none_is_searched():
    agenda, history, _ = agenda_of(
        method="ablation", parameters={"recipe.lr": {"values": [0.1, 0.2]}}
    )
    works = []
    for _ in range(3):
        works.append(agenda(history))
        begin(history, works[-1])
    assert [w.seed for w in works] == [0, 0, 0]
    assert len({w.parameters["recipe.lr"] for w in works}) == 3


def planned(**search) -> int:
    experiment = experiment_of(**search)
    return planned_trials(experiment.search, search_space(experiment))


@pytest.mark.parametrize(("trials", "expected"), [(None, 9), (4, 4), (9, 9), (50, 9)])
def test_a_grid_has_all_its_points_or_the_first_of_them(trials, expected):
    assert planned(method="grid", trials=trials) == expected


def test_an_ablation_plans_the_experiment_as_it_is_and_every_change():
    assert planned(method="ablation", parameters={"model.dropout": {"values": [0.1, 0.2]}}) == 3


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_search_that_does_not_say_how_many_trials_has_ten(method):
    parameters = {"recipe.lr": {"min": 0.1, "max": 0.2}}
    assert planned(method=method, parameters=parameters) == 10
    assert planned(method=method, parameters=parameters, trials=50) == 50


def test_it_waits_for_what_runs_and_ends_when_nothing_does():
    agenda, history, _ = agenda_of(trials=1, early_stopping={"kind": "asha_promotion"})
    trial_id = begin(history, agenda(history))
    assert agenda(history) == WAIT
    history.add(epoch_of(trial_id, 1, 0.5))
    history.add(TrialEnded(trial_id=trial_id, state="finished"))
    assert agenda(history) == "trials"


def test_a_space_without_an_untried_point_ends_the_search():
    agenda, history, _ = agenda_of(parameters={"recipe.lr": {"values": [0.1, 0.2]}}, trials=9)
    for _ in range(2):
        trial_id = begin(history, agenda(history))
        history.add(TrialEnded(trial_id=trial_id, state="failed"))
    assert agenda(history) == "points"


def test_what_was_cut_off_goes_on_from_its_last_epoch_before_anything_new():
    agenda, history, _ = agenda_of(trials=9)
    first, second = begin(history, agenda(history)), begin(history, agenda(history))
    history.add(epoch_of(second, 1, 0.5))
    history.add(RunResumed(trials=9))
    work = agenda(history)
    assert (work.trial_id, work.epochs_done, work.checkpoint, work.is_new) == (
        first,
        0,
        None,
        False,
    )
    begin(history, work)
    work = agenda(history)
    assert (work.trial_id, work.epochs_done) == (second, 1)
    assert work.checkpoint == history.trials[second].epochs[-1].checkpoint
    begin(history, work)
    assert agenda(history).trial_id == "trial_0002"


def test_a_paused_trial_is_promoted_before_a_new_one_begins():
    agenda, history, _ = agenda_of(trials=9, early_stopping={"kind": "asha_promotion"})
    for accuracy in (0.1, 0.3, 0.2):
        trial_id = begin(history, agenda(history))
        history.add(epoch_of(trial_id, 1, accuracy))
        history.add(TrialPaused(trial_id=trial_id))
    assert agenda(history).trial_id == "trial_0001"


def test_a_search_that_has_ended_has_no_more_work_until_it_is_extended():
    agenda, history, _ = agenda_of(trials=1)
    trial_id = begin(history, agenda(history))
    history.add(TrialEnded(trial_id=trial_id, state="failed"))
    history.add(SearchEnded(reason="trials"))
    assert agenda(history) == "trials"
    history.add(RunResumed(trials=2, extended=True))
    assert agenda(history).trial_id == "trial_0001"


CHOSEN = (0.4, 0.3, 0.2, 0.1)
"""Accuracies of a finished search's trials."""


def confirmation(*, top: int, seeds: int) -> tuple[Agenda, list[AnyRecord]]:
    """The agenda after a search of four trials, and the search's records."""
    experiment = experiment_of(trials=4, confirm={"top": top, "seeds": seeds})
    records: list[AnyRecord] = [begun(experiment).run]
    for number, accuracy in enumerate(CHOSEN):
        trial_id, parameters = f"trial_{number:04d}", {"recipe.lr": accuracy}
        records += [
            TrialStarted(trial_id=trial_id, seed=number, parameters=parameters, epochs=2),
            *(epoch_of(trial_id, epoch, accuracy) for epoch in (1, 2)),
            TrialEnded(trial_id=trial_id, state="finished"),
        ]
    records.append(SearchEnded(reason="trials"))
    chosen = to_confirm(experiment, History.of(records))
    return confirm_agenda(experiment, chosen), records


def taken(agenda: Agenda, history: History) -> list[tuple[str, int]]:
    """(configuration, seed) of all work that it has before any of that ends."""
    works = []
    while isinstance(work := agenda(history), Work):
        works.append((work.trial_id.partition("_seed_")[0], work.seed))
        begin(history, work)
    return works


def finish(history: History, accuracies: dict[str, float]) -> None:
    for trial in list(history.active.values()):
        accuracy = accuracies[trial.trial_id.partition("_seed_")[0]]
        state = "finished" if math.isfinite(accuracy) else "diverged"
        history.add(epoch_of(trial.trial_id, 1, accuracy))
        history.add(epoch_of(trial.trial_id, 2, accuracy))
        history.add(TrialEnded(trial_id=trial.trial_id, state=state))


def test_a_confirmation_that_is_late_begins_no_other_training():
    agenda, records = confirmation(top=3, seeds=3)
    history = History.of(records)
    experiment = experiment_of(trials=4, time=1e10, time_covers="run")
    in_time = cut_short(agenda, experiment.search)
    late = cut_short(agenda, experiment.search.model_copy(update={"time": 1e-9}))
    assert late(history) == "time"
    assert len(taken(in_time, history)) == 3
    assert late(history) == WAIT
    finish(history, {"trial_0000": 0.1, "trial_0001": 0.3, "trial_0002": 0.2})
    assert late(history) == "time"
    assert isinstance(in_time(history), Work)


@pytest.mark.parametrize(
    ("third", "finalists"),
    [(0.5, ["trial_0002", "trial_0001"]), (math.nan, ["trial_0001", "trial_0000"])],
)
def test_the_chosen_get_a_new_seed_each_and_the_best_two_of_them_the_others(third, finalists):
    agenda, records = confirmation(top=3, seeds=3)
    history = History.of(records)
    first = taken(agenda, history)
    assert [name for name, _ in first] == ["trial_0000", "trial_0001", "trial_0002"]
    assert agenda(history) == WAIT
    finish(history, {"trial_0000": 0.1, "trial_0001": 0.3, "trial_0002": third})
    further = taken(agenda, history)
    assert [name for name, _ in further] == finalists * 2
    finish(history, dict.fromkeys(finalists, 0.3))
    assert agenda(history) == "trials"
    seeds = [first[0][1], further[0][1], further[2][1]]
    assert [seed for _, seed in first + further] == [seeds[0]] * 3 + [seeds[1]] * 2 + [seeds[2]] * 2
    assert len(set(seeds) - {trial.seed for trial in history.searched}) == 3


def test_a_run_of_an_earlier_version_is_confirmed_as_it_was_begun():
    """With every seed for each."""
    agenda, records = confirmation(top=3, seeds=2)
    run = records[0].model_copy(update={"version": 2})
    works = taken(agenda, History.of([run, *records[1:]]))
    assert [name for name, _ in works] == ["trial_0000", "trial_0001", "trial_0002"] * 2


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(2, 4), st.integers(1, 3), st.data())
def test_a_confirmation_trains_the_same_however_often_and_wherever_it_is_killed(
    top, seeds, slots, data
):
    agenda, records = confirmation(top=top, seeds=seeds)
    whole, lived = History.of(records), History.of(records)
    quality = {f"trial_{number:04d}": 0.2 + 0.1 * (number * 3 % 4) for number in range(4)}
    while taken(agenda, whole):
        finish(whole, quality)
    events, kills = st.integers(0, 9), 6
    for _ in range(200):
        work = agenda(lived)
        assert agenda(History.of(records)) == work
        kill = kills and data.draw(events) < 3
        kills -= bool(kill)
        if kill:
            record = RunResumed(trials=4)
        elif isinstance(work, Work) and len(lived.active) < slots:
            record = work.record()
        elif not lived.active:
            break
        else:
            running = data.draw(st.sampled_from([*lived.active.values()]))
            done = len(running.epochs)
            record = (
                TrialEnded(trial_id=running.trial_id, state="finished")
                if done == running.planned_epochs
                else epoch_of(
                    running.trial_id, done + 1, quality[running.trial_id.partition("_seed_")[0]]
                )
            )
        records.append(record)
        lived.add(record)
    assert {t.trial_id for t in lived.confirming} == {t.trial_id for t in whole.confirming}
    assert {t.state for t in lived.confirming} == {"finished"}
    assert winning_trial(lived).trial_id == winning_trial(whole).trial_id


def accuracy_of(parameters, epoch: int) -> float:
    """A made-up training: nothing but a function of the point and the epoch."""
    return 1 / (1 + abs(math.log10(parameters["recipe.lr"]) + 2)) * epoch / (epoch + 3)


SEARCHES = st.fixed_dictionaries(
    {
        "limit": st.sampled_from([no_limit, narrower_than(32), narrower_than(8)]),
        "method": st.sampled_from([name for name in SEARCHERS if name != "ablation"]),
        "trials": st.integers(1, 9),
        "epochs": st.none() | st.integers(1, 40),
        "early_stopping": st.sampled_from(list(SCHEDULERS)).map(
            lambda kind: {"kind": kind, "min_epochs": 1, "reduction_factor": 3, "min_trials": 2}
        ),
    }
)


@settings(max_examples=40, deadline=None)
@given(SEARCHES, st.sampled_from([0, 20]), st.integers(1, 3), st.data())
def test_replaying_any_prefix_gives_the_decisions_of_living_through_it(search, known, slots, data):
    """Records by several slots in any order; at each one the replayed history decides the same."""
    agenda, lived, search_config = agenda_of(**search)
    records, limit = [lived.run], search["limit"]
    running: list[str] = []

    def add(record) -> None:
        records.append(record)
        lived.add(record)

    for number in range(known):
        rate, dense = [0.1, 0.01, 0.001][number % 3], [8, 16, 32][number // 3 % 3]
        add(
            TrialKnown(
                source=f"runs/{number % 2} trial_{number:04d}",
                parameters={"recipe.lr": rate, "model.dense": dense},
                values=[number / 20] * (1 + number % 3),
                state="finished",
            )
        )
    for _ in range(400):
        replayed = History.of(records)
        work = agenda(lived)
        assert agenda(replayed) == work
        if isinstance(work, Beyond):
            add(work.record())
            continue
        if isinstance(work, Work) and len(running) < slots:
            running.append(work.trial_id)
            add(work.record())
            continue
        if not running:
            break
        trial = lived.trials[running[data.draw(st.integers(0, len(running) - 1))]]
        epoch = len(trial.epochs) + 1
        add(epoch_of(trial.trial_id, epoch, accuracy_of(trial.parameters, epoch)))
        state = state_after_epoch(search_config, lived, trial.trial_id)
        assert state_after_epoch(search_config, History.of(records), trial.trial_id) == state
        if state != "running":
            running.remove(trial.trial_id)
            paused = TrialPaused(trial_id=trial.trial_id)
            add(paused if state == "paused" else TrialEnded(trial_id=trial.trial_id, state=state))
    assert not running
    assert not isinstance(agenda(lived), Work)
    assert not any(limit(trial.parameters) for trial in lived.searched)
