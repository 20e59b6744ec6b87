import json
import math
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inat_ray.boards.parquet import write_tables
from inat_ray.log.history import History
from inat_ray.log.records import LOG_VERSION


def at(seconds: int) -> datetime:
    """A moment of the made-up sweep, after its beginning."""
    return datetime.fromtimestamp(1_800_000_000 + seconds, UTC)


@pytest.fixture
def tables(history_of, tmp_path):
    """(trials, epochs) as they are read back from disk, for a list of records."""

    def write_and_read(records) -> tuple[pa.Table, pa.Table]:
        write_tables(history_of(records), tmp_path)
        return tuple(pq.read_table(tmp_path / f"{name}.parquet") for name in ("trials", "epochs"))

    return write_and_read


def test_a_trial_is_a_row_with_its_state_its_parameters_and_its_scores(sweep, tables):
    trials, _ = tables(sweep)
    assert trials.slice(0, 1).to_pylist() == [
        {
            "trial_id": "trial_0000",
            "purpose": "search",
            "state": "finished",
            "error": None,
            "seed": 0,
            "started": at(1),
            "recipe.lr": 0.003,
            "model.batch_norm": True,
            "model.filters": "[32, 64]",
            "rank": 1,
            "score": 0.9,
            "best": 0.9,
            "best_epoch": 2,
            "best_val_accuracy": 0.9,
            "last_val_accuracy": 0.8,
            "epochs": 3,
            "planned_epochs": 3,
            "seconds": 6.0,
            "model_parameters": None,
            "macs": None,
            "peak_memory": None,
            "ms_per_image": 1.0,
        }
    ]


def test_the_score_is_the_best_stretchs_and_a_trial_without_one_ranks_below(sweep, tables):
    trials, _ = tables([sweep[0].model_copy(update={"version": LOG_VERSION}), *sweep[1:]])
    assert trials["rank"].to_pylist() == [1, 4, 5, None, 3, 2]
    scores = [pytest.approx((0.5 + 0.9 + 0.8) / 3), 0.25, 0.1, None, 0.4, 0.6]
    assert trials["score"].to_pylist() == scores
    assert trials["best"].to_pylist() == [0.9, *scores[1:]]


def test_trials_stand_in_order_of_start_whatever_way_they_ended(sweep, tables):
    trials, _ = tables(sweep)
    assert trials["trial_id"].to_pylist() == [f"trial_{number:04d}" for number in range(6)]
    assert trials["state"].to_pylist() == [
        "finished",
        "stopped",
        "diverged",
        "failed",
        "interrupted",
        "running",
    ]


def test_a_trial_without_an_epoch_has_no_scores_but_its_error(sweep, tables):
    trials, epochs = tables(sweep)
    failed = trials.to_pylist()[3]
    assert failed["error"] == "out of memory [GPU 0]"
    assert (failed["epochs"], failed["seconds"]) == (0, 0.0)
    assert (
        failed["best_val_accuracy"] is failed["last_val_accuracy"] is failed["best_epoch"] is None
    )
    assert "trial_0003" not in epochs["trial_id"].to_pylist()


def test_parameters_keep_the_one_type_that_their_values_share(sweep, tables):
    trials, _ = tables(sweep)
    assert trials.schema.field("recipe.lr").type == pa.float64()
    assert trials.schema.field("model.batch_norm").type == pa.bool_()
    assert trials.schema.field("model.filters").type == pa.string()


def test_values_of_several_types_are_json(sweep, tables):
    trials, _ = tables(sweep)
    filters = [json.loads(text) for text in trials["model.filters"].to_pylist()]
    assert filters == [[32, 64], [8, 8], None, "auto", [8, 8], [32, 64]]


@pytest.mark.parametrize(
    ("kind", "values", "column"),
    [("number", [64, 128], pa.int64()), ("string", ["relu", "mish"], pa.string())],
)
def test_whole_numbers_and_plain_strings_stay_what_they_are(sweep, tables, kind, values, column):
    run = sweep[0].model_copy(update={"parameters": {"model.x": kind}})
    starts = [
        sweep[1].model_copy(update={"trial_id": f"t{v}", "parameters": {"model.x": v}})
        for v in values
    ]
    trials, _ = tables([run, *starts])
    assert trials.schema.field("model.x").type == column
    assert trials["model.x"].to_pylist() == values


def test_a_seed_that_is_searched_stands_in_the_column_of_the_seed(study, tables):
    trials, _ = tables(study({"none": [0.5, 0.6]}))
    assert trials.column_names.count("seed") == 1
    assert trials["seed"].to_pylist() == [10, 11]
    empty, _ = tables(study({}))
    assert empty.schema.field("seed").type == trials.schema.field("seed").type == pa.int64()


def test_an_epoch_is_a_row_counted_from_one(sweep, tables):
    _, epochs = tables(sweep)
    assert epochs.num_rows == 8
    assert epochs["epoch"].to_pylist()[:4] == [1, 2, 3, 1]
    assert epochs.slice(1, 1).to_pylist() == [
        {
            "trial_id": "trial_0000",
            "epoch": 2,
            "time": at(3),
            "train_loss": 1.0,
            "train_accuracy": 0.5,
            "val_loss": 1.5,
            "val_accuracy": 0.9,
            "val_balanced_accuracy": 0.45,
            "val_macro_f1": 0.4,
            "val_ece": 0.1,
            "lr": 0.001,
            "seconds": 2.0,
            "images_per_second": 1000.0,
            "peak_memory": None,
        }
    ]


def test_a_loss_that_is_no_number_stays_nan(sweep, tables):
    _, epochs = tables(sweep)
    (diverged,) = (row for row in epochs.to_pylist() if row["trial_id"] == "trial_0002")
    assert math.isnan(diverged["train_loss"])
    assert epochs["train_loss"].null_count == 0


def test_the_winners_own_training_stands_among_the_trials_by_its_purpose(sweep, tables):
    start = sweep[1].model_copy(update={"trial_id": "winner", "purpose": "final"})
    trials, epochs = tables([*sweep, start, sweep[2].model_copy(update={"trial_id": "winner"})])
    assert trials["purpose"].to_pylist() == ["search"] * 6 + ["final"]
    assert trials["trial_id"][-1].as_py() == epochs["trial_id"][-1].as_py() == "winner"


def test_the_score_is_the_runs_metric_and_so_is_its_epoch(sweep, tables):
    run = sweep[0].model_copy(update={"metric": "val_loss", "goal": "minimize"})
    start, first, second = sweep[1:4]
    lowest = first.model_copy(update={"val_loss": 0.25})
    trials, _ = tables([run, start, lowest, second])
    [row] = trials.to_pylist()
    assert (row["score"], row["best_epoch"]) == (0.25, 1)
    assert row["best_val_accuracy"] == max(first.val_accuracy, second.val_accuracy)


def test_each_column_says_what_it_holds_and_the_table_whose_it_is(sweep, tables):
    for table in tables(sweep):
        assert all(field.metadata[b"description"] for field in table.schema)
        assert table.schema.metadata[b"metric"] == b"val_accuracy"
        assert table.schema.metadata[b"run"] == b"made_up"


def test_a_single_training_is_one_trial_without_parameters(sweep, tables):
    run = sweep[0].model_copy(update={"method": "train", "parameters": {}})
    start = sweep[1].model_copy(update={"trial_id": "train", "parameters": {}})
    trials, epochs = tables([run, start, sweep[2].model_copy(update={"trial_id": "train"})])
    assert trials["trial_id"].to_pylist() == epochs["trial_id"].to_pylist() == ["train"]


def test_without_trials_the_tables_have_their_columns_and_no_rows(sweep, tables):
    trials, epochs = tables(sweep[:1])
    full_trials, full_epochs = tables(sweep)
    assert trials.num_rows == epochs.num_rows == 0
    assert trials.schema == full_trials.schema
    assert epochs.schema == full_epochs.schema


def test_a_run_that_never_began_has_empty_tables(tmp_path):
    write_tables(History(), tmp_path)
    assert pq.read_table(tmp_path / "trials.parquet").num_rows == 0


def test_tables_are_replaced_and_leave_nothing_half_written(sweep, tables, tmp_path):
    tables(sweep[:6])
    trials, _ = tables(sweep)
    assert trials.num_rows == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epochs.parquet", "trials.parquet"]
