"""The page asks nobody for anything, and what comes from a run is shown in it, never run."""

import re
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from inat_ray.page.html import (
    Number,
    Section,
    facts,
    missing,
    paragraph,
    picture,
    render_page,
    table,
    write_page,
)

EVIL = '</script><img src=x onerror="alert(1)">'

TEXT = Section("Words", "words", paragraph("Nothing to draw."))


@pytest.mark.parametrize(
    "made",
    [
        lambda text: facts([(text, text)]),
        missing,
        lambda text: table([text], [[text]], caption=text),
        lambda text: picture(b"", alt=text, caption=text),
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


def test_the_dots_of_a_column_share_a_scale_from_its_least_to_its_greatest():
    numbers = [Number(value, "x", dotted=True) for value in (0.8, 0.4, 0.5)]
    html = table(["accuracy"], [[number] for number in numbers], caption="c")
    assert re.findall(r"--place: ([\d.]+)", html) == ["1.000", "0.000", "0.250"]


def test_the_head_of_a_column_of_numbers_stands_over_them():
    html = table(["name", "n"], [["a", 1], ["b", None]], caption="c")
    heads = re.findall(r"<th [^>]*>", html)
    assert 'class="number"' not in heads[0]
    assert 'class="number"' in heads[1]


def test_a_picture_is_within_the_page():
    html = picture(b"\x89PNG", alt="a filter", caption=Markup("<b>bold</b>"))
    assert 'src="data:image/png;base64,iVBORw=="' in html
    assert "<b>bold</b>" in html


def test_a_page_names_its_sections_and_leads_to_them():
    html = render_page(title="run <1>", lead="A lead.", sections=[TEXT])
    assert "<title>run &lt;1&gt;</title>" in html
    assert '<a href="#words">Words</a>' in html
    assert '<h2 id="words">Words</h2>' in html


def test_no_address_is_fetched_and_the_browser_is_told_to_fetch_none():
    html = render_page(title="t", lead="l", sections=[TEXT])
    assert re.findall(r'(?:src|href)="(?!#|data:)', html) == []
    assert "default-src 'none'" in html


def test_two_sections_cannot_share_a_place():
    with pytest.raises(AssertionError):
        render_page(title="t", lead="l", sections=[TEXT, TEXT])


def test_a_page_is_written_whole_over_an_older_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_page(path, title="t", lead="l", sections=[TEXT])
    assert "Nothing to draw." in path.read_text()
    assert list(tmp_path.iterdir()) == [path]


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
