"""The figures of docs/benchmarks.md are those that were measured."""

import json

from tests.benchmarks import search_page
from tests.benchmarks.page import MEASURED, PAGE, RATIOS, SEARCHED, replaced, section

TREE = json.loads(MEASURED.read_text())


def test_the_measured_part_is_written_from_what_the_benchmark_measured():
    page = PAGE.read_text()
    assert section(TREE) in page
    assert replaced(page, section(TREE), name="measured") == page


def test_the_part_on_searches_is_written_from_what_their_benchmark_measured():
    page, text = PAGE.read_text(), search_page.section(json.loads(SEARCHED.read_text()))
    assert text in page
    assert replaced(page, text, name="searched") == page


def test_every_ratio_stands_with_its_meaning_n_and_spread():
    measured = [name for name in TREE if f"{name}_spread" in TREE]
    assert set(measured) <= set(RATIOS)
    for name in measured:
        low, high = TREE[f"{name}_spread"]
        assert low <= TREE[name] <= high
        assert TREE[f"{name}_n"] >= 2


def test_a_new_section_takes_the_place_of_the_old_alone():
    before = "# A\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nrest\n"
    assert replaced(before, "new\n", name="measured") == before.replace("old", "new")
