"""Configurations over seeds, and what freezing costs."""

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.page.studies import freeze_section, is_freeze_study, study_section

SEEDS = {"head_only": [0.5, 0.6, 0.7], "none": [0.80, 0.82, 0.84]}


def test_mean_deviation_and_n_of_each_configuration_stand_in_the_table(history_of, study, rows_of):
    history = history_of(study(SEEDS))
    section = study_section(history, purpose="search", title="Over seeds")
    best, other = rows_of(section)
    assert best[:4] == ["1", "3", "82.0 %", "2.0 points"]
    assert other[:4] == ["2", "3", "60.0 %", "10.0 points"]
    assert "differ by more than 2 standard errors" in section.body


def test_configurations_that_cannot_be_told_apart_are_said_to_be(history_of, study):
    history = history_of(study({"a": [0.5, 0.6], "b": [0.52, 0.62]}))
    section = study_section(history, purpose="search", title="Over seeds")
    assert "cannot be told apart" in section.body


def test_every_seed_and_every_mean_is_drawn(history_of, study, data_of):
    section = study_section(history_of(study(SEEDS)), purpose="search", title="Over seeds")
    rows = data_of(section, "search-study")
    seeds = [(y, float(x)) for series, _, x, y in rows if series.startswith("seed")]
    assert seeds == [("#1", x) for x in SEEDS["none"]] + [("#2", x) for x in SEEDS["head_only"]]
    assert [float(x) for series, _, x, _ in rows if series == "mean"] == pytest.approx([0.82, 0.6])


def test_a_freeze_study_is_drawn_against_the_share_of_frozen_layers(
    history_of, study, data_of, rows_of
):
    history = history_of(study(SEEDS))
    assert is_freeze_study(history)
    experiment = Experiment.model_validate(
        {"model": {"kind": "resnet", "backbone": "resnet18", "weights": "none"}}
    )
    section = freeze_section(history, experiment, classes=5)
    drawn = data_of(section, "freeze")
    means = [(float(x), y) for series, _, x, y in drawn if series == "mean"]
    # ResNet18 has 21 layers: 20 convolutions, shortcuts included, and the output layer.
    assert means == [(0.82, "none, 0 %"), (pytest.approx(0.6), "head_only, 95 %")]
    seconds = drawn[
        drawn.index(["series", "trial", "seconds an epoch", "frozen, share of layers"]) :
    ]
    assert [row[2] for row in seconds[1:]] == ["2", "2"]
    rows = rows_of(section)
    assert rows[1][:3] == ["freeze=head_only lr=0.003", "95.2 %", "2,565"]
    assert rows[1][-1] == "-"


def test_memory_is_drawn_where_the_run_recorded_it(history_of, study, data_of, rows_of):
    records = [
        record.model_copy(update={"peak_memory": 3 * 2**29})
        if record.kind == "epoch_ended"
        else record
        for record in study(SEEDS)
    ]
    experiment = Experiment.model_validate(
        {"model": {"kind": "resnet", "backbone": "resnet18", "weights": "none"}}
    )
    section = freeze_section(history_of(records), experiment, classes=5)
    assert [row[2] for row in data_of(section, "freeze")[-3:]] == ["memory, GiB", "1.5", "1.5"]
    assert rows_of(section)[0][-1] == "1.50 GiB"
