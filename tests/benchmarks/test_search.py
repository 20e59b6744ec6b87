import json

import pytest

from tests.benchmarks.search import main
from tests.benchmarks.search_page import BEST_EPOCH, DEFAULT, OWN, Followed, section, summary


def test_the_short_form_compares_searches_on_a_record_and_goes_on_where_it_was_cut_off(tmp_path):
    def compared():
        main(short=True, seeds=2, processes=1, only="ASHA", out=tmp_path / "search.json")
        return json.loads((tmp_path / "search.json").read_text())

    tree, ended = compared(), tmp_path / "search.jsonl"
    lines = ended.read_text().splitlines(keepends=True)
    assert len(lines) == 6
    ended.write_text("".join(lines[:-1]))
    assert compared()["tables"] == tree["tables"]
    seeds = [json.loads(line)["seed"] for line in ended.read_text().splitlines()]
    assert seeds == [0, 0, 0, 1, 1, 1]
    ways = tree["tables"]["flowers_32px"]["ways"]
    assert set(ways) == {"random + ASHA promotion", "TPE + ASHA stopping", DEFAULT}
    for lines in ways.values():
        assert all(0 <= regret < 3 for regret in lines["epochs"][OWN]["mean"])
    assert f"**{DEFAULT}**" in section(tree)


def run(way, seed, regret, table="a.parquet"):
    rules = {OWN: regret, BEST_EPOCH: regret}
    return Followed(table, way, seed, rules, {}, confirmation=None, good=None, minutes=0.0)


def test_differences_are_paired_by_seed():
    pairs = [([0.5, 0.3], [0.4, 0.2]), ([0.9, 0.7], [0.8, 0.6])]
    runs = [run("other", seed, other) for seed, (other, _) in enumerate(pairs)]
    runs += [run(DEFAULT, seed, ours) for seed, (_, ours) in enumerate(pairs)]
    line = summary(runs, checkpoints=[1, 2])["tables"]["a"]["ways"]["other"]["epochs"][OWN]
    assert line["mean"] == pytest.approx([0.7, 0.5, 0.6])
    assert line["se"] == pytest.approx([0.2] * 3)  # of the two seeds: sd 0.283, over sqrt(2)
    assert line["minus_ours"] == pytest.approx([0.1] * 3)
    assert line["minus_ours_se"] == pytest.approx([0] * 3, abs=1e-4)


def test_the_tables_of_one_family_are_one_measurement_for_each_seed():
    runs = [
        run(DEFAULT, seed, [regret], table=f"taskset_{name}.parquet")
        for seed in (0, 1)
        for name, regret in (("a", 0.2), ("b", 0.6))
    ]
    table = summary(runs, checkpoints=[1])["tables"]["TaskSet"]
    line = table["ways"][DEFAULT]["epochs"][OWN]
    assert line["mean"] == pytest.approx([0.4, 0.4])
    assert line["se"] == [0, 0]  # the tables differ, the seeds do not
