"""A report in a real browser: what a reader sees, and what someone sees who uses no mouse."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from inat_ray.page.report import write_report
from inat_ray.page.reported_run import open_run
from tests.page.made_runs import TWELVE, write_run

pytestmark = pytest.mark.slow

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

FAINT_TEXTS = """() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => channels(color).slice(0, 3).map((value) => value / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((channels(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *:not(script):not(style)")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const ink = getComputedStyle(element)[element.closest("svg") ? "fill" : "color"];
    const [a, b] = [ink, behind(element)].map(light);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push([element.tagName, element.textContent.slice(0, 40), contrast]);
  }
  return faint;
}"""
"""Texts whose contrast is below what WCAG 2.2 wants at least (1.4.3: 4.5)."""


@dataclass
class Opened:
    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The page of a made-up search with its confirmation, its model and a look at the test set."""
    run = write_run(tmp_path_factory.mktemp("runs") / "twelve", TWELVE, "demo", workers=2)
    write_report(open_run(run.path), run.report)
    return run.report


@pytest.fixture(
    params=[(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")],
    ids=["desktop", "desktop dark", "phone", "phone dark"],
)
def opened(request, browser: Browser, report) -> Iterator[Opened]:
    size, scheme = request.param
    context = browser.new_context(viewport=size, color_scheme=scheme)
    found = Opened(context.new_page())
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", lambda asked: found.requests.append(asked.url))
    found.page.goto(report.as_uri())
    yield found
    context.close()


def test_every_plot_is_drawn_and_nothing_is_asked_of_a_network(opened):
    figures = opened.page.locator("figure.plot")
    assert figures.count() > 8
    for figure in figures.all():
        (shown,) = figure.locator("svg:visible").all()
        assert shown.bounding_box()["height"] > 100
        assert shown.locator("text").count() > 3
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert opened.complaints == []


def test_the_page_is_no_wider_than_the_screen_and_its_text_is_legible(opened):
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(FAINT_TEXTS) == []


LEAST_LETTER = """() => Math.min(...[...document.querySelectorAll("svg")]
  .filter((svg) => svg.checkVisibility())
  .map((svg) => 12 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width))"""
"""Pixels of the letters of the figure that is shown smallest."""


def test_letters_of_figures_are_legible_on_every_screen(browser, report):
    page = browser.new_page(viewport=DESKTOP)
    page.goto(report.as_uri())
    shown = {}
    for width in (360, 783, 785, 820, 1023, 1025, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        shown[width] = page.evaluate(LEAST_LETTER)
    page.close()
    assert min(shown.values()) >= 11, shown


def test_who_sees_no_picture_is_told_what_it_shows(opened):
    page = opened.page
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("figure.plot .drawing:not([aria-label])").count() == 0
    assert page.locator("figure.plot figcaption").count() == page.locator("figure.plot").count()
    assert page.locator("html[lang]").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_table_is_sorted_and_a_trial_selected_without_a_mouse(opened):
    page = opened.page
    head = page.locator("table.board th", has_text="trial").first
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    names = page.locator("table.board tbody a").all_inner_texts()
    assert names == sorted(names)
    page.locator("table.board tbody a").first.focus()
    page.keyboard.press("Enter")
    clear = page.locator("svg:visible [data-trial]:not(.dim)")
    told = clear.evaluate_all("marks => [...new Set(marks.map(mark => mark.dataset.trial))]")
    assert told == names[:1]
    page.keyboard.press("Escape")
    assert page.locator("svg .dim").count() == 0


def test_who_uses_the_keyboard_sees_where_they_are(opened):
    ring = """() => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      return [document.activeElement.tagName, outlineStyle, parseFloat(outlineWidth) >= 2];
    }"""
    for _ in range(30):
        opened.page.keyboard.press("Tab")
        name, style, is_wide = opened.page.evaluate(ring)
        assert (style, is_wide) == ("solid", True), name


def test_on_paper_all_is_unfolded_light_and_within_the_margins(opened):
    page = opened.page
    before = page.locator("main details[open]").count()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("main details:not([open])").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 680, "height": 900})
    widths = "[...document.querySelectorAll('figure')].map(f => f.scrollWidth - f.clientWidth)"
    assert max(page.evaluate(widths)) <= 1
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("main details[open]").count() == before
