"""The frame: one file that asks nobody for anything."""

import re

import plotly.graph_objects as go
import pytest

from inat_ray.page.page import render_page, write_page
from inat_ray.page.parts import Section, paragraph, plot

TEXT = Section("Words", "words", paragraph("Nothing to draw."))


def test_a_page_names_its_sections_and_leads_to_them():
    html = render_page(title="run <1>", lead="A lead.", sections=[TEXT])
    assert "<title>run &lt;1&gt;</title>" in html
    assert '<a href="#words">Words</a>' in html
    assert '<h2 id="words">Words</h2>' in html


def test_no_address_is_fetched_and_the_browser_is_told_to_fetch_none():
    html = render_page(title="t", lead="l", sections=[TEXT])
    assert re.findall(r'(?:src|href)="(?!#|data:)', html) == []
    assert "default-src 'none'" in html


def test_plotly_is_in_the_page_only_where_there_is_a_plot():
    drawn = Section("Drawn", "drawn", plot(go.Figure(), label="nothing"))
    without = render_page(title="t", lead="l", sections=[TEXT])
    assert len(without) < 50_000
    assert len(render_page(title="t", lead="l", sections=[TEXT, drawn])) > 1_000_000


def test_two_sections_cannot_share_a_place():
    with pytest.raises(AssertionError):
        render_page(title="t", lead="l", sections=[TEXT, TEXT])


def test_a_page_is_written_whole_over_an_older_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_page(path, title="t", lead="l", sections=[TEXT])
    assert "Nothing to draw." in path.read_text()
    assert list(tmp_path.iterdir()) == [path]
