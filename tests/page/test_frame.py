"""The frame of a page in a browser: contents, selection, copying, paper."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from inat_ray.page.html import render_page
from inat_ray.page.lead import lead_section
from inat_ray.page.leaderboard import leaderboard_section
from inat_ray.page.overview import lead_text, setting_section
from inat_ray.page.reported_run import ReportedRun
from inat_ray.run.folder import RunFolder

DESKTOP, PHONE = {"width": 1280, "height": 700}, {"width": 390, "height": 844}

LEFT = "selector => document.querySelector(selector).getBoundingClientRect().left"


@pytest.fixture
def address(sweep, history_of, tmp_path) -> str:
    run = ReportedRun(RunFolder(tmp_path), history_of(sweep))
    sections = [lead_section(run), leaderboard_section(run.history), setting_section(run)]
    file = tmp_path / "page.html"
    file.write_text(render_page(title="made up", lead=lead_text(run), sections=sections))
    return file.as_uri()


@pytest.fixture
def page(browser: Browser, address) -> Iterator[Page]:
    both = ["clipboard-read", "clipboard-write"]
    context = browser.new_context(viewport=DESKTOP, permissions=both, bypass_csp=True)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert errors == []


def here(page: Page) -> list[str]:
    return page.locator("nav a[aria-current]").all_inner_texts()


def test_a_page_marks_its_place_selects_trials_and_lets_the_configuration_be_copied(page):
    assert here(page) == ["Summary"]
    heads = page.locator("h2").evaluate_all("hs => hs.map(h => h.getBoundingClientRect().x >= 0)")
    assert heads == [False, True, True]  # only the lead needs no heading, first or not
    page.evaluate("document.querySelector('#summary').id = 'results'")
    assert page.evaluate(LEFT, "#results") == page.evaluate(LEFT, "h1")
    page.evaluate("document.querySelector('#results').id = 'summary'")
    page.locator("nav a", has_text="What was done").click()
    page.wait_for_function("document.querySelector('[aria-current]').textContent.includes('done')")
    assert page.evaluate(LEFT, "h1") == page.evaluate(LEFT, "table") - 1
    page.evaluate(
        "document.addEventListener('select-trials', ({ detail }) => { window.told = detail; })"
    )
    row = page.locator("tr[data-trial=trial_0004]")
    row.locator("td").nth(3).click()
    assert page.evaluate("told") == {"trials": ["trial_0004"], "from": "leaderboard"}
    assert row.get_attribute("aria-selected") == "true"
    row.locator("td").nth(3).click()
    assert page.evaluate("told.trials") == []
    page.get_by_role("button", name="Copy as YAML").click()
    page.wait_for_function("document.querySelector('[data-copies]').textContent === 'Copied'")
    assert "recipe: {lr: 0.003}" in page.evaluate("navigator.clipboard.readText()")


@pytest.mark.slow
def test_a_selection_made_in_a_plot_leaves_its_rows_alone_in_the_leaderboard(page):
    tell = "document.dispatchEvent(new CustomEvent('select-trials', { detail: %s }))"
    page.evaluate(tell % "{ trials: ['trial_0001', 'trial_0005'], from: 'parallel' }")
    rows = page.locator("tr[data-trial]:visible")
    assert rows.evaluate_all("rows => rows.map(row => row.dataset.trial)") == [
        "trial_0005",
        "trial_0001",
    ]
    page.evaluate(tell % "{ trials: [], from: 'parallel' }")
    assert rows.count() == 6


@pytest.mark.slow
def test_on_a_phone_the_contents_fold_and_nothing_is_wider_than_the_screen(page):
    page.set_viewport_size(PHONE)
    page.wait_for_function("!document.querySelector('nav details').open")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.locator("nav summary").click()
    page.locator("nav a", has_text="Leaderboard").click()
    page.wait_for_function("!document.querySelector('nav details').open")
    page.wait_for_function("document.querySelector('nav .here').textContent === 'Leaderboard'")
    fades = "getComputedStyle(document.querySelector('.more'), '::after').content"
    assert page.evaluate(fades) == '""'
    page.evaluate("document.querySelector('.scroll').scrollLeft = 10000")
    page.wait_for_function(f"{fades} === 'none'")
    name = page.locator("tr[data-trial] a").first.bounding_box()
    assert name["x"] >= 0


@pytest.mark.slow
def test_on_paper_there_is_no_button_and_the_leaderboard_fits(page):
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1030, "height": 700})
    assert page.locator("nav, [data-copies]").locator("visible=true").count() == 0
    wider = "(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))"
    assert page.evaluate(wider) <= 1
