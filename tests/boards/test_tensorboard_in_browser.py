"""A real TensorBoard, asked by its own address and read in a real browser."""

import json
import re
import subprocess
import sys
import time
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect
from tensorboard.plugins.hparams import api_pb2

from tests.boards.shown import (
    ALL_STATUSES,
    FINAL_AND_BEST,
    MOMENTA,
    SPACE,
    STATUS,
    by_tag,
    snapshot_of,
    with_momentum,
    written,
)


@pytest.fixture
def served(sweep, tmp_path):
    """The address of a real TensorBoard that shows the made-up sweep."""
    written(with_momentum(sweep), tmp_path, parameters=SPACE, snapshots=snapshot_of)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    address = next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+/", line)))
    yield address
    process.terminate()
    process.communicate(timeout=30)


def fetch(url: str, body: dict | None = None):
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data=data, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def loaded(address: str) -> list[dict]:
    """The session groups, once the server has read every run."""
    statuses = [api_pb2.Status.Name(status) for status in ALL_STATUSES]
    request = {"allowedStatuses": statuses, "sliceSize": 100}
    for _ in range(120):
        answer = fetch(f"{address}data/plugin/hparams/session_groups", request)
        if len(groups := answer.get("sessionGroups", [])) == len(STATUS):
            return groups
        time.sleep(0.25)
    raise AssertionError(f"TensorBoard showed {len(groups)} trials of {len(STATUS)}")


def test_a_served_tensorboard_shows_every_trial_its_hyperparameters_and_its_scores(served):
    for group in loaded(served):
        common = {"recipe.lr", "model.batch_norm", "model.filters", "seed"}
        conditional = {"recipe.momentum"} if group["name"] in MOMENTA else set()
        assert set(group["hparams"]) == common | conditional
        shown = {m["name"]["tag"]: m["value"] for m in group.get("metricValues", [])}
        expected = FINAL_AND_BEST[group["name"]]
        assert shown == ({} if expected is None else pytest.approx(by_tag(expected)))
    points = fetch(f"{served}data/plugin/scalars/scalars?run=trial_0000&tag=accuracy/val")
    assert [(step, value) for _, step, value in points] == [
        (1, 0.5),
        (2, pytest.approx(0.9)),
        (3, pytest.approx(0.8)),
    ]


CELLS = """() => {
  const within = (root) => [...root.querySelectorAll("*")].flatMap(
    (element) => [element, ...(element.shadowRoot ? within(element.shadowRoot) : [])]);
  return within(document)
    .filter((element) => element.localName === "vaadin-grid-cell-content")
    .map((element) => element.innerText.trim());
}"""
"""JavaScript: the texts of the HParams table, which lies in shadow trees of shadow trees."""

DRAWN, FEW = 5, 2
"""Trials with a metric, and those of them that have the conditional parameter too."""


@pytest.fixture
def page(served, browser):
    """A tab of the browser; an error of the page's own fails the test."""
    loaded(served)
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


@pytest.mark.slow
def test_the_hparams_page_shows_a_row_a_trial_in_a_browser(served, page):
    page.goto(f"{served}#hparams")
    page.get_by_text("trial_0005", exact=True).wait_for()
    cells = page.evaluate(CELLS)
    assert {"recipe.lr", "model.batch_norm", "model.filters", "recipe.momentum", "seed"} <= set(
        cells
    )
    assert {"final val accuracy", "best val accuracy"} <= set(cells)
    assert [cell for cell in sorted(cells) if cell.startswith("trial_")] == list(STATUS)
    assert {"[32, 64]", "null", "auto", "true", "false", "0.80000", "0.90000"} <= set(cells)


@pytest.mark.slow
def test_a_choice_that_is_unticked_takes_its_trials_from_the_table(served, page):
    page.goto(f"{served}#hparams")
    page.get_by_text("trial_0005", exact=True).wait_for()
    page.locator("paper-checkbox", has_text="[8, 8]").click()
    # The grid keeps cells that it does not need for later, out of sight.
    rows = page.get_by_text(re.compile(r"^trial_\d+$")).filter(visible=True)
    expect(rows).to_have_text(["trial_0000", "trial_0002", "trial_0003", "trial_0005"])


@pytest.mark.slow
def test_parallel_coordinates_have_a_line_for_each_trial_that_has_all_that_is_ticked(served, page):
    page.goto(f"{served}#hparams")
    page.get_by_text("PARALLEL COORDINATES VIEW").click()
    lines = page.locator("tf-hparams-parallel-coords-plot .foreground path")
    expect(lines).to_have_count(FEW)
    page.locator("paper-checkbox", has_text="recipe.momentum").click()
    expect(lines).to_have_count(DRAWN)


@pytest.mark.slow
def test_the_scatter_plots_have_a_point_for_each_trial_that_has_both_values(served, page):
    page.goto(f"{served}#hparams")
    page.get_by_text("SCATTER PLOT MATRIX VIEW").click()
    points = page.locator("tf-hparams-scatter-plot-matrix-plot circle.data-marker")
    columns_of_all, metrics = 7, 3  # four hyperparameters and all metrics
    expect(points).to_have_count(metrics * (columns_of_all * DRAWN + FEW))


@pytest.mark.slow
def test_time_series_show_the_search_its_trials_and_the_images_of_a_trial(served, page):
    page.goto(f"{served}#timeseries")
    groups = page.locator("metrics-card-group-toolbar .group-title")
    page.locator("card-view", has_text="accuracy/val").first.wait_for()
    assert groups.all_inner_texts()[:2] == ["accuracy", "loss"]  # these are open at first
    tags = page.get_by_role("combobox", name="Filter tags")
    tags.fill("search/score")
    page.locator("card-view", has_text="search/score").first.wait_for()
    tags.fill("confusion")
    image = page.locator("card-view image-card img").first
    image.wait_for()
    page.wait_for_function("e => e.naturalWidth > 0", arg=image.element_handle())
    expect(page.locator("card-view image-card")).to_have_count(4)
