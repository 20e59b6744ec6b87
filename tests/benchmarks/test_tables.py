from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inat_ray.config.space import search_space
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveTable
from tests.benchmarks.search import FLOWERS
from tests.benchmarks.tables import METRIC, Formula, Recorded, TaskSet, random_point, world_of
from tests.search.histories import experiment_of

EPOCHS = 6


def peak(point):
    """Best at a rate of 0.1 with dropout 0.2; without batch norm there is no momentum."""
    off = (np.log10(point["recipe.lr"]) + 1) ** 2 + (point["model.dropout"] - 0.2) ** 2
    return 0.8 - 0.2 * off - (0.1 if point["recipe.augment"] else 0.0)


@pytest.fixture(scope="module")
def record():
    """60 points of a space with a range on a log scale, trained with two seeds each."""
    experiment = experiment_of(
        parameters={
            "recipe.augment": {"values": [True, False]},
            "recipe.lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0},
            "model.dropout": {"min": 0.0, "max": 0.5},
            "seed": {"values": [0, 1]},
        }
    )
    space, rng = search_space(experiment), np.random.default_rng(0)
    curves = []
    for _ in range(60):
        point = random_point(space, rng)
        for seed in (0, 1):
            values = peak(point) - 0.3 / np.arange(1, EPOCHS + 1) + rng.normal(0, 0.01, EPOCHS)
            metrics = dict.fromkeys(CURVE_METRICS, values.tolist())
            curves.append(Curve(point | {"seed": seed}, seed, metrics, [2.0] * EPOCHS))
    return Recorded(CurveTable(experiment, space, curves), components=2)


def test_the_truth_of_a_record_is_what_its_trainings_reach_on_average(record):
    world, rng = record.world(0), np.random.default_rng(1)
    assert "seed" not in world.space.parameters
    for curve in record.table.curves[:20]:
        assert world.truth(curve.parameters) == pytest.approx(
            peak(curve.parameters) - 0.05, abs=0.02
        )
    recorded = {world.truth(curve.parameters) for curve in record.table.curves}
    assert world.truth(random_point(world.space, rng)) in recorded  # that of the nearest
    assert world.best == pytest.approx(0.75, abs=0.01)
    assert 0 < world.regret(None) <= 1


def test_a_record_is_recorded_anew_by_every_seed_and_every_training(record):
    point = random_point(record.space, np.random.default_rng(2))
    first = record.world(0).curve(point)
    assert record.world(0).curve(point) == first
    assert record.world(1).curve(point) != first
    assert record.world(0).curve(point, 1) != first
    finals = [record.world(seed).curve(point).metrics[METRIC][-1] for seed in range(200)]
    assert np.std(finals) == pytest.approx(0.01, rel=0.2)
    assert np.mean(finals) == pytest.approx(record.world(0).truth(point), abs=0.005)


def test_a_record_of_single_seeds_says_nothing_about_luck(record):
    alone = [curve for curve in record.table.curves if curve.seed == 0]
    with pytest.raises(ValueError, match="two seeds"):
        _ = Recorded(replace(record.table, curves=alone)).residuals


def test_the_formula_has_no_point_above_its_best():
    world, rng = Formula.world(3), np.random.default_rng(0)
    assert all(world.regret(random_point(world.space, rng)) > 0 for _ in range(200))
    assert world.regret(None) == 1


def test_a_row_of_taskset_stands_for_one_point_alone(tmp_path):
    curves = {
        loss: [[2.0, *([value] * 50)] for value in values]
        for loss, values in {
            "valid_loss": (0.5, 0.7, float("nan")),
            "test_loss": (0.6, 0.8, float("inf")),
        }.items()
    }
    path = tmp_path / "taskset_made_up.parquet"
    pq.write_table(pa.table({"learning_rate": [1e-3, 1e-2, 1e-1], **curves}), path)
    world = TaskSet(path).world()
    near, same_row = {"learning_rate": 0.1}, {"learning_rate": 0.11}
    assert world.curve(near).metrics[METRIC] == pytest.approx([np.exp(-0.5)] * 50)
    assert world.curve(same_row).metrics[METRIC] == pytest.approx([np.exp(-0.7)] * 50)
    assert world.regret(near) == 0
    assert world.curve({"learning_rate": 0.2}).metrics[METRIC] == [0.0] * 50  # it diverged
    assert world.epochs == 50


def test_the_record_of_the_repository_has_seconds_and_a_best(tmp_path):
    world = world_of(str(FLOWERS), 0, short=True)
    assert world.median < world.best < 0.7
    assert 0.4 < world.seconds < 4.0
