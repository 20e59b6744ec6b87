"""Axes, importance and slices of what a search varied."""

import re

import numpy as np
import pytest

from inat_ray.page.parameters import parameters_section
from inat_ray.page.scored import Scored
from inat_ray.terminal.words import counted
from tests.page.made_scored import scored


@pytest.fixture(scope="module")
def made_up() -> Scored:
    rng = np.random.default_rng(0)
    points = [
        {"lr": float(10 ** rng.uniform(-4, -2)), "filters": [32, 64] if i % 2 else "auto"}
        | ({"depth": int(i % 3)} if i % 2 else {})
        for i in range(30)
    ]
    return scored(points, [np.log10(p["lr"]) / 10 + 0.9 for p in points], logarithmic=["lr"])


@pytest.fixture(scope="module")
def section(made_up):
    return parameters_section(made_up)


def test_each_trial_of_a_slice_stands_at_its_own_values(section, data_of, made_up):
    rows = data_of(section, "slices")
    lr = [(float(x), float(y)) for _, _, x, y in rows[1:31]]
    assert rows[0][2:] == ["lr", "val acc"]
    points = zip(made_up.points, made_up.scores, strict=True)
    wanted = [(point["lr"], score) for point, score in points]
    assert lr == [pytest.approx(pair, rel=1e-5) for pair in wanted]
    heads = [i for i, row in enumerate(rows) if row[0] == "series"] + [len(rows)]
    counts = dict(zip((rows[i][2] for i in heads[:-1]), np.diff(heads) - 1, strict=True))
    assert counts == {"lr": 30, "filters": 30, "depth": 15}


def test_stopped_trials_are_hollow_and_the_winner_is_ringed(section, made_up):
    (lr, *_) = section.figures[-1].views[""]
    assert [dot.shape for dot in lr.marks[:2]] == ["circle", "circle-open"]
    assert [dot.trial for dot in lr.marks if dot.ringed] == [made_up.winner]


def test_the_table_holds_importance_correlation_and_the_best_trials_value(
    section, rows_of, made_up
):
    rows = {row[0]: row for row in rows_of(section)}
    assert next(iter(rows)) == "lr"
    assert rows["lr"][2] == "1.00"
    assert rows["filters"][2] == "-"
    best = made_up.points[int(np.argmax(made_up.scores))]
    assert rows["lr"][5] == f"{best['lr']:.3g}"
    assert rows["depth"][4] == "15"


def test_where_the_forest_predicts_nothing_the_table_leads_and_says_what_would_do(rows_of):
    rng = np.random.default_rng(1)
    section = parameters_section(scored([{"a": x} for x in range(12)], rng.random(12).tolist()))
    assert "importance" not in [figure.name for figure in section.figures]
    assert section.body.index("rank correlation") < section.body.index("No importance is shown")
    assert re.search(r"About \d+0 trials would do", section.body)
    assert len(rows_of(section)[0]) == 5


@pytest.mark.parametrize("trials", [1, 2])
def test_few_trials_are_drawn_and_nothing_is_claimed_of_importance(trials):
    section = parameters_section(scored([{"lr": 0.1}, {"lr": 0.2}][:trials], [0.5, 0.6][:trials]))
    assert f"{counted(trials, 'configuration')} with a result, and 10 are needed" in section.body
    assert [figure.name for figure in section.figures] == ["parallel", "slices"]
