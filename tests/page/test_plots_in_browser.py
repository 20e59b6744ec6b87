"""What a reader does with the plots: choosing, pointing, selecting, saving."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page

from inat_ray.page.curves import curves_section
from inat_ray.page.html import render_page
from inat_ray.page.leaderboard import leaderboard_section
from inat_ray.page.parameters import parameters_section
from inat_ray.page.progress import progress_section
from inat_ray.page.scored import scored_trials

pytestmark = pytest.mark.slow

BRIGHT = """() => [...new Set([...document.querySelectorAll('svg [data-trial]:not(.dim)')]
  .map((mark) => mark.dataset.trial))].sort()"""
"""The trials that are not dimmed, in all plots together."""


@pytest.fixture
def page(browser: Browser, sweep, history_of, tmp_path) -> Iterator[Page]:
    history = history_of(sweep)
    sections = [
        leaderboard_section(history),
        progress_section(history),
        curves_section(history),
        parameters_section(scored_trials(history, None)),
    ]
    file = tmp_path / "page.html"
    file.write_text(render_page(title="made up", lead="A lead.", sections=sections))
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page
    page.context.close()
    assert complaints == []


def plot(page: Page, name: str) -> Locator:
    return page.locator(f'figure[data-name="{name}"] svg:visible')


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def test_every_plot_is_drawn_and_a_selection_holds_everywhere(page):
    every = ["progress", "learning-curves", "gap", "parallel", "slices"]
    assert [plot(page, name).count() for name in every] == [1] * len(every)
    for name in every:
        assert plot(page, name).bounding_box()["height"] > 100
    assert len(page.evaluate(BRIGHT)) == 5
    plot(page, "slices").locator("[data-trial=trial_0004]").first.click()
    assert page.evaluate(BRIGHT) == ["trial_0004"]
    assert page.locator("tr[data-trial]:visible").count() == 1
    assert "1 trial selected" in page.locator(".selection").inner_text()
    page.keyboard.press("Escape")
    assert len(page.evaluate(BRIGHT)) == 5
    assert page.locator(".selection").is_hidden()
    page.locator("tr[data-trial=trial_0001] a").click()
    assert page.evaluate(BRIGHT) == ["trial_0001"]
    page.locator("tr[data-trial=trial_0002] a").press(" ")
    assert page.evaluate(BRIGHT) == ["trial_0001", "trial_0002"]


def test_a_drag_along_an_axis_selects_the_trials_in_its_range(page):
    first = plot(page, "parallel").locator(".axis .handle").first
    first.scroll_into_view_if_needed()
    box = first.bounding_box()
    x = box["x"] + box["width"] / 2
    drag(page, (x, box["y"] + 2), (x, box["y"] + box["height"] * 0.5))
    assert page.evaluate(BRIGHT) == ["trial_0000", "trial_0005"]
    first.click()
    assert len(page.evaluate(BRIGHT)) == 5


def test_a_range_is_chosen_without_a_mouse_and_by_touch(page):
    axis, low, high = page.locator("[data-range]").all()
    axis.select_option("val acc")
    low.fill("60 %")
    low.press("Enter")
    assert page.evaluate(BRIGHT) == ["trial_0000", "trial_0005"]
    high.fill("0.7")
    high.press("Tab")
    assert page.evaluate(BRIGHT) == ["trial_0005"]
    axis.select_option("batch_norm")
    low.fill("true")
    high.fill("true")
    high.press("Enter")  # of both axes
    assert page.evaluate(BRIGHT) == []
    page.keyboard.press("Escape")
    assert [low.input_value(), high.input_value()] == ["", ""]
    handle = plot(page, "parallel").locator(".axis .handle").first
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    touch = {"pointerType": "touch", "button": 0, "bubbles": True, "clientX": box["x"] + 9}
    handle.dispatch_event("pointerdown", touch | {"clientY": box["y"] + 2})
    handle.dispatch_event("pointerup", touch | {"clientY": box["y"] + box["height"] * 0.5})
    assert page.evaluate(BRIGHT) == ["trial_0000", "trial_0005"]


def test_a_drag_over_points_selects_them_and_shift_takes_one_more(page):
    shape = plot(page, "progress").locator("[data-trial=trial_0000][r]").first
    shape.scroll_into_view_if_needed()
    box = shape.bounding_box()
    drag(page, (box["x"] - 9, box["y"] - 9), (box["x"] + 20, box["y"] + 20))
    assert page.evaluate(BRIGHT) == ["trial_0000"]
    plot(page, "slices").locator("[data-trial=trial_0002]").first.click(modifiers=["Shift"])
    assert page.evaluate(BRIGHT) == ["trial_0000", "trial_0002"]


def test_axes_are_chosen_by_boxes_and_the_result_stays(page):
    shown = (
        "[...document.querySelectorAll('.screen .axis:not([display])')].map(a => a.dataset.name)"
    )
    assert page.evaluate(shown)[0] == "val acc"
    assert len(page.evaluate(shown)) == 4
    page.locator("[data-axis=lr]").uncheck()
    assert "lr" not in page.evaluate(shown)
    assert page.evaluate(shown)[0] == "val acc"
    page.set_viewport_size({"width": 390, "height": 800})
    assert plot(page, "parallel").get_attribute("width") == "340"


def test_a_view_is_chosen_and_saved_as_it_is_shown(page):
    figure = page.locator('figure[data-name="learning-curves"]')
    figure.get_by_label("loss", exact=True).check()
    with page.expect_download() as found:
        figure.get_by_role("button", name="CSV").click()
    assert found.value.suggested_filename == "made-up-learning-curves.csv"
    assert found.value.path().read_text().startswith('series,trial,epoch,"val loss, log scale"')
    with page.expect_download() as found:
        figure.get_by_role("button", name="SVG").click()
    text = found.value.path().read_text()
    assert "var(" not in text
    assert ">val loss, log scale<" in text


def test_the_pointer_is_told_trial_value_and_parameters(page):
    plot(page, "learning-curves").locator(
        "[data-trial=trial_0004][r], [data-trial=trial_0004][transform]"
    ).first.hover()
    told = page.locator(".tip").inner_text()
    assert told.splitlines()[0].startswith("trial_0004")
    assert "lr 0.02" in told
