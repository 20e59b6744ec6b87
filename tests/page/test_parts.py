"""Pieces of the page: what comes from a run is shown, never run."""

import json
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
from markupsafe import Markup

from inat_ray.page.parts import Number, facts, missing, picture, plot, table

EVIL = '</script><img src=x onerror="alert(1)">'


@pytest.mark.parametrize(
    "made",
    [
        lambda text: facts([(text, text)]),
        missing,
        lambda text: table([text], [[text]], caption=text),
        lambda text: picture(b"", alt=text, caption=text),
        lambda text: plot(go.Figure(go.Scatter(x=[text], name=text)), label=text, caption=text),
    ],
)
def test_a_runs_text_is_text_wherever_it_stands(made):
    found = Elements(made(EVIL))
    assert "onerror" not in str(found.attributes)
    assert found.tags.count("img") == made("x").count("<img")


def test_a_number_is_sorted_by_its_value_and_shown_as_its_text():
    html = table(["accuracy"], [[Number(0.5, "50.0 %")], [None], [3]], caption="c")
    assert '<td class="number" data-value="0.5">50.0 %</td>' in html
    assert '<td class="number" data-value="3">3</td>' in html
    assert '<td class="number">-</td>' in html


def test_the_head_of_a_column_of_numbers_stands_over_them():
    html = table(["name", "n"], [["a", 1], ["b", None]], caption="c")
    heads = re.findall(r"<th [^>]*>", html)
    assert 'class="number"' not in heads[0]
    assert 'class="number"' in heads[1]


def test_only_a_sortable_table_has_buttons():
    assert "<button" in table(["a"], [[1]], caption="c")
    assert "<button" not in table(["a"], [[1]], caption="c", sortable=False)


def test_a_plot_carries_its_data_and_says_in_words_what_it_shows():
    html = plot(go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), label="a line", height=300)
    found = Elements(html)
    content = json.loads(found.scripts[0])
    assert content["data"][0]["y"] == [3, 4]
    assert "template" not in content["layout"]
    assert 'aria-label="a line"' in html


def test_a_picture_is_within_the_page():
    html = picture(b"\x89PNG", alt="a filter", caption=Markup("<b>bold</b>"))
    assert 'src="data:image/png;base64,iVBORw=="' in html
    assert "<b>bold</b>" in html


class Elements(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(str(html))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._in_script = tag == "script"

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if self._in_script:
            self.scripts.append(data)
