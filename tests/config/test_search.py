import pytest
from pydantic import ValidationError

from inat_ray.config.schema import experiment_schema
from inat_ray.config.search import SearchConfig
from inat_ray.search.schedulers import SCHEDULERS
from inat_ray.search.searchers import SEARCHERS


@pytest.mark.parametrize(
    ("section", "setting", "entries"),
    [("SearchConfig", "method", SEARCHERS), ("EarlyStopping", "kind", SCHEDULERS)],
)
def test_the_schema_names_and_explains_the_entries_that_there_are(section, setting, entries):
    described = experiment_schema()["$defs"][section]["properties"][setting]
    assert described["enum"] == list(entries)
    for name, entry in entries.items():
        assert f"{name}: {entry.meaning}." in described["description"]


def test_a_method_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(ValidationError, match="'random', 'bayes', 'grid' or 'ablation'"):
        SearchConfig(method="annealing")


@pytest.mark.parametrize(("method", "exhaustive"), [("grid", True), ("bayes", False)])
def test_a_search_of_every_point_says_so(method, exhaustive):
    assert SearchConfig(method=method).is_exhaustive is exhaustive


@pytest.mark.parametrize(
    ("written", "seconds"), [("90m", 5400), ("1.5h", 5400), ("1e3", 1000), (7, 7)]
)
def test_a_time_is_seconds_or_a_number_with_a_unit(written, seconds):
    assert SearchConfig(time=written).time == seconds


@pytest.mark.parametrize("written", ["90 minutes", "h", "1..5h", -3, 0])
def test_a_time_that_is_none_is_refused(written):
    with pytest.raises(ValidationError):
        SearchConfig(time=written)


def test_what_is_no_time_is_answered_with_the_units():
    with pytest.raises(ValidationError, match="a number, or one with a unit: s, m, h, d"):
        SearchConfig(time="abc")


def test_a_budget_beside_trials_is_epochs_time_or_a_target():
    assert not SearchConfig(trials=5).has_budget_beside_trials
    for budget in ({"epochs": 9}, {"time": "1h"}, {"target": 0.9}):
        assert SearchConfig(**budget).has_budget_beside_trials


@pytest.mark.parametrize(
    ("written", "count"),
    [("10M", 10_000_000), ("2.3M", 2_300_000), ("1.5G", 1_500_000_000), ("7K", 7000), (850, 850)],
)
def test_a_limit_is_a_number_or_one_with_a_unit(written, count):
    assert SearchConfig(limits={"macs": written}).limits.macs == count


@pytest.mark.parametrize("written", ["10 million", "M", "-3M", "infM", "0.0001K", 0, 1.5, True])
def test_a_limit_that_is_no_count_is_refused(written):
    with pytest.raises(ValidationError):
        SearchConfig(limits={"parameters": written})


def test_limits_that_limit_nothing_are_refused():
    with pytest.raises(ValidationError, match="limits nothing; parameters or macs is needed"):
        SearchConfig(limits={})
    assert SearchConfig().limits is None


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [({"parameters": 10}, True), ({"macs": 19}, False), ({"parameters": 9, "macs": 20}, False)],
)
def test_a_limit_allows_what_does_not_exceed_it(limits, allowed):
    assert SearchConfig(limits=limits).limits.allow(parameters=10, macs=20) is allowed
