from pathlib import Path

import pytest

from inat_ray.log.costs import COSTS
from inat_ray.terminal.words import (
    PACKAGE,
    amount_text,
    command_text,
    cost_text,
    counted,
    counts_text,
    duration,
    gap_text,
    looks_text,
    metric_text,
    parameters_text,
    short_names,
    spread_text,
    value_text,
)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("/usr/bin/inat-ray", "inat-ray train"),
        ("my_script.py", "inat-ray train"),
        (str(PACKAGE / "sweep.py"), "python -m inat_ray.train"),
    ],
)
def test_a_command_is_spelled_as_the_person_spelled_theirs(monkeypatch, program, text):
    monkeypatch.setattr("sys.argv", [program, "--resume"])
    assert command_text("train") == text
    assert command_text("train", "--resume", Path("my runs/$1")) == f"{text} --resume 'my runs/$1'"


def test_names_are_shortened_where_that_stays_unambiguous():
    assert short_names(["recipe.lr", "model.dropout", "recipe.dropout"]) == {
        "recipe.lr": "lr",
        "model.dropout": "model.dropout",
        "recipe.dropout": "recipe.dropout",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([32, 64, 128], "32-64-128"),
        (0.00423194, "0.00423"),
        (64, "64"),
        (True, "true"),
        (None, "null"),
        ("mish", "mish"),
        ({"strategy": "head_only"}, "head_only"),
        ({"strategy": "fraction", "fraction": 0.3}, "fraction 0.3"),
        ({"cutmix": 1.0, "filters": [8, 16]}, "cutmix 1 filters 8-16"),
    ],
)
def test_values_are_short(value, text):
    assert value_text(value) == text


def test_parameters_are_one_line():
    assert parameters_text({"recipe.lr": 0.1, "model.filters": [8, 16]}) == "lr=0.1 filters=8-16"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 epochs"), (1, "1 epoch"), (1_234, "1,234 epochs")]
)
def test_one_is_no_plural(count, text):
    assert counted(count, "epoch") == text


def test_states_are_counted_in_a_fixed_order():
    assert counts_text({"running": 2, "stopped_by_hand": 1, "finished": 3}) == (
        "3 finished, 1 stopped by hand, 2 running"
    )


@pytest.mark.parametrize(
    ("metric", "texts"),
    [
        ("val_balanced_accuracy", ["91.2 %", "91.2 ± 0.4 %", "91.2 %", "0.4 points"]),
        ("val_loss", ["0.912", "0.912 ± 0.004", "0.912", "0.004"]),
    ],
)
def test_only_a_metric_that_is_a_share_is_a_percentage(metric, texts):
    spreads = [spread_text(metric, 0.912, 0.004), spread_text(metric, 0.912, None)]
    assert [metric_text(metric, 0.912), *spreads, gap_text(metric, 0.004)] == texts


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1.0, "0:00"), (59.6, "1:00"), (125, "2:05"), (3723, "1:02:03")]
)
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(850, "850"), (1234, "1.23 K"), (999_600, "1 M"), (390_000_000, "390 M"), (2e9, "2 G")],
)
def test_an_amount_has_three_digits(count, text):
    assert amount_text(count) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("macs", 390_000_000, "390 M"),
        ("peak_memory", 3 * 2**29, "1.50 GiB"),
        ("ms_per_image", 0.2134, "0.213"),
        ("ms_per_image", None, "-"),
    ],
)
def test_a_cost_is_written_in_its_unit(name, value, text):
    assert cost_text(COSTS[name], value) == text


def test_more_looks_than_one_are_said_to_be_optimistic():
    assert looks_text(1) == "1"
    assert looks_text(2).startswith("2: the newest counts")
