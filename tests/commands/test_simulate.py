import json

import pytest

from inat_ray.config.experiment import Experiment
from inat_ray.config.space import search_space
from inat_ray.run.curve_files import read_curves, write_curves
from inat_ray.search.curves import CURVE_METRICS, Curve, CurveTable

SPACE = {"recipe.lr": {"values": [0.1, 0.03, 0.01]}, "model.dense": {"values": [8, 16, 32]}}


@pytest.fixture
def table(tmp_path):
    """A file of nine curves of four epochs."""
    tree = {"data": {"source": "/home/ada/photographs"}, "search": {"parameters": SPACE}}
    experiment = Experiment.model_validate(tree)
    space = search_space(experiment)
    curves = [
        Curve(p, seed=n, metrics={m: [0.1 * n + 0.01 * e for e in range(4)] for m in CURVE_METRICS},
              seconds=[1.0] * 4)
        for n, p in enumerate(space.grid)
    ]  # fmt: skip
    write_curves(CurveTable(experiment, space, curves), tmp_path / "t.parquet", provenance={})
    return tmp_path / "t.parquet"


def test_a_line_a_setting_says_what_it_spends_to_get_where(told, table):
    code, text = told(
        "simulate", table, "--method", "random,bayes", "--early-stopping", "none,asha",
        "--workers", "1,4", "--seeds", 3, "--json",
    )  # fmt: skip
    assert code == 0, text
    assert "…" not in text
    lines = json.loads(text.splitlines()[-1])["lines"]
    assert len(lines) == 2 * 2 * 2
    assert {line["n"] for line in lines} == {3}
    spent = {(line["early_stopping"], line["workers"]): line["epochs"] for line in lines}
    assert spent["none", 1] == 9 * 4
    assert spent["asha", 1] < 9 * 4
    hours = {(line["early_stopping"], line["workers"]): line["seconds"] for line in lines}
    assert hours["none", 1] == 36.0
    assert hours["none", 4] < 36.0 / 2


def test_limits_on_a_record_that_tells_no_sizes_are_left_out_and_that_is_said(told, table):
    line = ["simulate", table, "--seeds", 1, "--workers", 1, "--early-stopping", "none", "--json"]
    code, text = told(*line, "--set", "search.limits.parameters=10M")
    assert code == 0, text
    assert "note search.limits: is left out" in " ".join(text.split())
    assert json.loads(text.splitlines()[-1])["lines"][0]["epochs"] == 9 * 4


def test_the_same_seeds_give_the_same_answer(told, table):
    answers = [told("simulate", table, "--seeds", 2, "--json")[1].splitlines()[-1] for _ in "ab"]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere: cannot be read (FileNotFoundError"),
        (["TABLE", "--workers", "many"], "--workers many: whole numbers"),
        (["TABLE", "--early-stopping", "never"], "--early-stopping"),
        (["TABLE", "--save", "TABLE"], "is there already"),
        (["TABLE", "--save", "new.parquet"], "is made from run folders"),
        (["TABLE", "--set", "recipe.lr=0.5"], "has no part in a simulation"),
    ],
)
def test_a_mistake_ends_with_2_and_its_reason(told, table, options, message):
    code, text = told("simulate", *(table if option == "TABLE" else option for option in options))
    assert code == 2
    assert message in " ".join(text.split())


def test_an_ablation_is_no_record_to_search_on(told, tmp_path):
    experiment = Experiment.model_validate({"search": {"parameters": SPACE, "method": "ablation"}})
    space = search_space(experiment)
    curves = [
        Curve(p, seed=0, metrics={m: [0.5] for m in CURVE_METRICS}, seconds=[1.0])
        for p in space.grid
    ]
    write_curves(CurveTable(experiment, space, curves), tmp_path / "a.parquet", provenance={})
    code, text = told("simulate", tmp_path / "a.parquet")
    assert code == 2
    assert "a.parquet: is an ablation's record" in " ".join(text.split())


def test_a_table_tells_nothing_of_the_machine_that_made_it(table):
    assert read_curves(table).experiment.data.source == "photographs"
    assert b"/home/ada" not in table.read_bytes()
