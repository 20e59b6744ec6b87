import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inat_ray.config.errors import UserError
from inat_ray.config.space import search_space
from inat_ray.log.records import EpochEnded
from inat_ray.log.run_log import EVENTS
from inat_ray.run.curve_files import read_curves, write_curves
from inat_ray.run.folder import RunFolder
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveTable
from inat_ray.search.limits import Beyond
from tests.run.made_up_runs import make_run, search_records
from tests.search.histories import experiment_of


@pytest.fixture
def path(tmp_path):
    """Two curves of three epochs."""
    experiment = experiment_of(parameters={"recipe.lr": {"min": 0.01, "max": 1.0}})
    curves = [
        Curve(
            parameters={"recipe.lr": rate},
            seed=7,
            metrics={name: [0.1, 0.2, 0.3] for name in CURVE_METRICS},
            seconds=[1.0, 1.0, 1.0],
        )
        for rate in (0.1, 0.2)
    ]
    table = CurveTable(experiment, search_space(experiment, where="test"), curves)
    write_curves(table, tmp_path / "t.parquet", provenance={})
    return tmp_path / "t.parquet"


def changed(path, column, values):
    table = pq.read_table(path)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values)), path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("val_accuracy", [0.1, None, 0.3] * 2),
        ("val_accuracy", ["good"] * 6),
        ("seconds", [1.0, 1.0, math.nan] * 2),
        ("seconds", [1.0, 1.0, math.inf] * 2),
        ("seconds", [-1.0, 1.0, 1.0] * 2),
        ("epoch", [1, 3, 2] * 2),
        ("epoch", [2, 3, 4] * 2),
        ("epoch", [0, 1, 2] * 2),
        ("seed", [7, 7, None] * 2),
        ("parameters", ["{"] * 6),
        ("parameters", ["[1]"] * 6),
        ("parameters", [None] * 6),
    ],
)
def test_columns_that_hold_no_curves_are_told(path, column, values):
    changed(path, column, values)
    with pytest.raises(UserError, match=r"t\.parquet: cannot be read .*simulate --save"):
        read_curves(path)


@pytest.mark.parametrize("column", ["parameters", "seed", "epoch", "seconds", "val_loss"])
def test_a_column_that_is_missing_is_named(path, column):
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(UserError, match=f"cannot be read .*{column}"):
        read_curves(path)


def test_a_metric_that_an_older_table_lacks_is_nan(path):
    pq.write_table(pq.read_table(path).drop_columns(["val_macro_f1"]), path)
    first, _ = read_curves(path).curves
    assert all(math.isnan(value) for value in first.metrics["val_macro_f1"])
    assert first.metrics["val_ece"] == pytest.approx([0.1, 0.2, 0.3])


def test_a_table_without_curves_or_experiment_is_told(path):
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(UserError, match="cannot be read"):
        read_curves(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(UserError, match=r"cannot be read .*experiment"):
        read_curves(path)


@pytest.mark.parametrize("value", ["fast", None, [1], math.nan])
def test_a_value_that_its_parameter_cannot_have_is_named(path, value):
    changed(path, "parameters", [json.dumps({"recipe.lr": value})] * 6)
    with pytest.raises(UserError, match=r"t\.parquet: recipe\.lr: .* where numbers are searched"):
        read_curves(path)


def test_a_byte_that_has_changed_is_noticed(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b'{"recipe.lr": 0.1}', b'{"recipe.lr": 0.3}', 1))
    with pytest.raises(UserError, match=r"cannot be read .*CRC"):
        read_curves(path)


def test_a_runs_own_values_are_looked_at_too(tmp_path):
    parameters = {"recipe.lr": {"min": 0.01, "max": 1.0}}
    run = make_run(tmp_path / "r", search_records(), search={"parameters": parameters})
    log = RunFolder(run).log / EVENTS
    log.write_text(log.read_text().replace('"recipe.lr":0.1', '"recipe.lr":"fast"', 1))
    with pytest.raises(UserError, match=r"recipe\.lr: 'fast' is recorded where numbers"):
        read_curves(run)


def test_a_runs_log_tells_the_sizes_of_its_networks_and_what_was_beyond_its_limits(tmp_path):
    parameters = {"recipe.lr": {"min": 0.01, "max": 1.0}}
    beyond = Beyond({"recipe.lr": 0.5}, 9000, 90)
    records = [
        each.model_copy(update={"model_parameters": 7000, "macs": 70})
        if isinstance(each, EpochEnded)
        else each
        for each in search_records()
    ]
    run = make_run(
        tmp_path / "r",
        [*records[:1], beyond.record(), *records[1:]],
        search={"parameters": parameters},
    )
    found = read_curves(run)
    assert {curve.size for curve in found.curves} == {(7000, 70)}
    assert found.beyond == [beyond]
    write_curves(found, tmp_path / "t.parquet", provenance={})
    assert read_curves(tmp_path / "t.parquet").curves[0].size == (7000, 70)


def test_the_sizes_that_an_older_table_lacks_are_unknown(path):
    pq.write_table(pq.read_table(path).drop_columns(["model_parameters", "macs"]), path)
    assert {curve.size for curve in read_curves(path).curves} == {None}
