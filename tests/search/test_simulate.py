import math
from dataclasses import replace

import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import Experiment
from inat_ray.config.space import search_space
from inat_ray.run.curve_files import read_curves, write_curves
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveTable
from inat_ray.search.limits import Beyond
from inat_ray.search.simulate import Cluster, Simulation, recorded_limit, simulated

SPACE = {
    "recipe.lr": {"values": [0.1, 0.03, 0.01, 0.003]},
    "model.dense": {"values": [8, 16, 32, 64]},
}
EPOCHS = 9


def accuracy(parameters, epoch: int) -> float:
    """Best at a rate of 0.01 and 32 neurons; a curve that never crosses another's."""
    off = abs(math.log10(parameters["recipe.lr"]) + 2) + abs(
        math.log2(parameters["model.dense"]) - 5
    )
    return (0.9 - 0.1 * off) * epoch / (epoch + 1)


def table_of(**search) -> CurveTable:
    tree = {"recipe": {"epochs": EPOCHS}, "search": {"parameters": SPACE, "trials": 16, **search}}
    experiment = Experiment.model_validate(tree)
    space = search_space(experiment)
    curves = [
        Curve(
            parameters=point,
            seed=0,
            metrics={
                name: [accuracy(point, epoch) for epoch in range(1, EPOCHS + 1)]
                for name in CURVE_METRICS
            },
            seconds=[2.0] * EPOCHS,
        )
        for point in space.grid
    ]
    return CurveTable(experiment, space, curves)


def simulation(table: CurveTable, **cluster) -> Simulation:
    return Simulation(table.experiment, table.space, table.curve, Cluster(**cluster))


KINDS = ["none", "asha", "asha_promotion", "median"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["random", "bayes", "grid"])
def test_a_search_finds_the_best_point_that_was_recorded(method, kind):
    table = table_of(method=method, early_stopping={"kind": kind})
    history = simulation(table, workers=3).run()
    best = history.leaderboard()[0]
    assert best.parameters == {"recipe.lr": 0.01, "model.dense": 32}
    assert best.state == "finished"
    assert len(history.searched) == 16
    assert not history.active


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_seed_gives_the_same_search(workers):
    runs = [
        simulation(table_of(method="bayes"), workers=workers, failure_rate=0.1).run()
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_time_is_that_of_the_record_shared_by_the_workers():
    table = table_of(method="grid", early_stopping={"kind": "none"})
    alone, four = simulation(table), simulation(table, workers=4, startup_seconds=5.0)
    alone.run()
    four.run()
    assert alone.clock == 16 * EPOCHS * 2.0
    assert four.clock == 16 * (EPOCHS * 2.0 + 5.0) / 4


def test_after_failures_every_trial_still_has_all_its_epochs():
    table = table_of(method="grid", early_stopping={"kind": "none"})
    disturbed = simulation(table, workers=2, failure_rate=0.3)
    history = disturbed.run()
    assert [len(trial.epochs) for trial in history.searched] == [EPOCHS] * 16
    undisturbed = simulation(table, workers=2)
    undisturbed.run()
    assert disturbed.clock > 1.2 * undisturbed.clock


def test_a_budget_of_epochs_ends_the_search_at_once():
    history = simulation(table_of(epochs=40), workers=4).run()
    assert history.ended == "epochs"
    assert 40 <= history.epochs_spent < 44


def test_with_promotion_the_search_goes_on_until_its_target_is_reached():
    reached = table_of(early_stopping={"kind": "asha_promotion"}, target=0.8)
    assert simulation(reached, workers=2).run().ended == "target"
    beyond = table_of(early_stopping={"kind": "asha_promotion"}, target=0.99)
    history = simulation(beyond, workers=2).run()
    assert {trial.state for trial in history.searched} == {"finished"}


def test_early_stopping_spends_less_and_an_outcome_says_how_much():
    spent = {}
    for kind in KINDS:
        table = table_of(method="random", early_stopping={"kind": kind, "min_trials": 3})
        outcome = simulated(table.experiment, table, Cluster(workers=2), within=0.001)
        assert outcome.best == pytest.approx(0.81)
        assert 0 < outcome.epochs_to_good <= outcome.epochs
        assert outcome.seconds_to_good > 0
        spent[kind] = outcome.epochs
    assert spent["none"] == 16 * EPOCHS
    assert max(spent["asha"], spent["asha_promotion"], spent["median"]) < 0.7 * spent["none"]


def with_sizes(table: CurveTable) -> CurveTable:
    """A network has a thousand parameters, and ten MACs, for each of its dense neurons."""
    curves = [
        replace(c, size=(1000 * c.parameters["model.dense"], 10 * c.parameters["model.dense"]))
        for c in table.curves
    ]
    return replace(table, curves=curves)


@pytest.mark.parametrize("method", ["random", "bayes", "grid"])
def test_points_beyond_the_limits_are_not_trained(method):
    table = with_sizes(table_of(method=method, limits={"parameters": 16_000}))
    limit = recorded_limit(table.experiment, table)
    history = Simulation(table.experiment, table.space, table.curve, Cluster(2), limit=limit).run()
    assert {trial.parameters["model.dense"] for trial in history.searched} == {8, 16}
    assert history.beyond
    best = simulated(table.experiment, table, Cluster(2), within=0.0)
    assert best.epochs_to_good is not None  # the best of those within the limits is good
    assert best.epochs == history.epochs_spent


def test_a_size_does_not_depend_on_how_a_network_is_trained():
    table = with_sizes(table_of())
    assert table.size({"recipe.lr": 123.0, "model.dense": 32}) == (32_000, 320)
    assert table_of().size({"model.dense": 32}) is None


def test_points_that_were_beyond_the_limits_of_the_record_are_so_again(tmp_path):
    table = with_sizes(table_of(limits={"macs": 160}))
    left = [c for c in table.curves if c.size[1] <= 160]
    beyond = [Beyond(dict(c.parameters), *c.size) for c in table.curves if c not in left]
    write_curves(replace(table, curves=left, beyond=beyond), tmp_path / "t.parquet", provenance={})
    read = read_curves(tmp_path / "t.parquet")
    assert read.beyond == beyond
    limit = recorded_limit(read.experiment, read)
    assert [limit(each.parameters) for each in beyond] == beyond
    assert not any(limit(dict(c.parameters)) for c in left)


def test_limits_that_leave_nothing_of_the_record_are_told():
    table = with_sizes(table_of(limits={"parameters": 1}))
    with pytest.raises(UserError, match=r"search\.limits: all that was recorded is beyond them"):
        simulated(table.experiment, table, Cluster(), within=0.0)


def test_a_table_survives_the_disk(tmp_path):
    table = table_of()
    write_curves(table, tmp_path / "t.parquet", provenance={"machine": "made up"})
    read = read_curves(tmp_path / "t.parquet")
    assert read.is_complete
    assert read.experiment == table.experiment
    assert [c.parameters for c in read.curves] == [c.parameters for c in table.curves]
    assert read.curves[5].metrics["val_accuracy"] == pytest.approx(
        table.curves[5].metrics["val_accuracy"]
    )


def test_the_nearest_curve_stands_in_for_one_that_is_missing():
    table = table_of()
    missing = {"recipe.lr": 0.01, "model.dense": 32}
    rest = [c for c in table.curves if c.parameters != missing]
    part = CurveTable(table.experiment, table.space, rest)
    assert not part.is_complete
    near = part.curve(missing).parameters
    assert sum(near[name] != missing[name] for name in missing) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epochs", [1, 2])
def test_a_curve_that_was_cut_short_ends_there(kind, epochs):
    """Also at a rung, from which its trial would have gone on."""
    table = table_of(early_stopping={"kind": kind, "min_epochs": 1}, target=0.99)
    short = [
        Curve(
            parameters=c.parameters,
            seed=c.seed,
            metrics={name: values[:epochs] for name, values in c.metrics.items()},
            seconds=c.seconds[:epochs],
        )
        for c in table.curves
    ]
    history = simulation(CurveTable(table.experiment, table.space, short)).run()
    assert {trial.state for trial in history.searched} == {"stopped"}
    assert max(len(trial.epochs) for trial in history.searched) == epochs


def test_no_trial_is_left_to_go_on_after_the_search_is_over():
    """Also none whose process died as the budget was spent."""
    for seed in range(20):
        table = table_of(early_stopping={"kind": "asha_promotion"}, epochs=20)
        experiment = table.experiment.model_copy(update={"seed": seed})
        simulated = Simulation(experiment, table.space, table.curve, Cluster(4, failure_rate=0.5))
        history = simulated.run()
        assert not history.waiting
        assert not history.unfinished
